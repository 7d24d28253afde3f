//! Headers that every response has, and `HEAD` for every route with `GET`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use bytes::Bytes;

/// Methods of a route that reads.
pub const READS: &str = "GET, HEAD";

/// Methods of a route that writes.
pub const TAKES: &str = "POST";

/// Methods of a form.
pub const FORM: &str = "GET, HEAD, POST";

/// Request headers that responses depend on.
const DEPENDS_ON: &str = "Accept, Authorization, Cookie";

/// Default headers of every response. The pages' own files override them, since they are the same for everyone.
const ALWAYS: [(HeaderName, &str); 3] =
    [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (VARY, DEPENDS_ON)];

/// Middleware: adds the default headers to every response. It belongs outside of all other middleware.
///
/// # Errors
/// Those of the wrapped service.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match next.call(request).await {
        Ok(mut response) => {
            let status = response.status();
            put_on(status, response.headers_mut());
            Ok(response)
        }
        // A response without a request.
        Err(error) => {
            let mut response = error.error_response();
            put_on(response.status(), response.headers_mut());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

fn put_on(status: StatusCode, headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    // Routes of this service set `Allow` themselves; the library's routes are read-only.
    let is_told = headers.get(ALLOW).is_some_and(|methods| methods != "GET");
    if status == StatusCode::METHOD_NOT_ALLOWED && !is_told {
        headers.insert(ALLOW, HeaderValue::from_static(READS));
    }
}

/// Middleware: responds to `HEAD` as to `GET`, without the body. It belongs inside of what counts requests by method.
///
/// # Errors
/// Those of the wrapped service.
pub async fn answer_head(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if request.method() != Method::HEAD {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    request.head_mut().method = Method::GET;
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| NoBody(body.size())).map_into_right_body())
}

/// An empty body with the size of the body it replaces, which is dropped: a live tail would never end.
struct NoBody(BodySize);

impl MessageBody for NoBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
