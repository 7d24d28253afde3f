//! `GET /api/openapi.json`: the description of the API.

use actix_web::HttpResponse;
use utoipa::OpenApi;

/// The description, generated from the handlers and their types.
#[derive(OpenApi)]
#[openapi(
    info(title = "Log explorer", description = "Searches and counts log lines, and returns all lines of a request."),
    paths(
        crate::health::healthz,
        crate::health::readyz,
        crate::requests::lines,
        crate::projects::logs,
        crate::alerts::receive,
        crate::api::logs::logs,
        crate::api::counts::facets,
        crate::api::counts::histogram,
        crate::api::counts::stats,
        crate::api::counts::patterns,
        crate::api::sources::around,
        crate::page::tail::events,
        describe,
    )
)]
pub struct Description;

/// Returns this description, OpenAPI 3.1.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "service",
    responses((status = 200, body = Object, description = "This description"))
)]
pub async fn describe() -> HttpResponse {
    HttpResponse::Ok().json(Description::openapi())
}
