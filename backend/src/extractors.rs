//! Limits of request bodies, and the errors of the framework's extractors as problems.

use actix_web::error::{JsonPayloadError, PathError, PayloadError, UrlencodedError};
use actix_web::http::StatusCode;
use actix_web::{ResponseError as _, web};

use crate::problem::Problem;
use crate::server::request::is_late;

/// Maximum bytes of a JSON request body; a larger one is rejected with 413.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Maximum bytes of a form.
pub const FORM_MAX_BYTES: usize = 8 * 1024;

/// Configures the extractors of an app.
pub fn configure(app: &mut web::ServiceConfig) {
    observability::log_causes_of::<Problem>();
    let path = |error: PathError, _: &_| Problem::bad_request(format!("invalid path: {error}")).into();
    app.app_data(web::PathConfig::default().error_handler(path));
    let json = |error: JsonPayloadError, _: &_| {
        let payload = if let JsonPayloadError::Payload(error) = &error { Some(error) } else { None };
        unreadable(payload, error.status_code(), format!("invalid request body: {error}")).into()
    };
    app.app_data(web::JsonConfig::default().limit(BODY_MAX_BYTES).error_handler(json));
    let form = |error: UrlencodedError, _: &_| {
        let payload = if let UrlencodedError::Payload(error) = &error { Some(error) } else { None };
        unreadable(payload, error.status_code(), format!("invalid form: {error}")).into()
    };
    app.app_data(web::FormConfig::default().limit(FORM_MAX_BYTES).error_handler(form));
}

/// A body that can't be read.
fn unreadable(payload: Option<&PayloadError>, status: StatusCode, detail: String) -> Problem {
    if payload.is_some_and(is_late) {
        let detail = "the request body did not arrive in time (BACKEND_REQUEST_TIMEOUT_S)";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, detail);
    }
    Problem::new(status, detail)
}
