//! Whether the process lives, and whether it can do its work.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use store::Store;

use crate::problem::{Details, Problem};

/// `GET /healthz`: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = Object, description = "It lives")))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the store answers too.
///
/// # Errors
/// 503 with the store's reason.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, body = Object, description = "The store answers"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn readyz(store: web::Data<Store>) -> Result<HttpResponse, Problem> {
    match store.ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({ "status": "ready" }))),
        Err(error) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}
