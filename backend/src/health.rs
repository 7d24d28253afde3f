//! Liveness and readiness.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use store::{MissingKind, MissingStore, Store};

use crate::problem::{Details, Problem};

/// `GET /healthz`: the process responds.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = Object, description = "It lives")))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the store's newest line can be read. A store that the shipper has not created yet is a state of its
/// own and no failure. A missing directory is a failure, and so is a store that existed and is missing, empty or
/// damaged.
///
/// # Errors
/// 503 with the store's reason.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (
            status = 200, body = Object,
            description = "`status` is `ready`, or `no_store_yet` while an embedded store's file does not exist in its folder, or is empty and never was a store"
        ),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn readyz(store: web::Data<Store>) -> Result<HttpResponse, Problem> {
    let unavailable = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    match store.missing().await.map_err(|error| unavailable(error.to_string()))? {
        Some(MissingStore { kind: kind @ MissingKind::NotCreated, .. }) => {
            return Ok(HttpResponse::Ok().json(json!({ "status": kind.as_str(), "detail": kind.to_string() })));
        }
        Some(missing) => return Err(unavailable(missing.kind.to_string())),
        None => {}
    }
    match store.ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({ "status": "ready" }))),
        Err(error) => Err(unavailable(error.to_string())),
    }
}
