//! Wraps an error that leaves the middleware, so that its response has the request's id and the end of its body counts
//! the request.

use std::cell::{Cell, RefCell};
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{Error, HttpResponse, ResponseError};
use serde_json::json;

use crate::accounting::{Account, Outcome};
use crate::body::AccountedBody;
use crate::catch_panic::{HandlerPanic, catching};
use crate::context::{REQUEST_ID_HEADER, RequestContext};
use crate::logs::with_context;

/// An error with its request's account. The account settles when the body of the error response ends, or when the error
/// is dropped because an outer middleware replaced the response.
pub(crate) struct Failure {
    cause: Error,
    context: RequestContext,
    status: Cell<StatusCode>,
    /// Whether the handler or a method of the error panicked.
    panicked: Cell<bool>,
    account: RefCell<Option<Box<Account>>>,
}

impl Failure {
    pub(crate) fn new(cause: Error, mut account: Box<Account>) -> Self {
        let context = account.context().clone();
        let status = match cause.as_error::<HandlerPanic>() {
            Some(_) => None,
            None => caught(&context, || cause.as_response_error().status_code()),
        };
        match status {
            Some(status) => account.respond(status, Outcome::HandlerError),
            None => count_panic(&mut account),
        }
        Self {
            cause,
            context,
            status: Cell::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)),
            panicked: Cell::new(status.is_none()),
            account: RefCell::new(Some(account)),
        }
    }

    /// The error's own response; `None` if creating it panics or has panicked before.
    fn own_response(&self) -> Option<HttpResponse<BoxBody>> {
        if self.panicked.get() {
            return None;
        }
        let response = caught(&self.context, || self.cause.error_response());
        if response.is_none() {
            self.panicked.set(true);
            if let Some(account) = self.account.borrow_mut().as_mut() {
                count_panic(account);
            }
        }
        response
    }
}

/// Runs a method of the error within the request's context; `None` if it panics.
fn caught<T>(context: &RequestContext, code: impl FnOnce() -> T) -> Option<T> {
    let mut result = None;
    with_context(context, || result = catching(code).ok());
    result
}

fn count_panic(account: &mut Account) {
    account.respond(StatusCode::INTERNAL_SERVER_ERROR, Outcome::Panic);
    account.panicked();
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
        self.status.get()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.own_response().unwrap_or_else(|| panic_response(self.context.request_id()));
        self.status.set(response.status());
        response.headers_mut().insert(REQUEST_ID_HEADER, self.context.request_id_header());
        match self.account.borrow_mut().take() {
            Some(mut account) => {
                if !self.panicked.get() {
                    // may differ from the error's `status_code`
                    account.respond(response.status(), Outcome::HandlerError);
                }
                response.map_body(|_, body| BoxBody::new(AccountedBody::new(body, account)))
            }
            None => response,
        }
    }
}

/// Problem details (RFC 9457) without the panic message, which is only logged.
fn panic_response(request_id: &str) -> HttpResponse {
    let problem = json!({
        "type": "about:blank", "title": "Internal Server Error", "status": 500, "request_id": request_id,
    });
    let mut response = HttpResponse::InternalServerError();
    response
        .insert_header(ContentType("application/problem+json".parse().unwrap_or(actix_web::mime::APPLICATION_JSON)));
    response.body(problem.to_string())
}
