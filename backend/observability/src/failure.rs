//! The error that leaves the middleware in place of another one: its response has the request's id, and the end of its
//! body counts the request.

use std::cell::RefCell;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{Error, HttpResponse, ResponseError};
use serde_json::json;

use crate::accounting::{Account, Outcome};
use crate::body::AccountedBody;
use crate::catch_panic::HandlerPanic;
use crate::context::{REQUEST_ID_HEADER, RequestContext};

/// An error with its request's account, which is settled when its response's body ends, or when the error is dropped
/// because an outer middleware answered in its place.
pub(crate) struct Failure {
    cause: Error,
    context: RequestContext,
    account: RefCell<Option<Box<Account>>>,
}

impl Failure {
    pub(crate) fn new(cause: Error, mut account: Box<Account>) -> Self {
        let status = cause.as_response_error().status_code();
        if cause.as_error::<HandlerPanic>().is_some() {
            account.respond(status, Outcome::Panic);
            account.panicked();
        } else {
            account.respond(status, Outcome::HandlerError);
        }
        Self { cause, context: account.context().clone(), account: RefCell::new(Some(account)) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.cause, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.cause.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = if self.cause.as_error::<HandlerPanic>().is_some() {
            panic_response(self.context.request_id())
        } else {
            self.cause.error_response()
        };
        response.headers_mut().insert(REQUEST_ID_HEADER, self.context.request_id_header());
        match self.account.borrow_mut().take() {
            Some(account) => response.map_body(|_, body| BoxBody::new(AccountedBody::new(body, account))),
            None => response,
        }
    }
}

/// RFC 9457 problem details, without the panic's message: that is for the log.
fn panic_response(request_id: &str) -> HttpResponse {
    let problem = json!({
        "type": "about:blank", "title": "Internal Server Error", "status": 500, "request_id": request_id,
    });
    let mut response = HttpResponse::InternalServerError();
    response
        .insert_header(ContentType("application/problem+json".parse().unwrap_or(actix_web::mime::APPLICATION_JSON)));
    response.body(problem.to_string())
}
