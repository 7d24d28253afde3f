//! Errors as the service tells them: problem details (RFC 9457) with the request id.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::error::{InternalError, JsonPayloadError, PathError, QueryPayloadError, UrlencodedError};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use observability::RequestContext;
use serde::Serialize;
use store::{QueryError, SearchError};
use utoipa::ToSchema;

use crate::access::login;
use crate::links::story_path;
use crate::page::{self, Failure};
use crate::server::request;

/// Media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Bytes of a JSON request body, above which it is refused with 413.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// What is wrong with a request, or with the service.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u64>,
    /// Of a query that can't be read.
    query: Option<QueryError>,
}

/// The members of the body, by RFC 9457; `type` is `about:blank`, so `title` is the status's phrase.
#[derive(Debug, Serialize, ToSchema)]
pub struct Details<'a> {
    /// Always `about:blank`.
    r#type: &'static str,
    /// The status's phrase.
    title: &'a str,
    status: u16,
    /// What is wrong, and what to do about it.
    detail: &'a str,
    /// Where this request's story is.
    instance: Option<String>,
    request_id: Option<&'a str>,
    /// Where a query is wrong, and what would be right there.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<QueryDetails<'a>>,
}

/// What is wrong with a query.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueryDetails<'a> {
    /// The character that is wrong, counted from 1.
    column: usize,
    /// Bytes before it.
    byte: usize,
    /// What stands there.
    found: &'a str,
    /// What would be right there.
    expected: &'a str,
}

impl Problem {
    /// A problem of this status; `detail` says in a sentence what to do about it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None, query: None }
    }

    /// The request can't be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// With the seconds after which another try is welcome.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Whether it is of this status.
    #[must_use]
    pub fn is(&self, status: StatusCode) -> bool {
        self.status == status
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let context = RequestContext::current();
        let details = Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: context.as_ref().map(|context| story_path(context.request_id())),
            request_id: context.as_ref().map(RequestContext::request_id),
            query: self.query.as_ref().map(|error| QueryDetails {
                column: error.column,
                byte: error.offset,
                found: &error.found,
                expected: &error.expected,
            }),
        };
        // Plain fields can always be written as JSON.
        let body = serde_json::to_string(&details).unwrap_or_default();
        let mut answer = HttpResponse::build(self.status);
        answer.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        answer.body(body)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self { query: Some(error.clone()), ..Self::bad_request(format!("invalid query {error}")) }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        let status = match &error {
            SearchError::Unavailable(_) | SearchError::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            SearchError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        };
        Self::new(status, error.to_string())
    }
}

/// Makes problem details, or a page of them, of what the framework refuses by itself.
pub fn configure(app: &mut web::ServiceConfig) {
    observability::log_causes_of::<Problem>();
    observability::log_causes_of::<Failure>();
    app.app_data(web::QueryConfig::default().error_handler(|error: QueryPayloadError, request: &HttpRequest| {
        let why = match &error {
            QueryPayloadError::Deserialize(why) => why.to_string(),
            other => other.to_string(),
        };
        told(request, Problem::bad_request(format!("invalid query string: {why}")))
    }));
    app.app_data(web::PathConfig::default().error_handler(|error: PathError, request: &HttpRequest| {
        told(request, Problem::bad_request(format!("invalid path: {error}")))
    }));
    app.app_data(web::JsonConfig::default().limit(BODY_MAX_BYTES).error_handler(
        |error: JsonPayloadError, request: &HttpRequest| {
            told(request, unreadable(of_json(&error), error.status_code(), format!("invalid request body: {error}")))
        },
    ));
    app.app_data(web::FormConfig::default().limit(login::FORM_MAX_BYTES).error_handler(
        |error: UrlencodedError, request: &HttpRequest| {
            told(request, unreadable(of_form(&error), error.status_code(), format!("invalid form: {error}")))
        },
    ));
}

fn of_json(error: &JsonPayloadError) -> Option<StatusCode> {
    if let JsonPayloadError::Payload(error) = error { request::status_of(error) } else { None }
}

fn of_form(error: &UrlencodedError) -> Option<StatusCode> {
    if let UrlencodedError::Payload(error) = error { request::status_of(error) } else { None }
}

/// A body that can't be read; one that is `late` has a status of its own.
fn unreadable(late: Option<StatusCode>, status: StatusCode, detail: String) -> Problem {
    match late {
        Some(late) => Problem::new(late, "the request body did not arrive in time (BACKEND_REQUEST_TIMEOUT_S)"),
        None => Problem::new(status, detail),
    }
}

/// A problem as who asks would rather have it: as a page, or as it is.
fn told(request: &HttpRequest, problem: Problem) -> actix_web::Error {
    if page::wants_page(request.headers()) { Failure(problem).into() } else { problem.into() }
}

/// There is nothing where a request led.
#[must_use]
pub fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "page not found; GET /api/openapi.json describes the API")
}

/// Answers what no route matches, with a page where the client accepts one.
///
/// # Errors
/// Always.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    Err(told(&request, nothing_here()))
}

/// Answers a method that a route does not take with those that it does, with a page where the client accepts one.
///
/// # Errors
/// Always.
pub async fn method_not_allowed(request: HttpRequest, methods: &'static str) -> Result<HttpResponse, actix_web::Error> {
    let problem =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed; this route supports {methods}"));
    let error = told(&request, problem);
    let mut answer = error.error_response();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    Err(InternalError::from_response(error, answer).into())
}
