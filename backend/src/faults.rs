//! Fault injection for drills and tests, enabled by `BACKEND_FAULTS=1`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::problem::Problem;

/// Maximum delay.
pub const DELAY_MAX_MS: u64 = 60_000;

/// `/api/faults/status/{status}`: responds with this status, 200 to 599.
///
/// # Errors
/// The given status, if it is an error.
pub async fn status(status: web::Path<u16>) -> Result<HttpResponse, Problem> {
    match StatusCode::from_u16(*status) {
        Ok(status) if status.is_client_error() || status.is_server_error() => {
            Err(Problem::new(status, "injected fault"))
        }
        Ok(status) if !status.is_informational() => Ok(HttpResponse::build(status).finish()),
        _ => Err(Problem::bad_request("invalid status: expected a number from 200 to 599")),
    }
}

/// `GET /api/faults/delay/{delay_ms}`: responds after a delay.
///
/// # Errors
/// 400 for more than [`DELAY_MAX_MS`].
pub async fn delay(delay_ms: web::Path<u64>) -> Result<HttpResponse, Problem> {
    if *delay_ms > DELAY_MAX_MS {
        return Err(Problem::bad_request(format!("invalid delay: expected at most {DELAY_MAX_MS} ms")));
    }
    tracing::info!(delay_ms = *delay_ms, "injected delay");
    actix_rt::time::sleep(Duration::from_millis(*delay_ms)).await;
    Ok(HttpResponse::Ok().json(json!({ "delay_ms": *delay_ms })))
}

/// `GET /api/faults/panic`: panics.
///
/// # Panics
/// Always.
pub async fn panic() -> HttpResponse {
    panic!("injected panic")
}
