//! Whether the process lives, and whether it can do its work.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use store::Store;

use crate::problem::Problem;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the store answers too.
///
/// # Errors
/// 503 with the store's reason.
pub async fn readyz(store: web::Data<Store>) -> Result<HttpResponse, Problem> {
    match store.ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({ "status": "ready" }))),
        Err(error) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}
