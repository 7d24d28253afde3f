//! Errors as problem details (RFC 9457) with the request ID. Pages render them as HTML: see `page::errors`.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use observability::RequestContext;
use serde::Serialize;
use store::{QueryError, SearchError};
use utoipa::ToSchema;

use crate::paths::request_api;

/// Media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error of a request or of the service. Its response carries a copy in its extensions.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u64>,
    /// The methods of a route that was called with another.
    allow: Option<&'static str>,
    query: Option<Box<QueryError>>,
}

/// The members of the body, by RFC 9457; `type` is `about:blank`, so `title` is the status's phrase.
#[derive(Debug, Serialize, ToSchema)]
pub struct Details<'a> {
    /// Always `about:blank`.
    r#type: &'static str,
    /// The status's phrase.
    title: &'a str,
    status: u16,
    /// What is wrong and how to fix it.
    detail: &'a str,
    /// The path of this request's lines in the API.
    instance: Option<String>,
    request_id: Option<&'a str>,
    /// The position of a syntax error in a query, and what is expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<QueryDetails<'a>>,
}

/// A syntax error in a query.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueryDetails<'a> {
    /// The invalid character, counted from 1.
    column: usize,
    /// Bytes before it.
    byte: usize,
    /// What was found there.
    found: &'a str,
    /// What is expected there.
    expected: &'a str,
}

impl Problem {
    /// A problem of this status; `detail` says what is wrong and how to fix it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None, allow: None, query: None }
    }

    /// The request is invalid.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// No route matches the path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found; GET /api/openapi.json describes the API")
    }

    /// The route supports other methods only.
    #[must_use]
    pub fn method_not_allowed(methods: &'static str) -> Self {
        let detail = format!("method not allowed; this route supports {methods}");
        Self { allow: Some(methods), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// With the seconds after which to retry.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// With the position of a syntax error in a query.
    #[must_use]
    pub fn with_query(self, query: QueryError) -> Self {
        Self { query: Some(Box::new(query)), ..self }
    }

    /// Whether it has this status.
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
            instance: context.as_ref().map(|context| request_api(context.request_id())),
            request_id: context.as_ref().map(RequestContext::request_id),
            query: self.query.as_ref().map(|error| QueryDetails {
                column: error.column,
                byte: error.offset,
                found: &error.found,
                expected: &error.expected,
            }),
        };
        // Plain fields always serialize.
        let body = serde_json::to_string(&details).unwrap_or_default();
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(methods) = self.allow {
            response.insert_header((ALLOW, HeaderValue::from_static(methods)));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds));
        }
        let mut response = response.body(body);
        response.extensions_mut().insert(self.clone());
        response
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
