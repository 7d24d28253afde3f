//! Problems as pages: the one place that renders an error for a browser.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};
use askama::Template;
use observability::RequestContext;

use crate::access::Denial;
use crate::page::{self, Head, Menu, login};
use crate::paths::request_page;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    head: Head<'a>,
    detail: &'a str,
    hint: Option<&'a str>,
    request_id: Option<&'a str>,
    href: Option<&'a str>,
}

/// Middleware: renders a [`Problem`] as HTML for a client that accepts HTML, and redirects a page that needs a session to the
/// login. It belongs outside of everything that answers with problems, and inside of what gives requests their IDs.
///
/// # Errors
/// Those of the wrapped service.
pub async fn render(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_page = is_page(request.match_info().as_str());
    let response = next.call(request).await?.map_into_boxed_body();
    if !is_page {
        return Ok(response);
    }
    let denial = response.response().extensions().get::<Denial>().copied();
    if denial == Some(Denial::NoToken) {
        let redirect = login::redirect(response.request());
        return Ok(response.into_response(redirect));
    }
    let problem = response.response().extensions().get::<Problem>().cloned();
    match problem.filter(|_| accepts_html(response.request().headers())) {
        Some(problem) => Ok(as_page(response, &problem)),
        None => Ok(response),
    }
}

/// Whether a path is one of a page, and not of the API, health or metrics.
fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && !["/healthz", "/readyz", observability::METRICS_PATH].contains(&path)
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The same response with a page as its body. Its status and other headers stay.
fn as_page(response: ServiceResponse<BoxBody>, problem: &Problem) -> ServiceResponse<BoxBody> {
    let context = RequestContext::current();
    let status = problem.status_code();
    let (detail, href) = (problem.to_string(), context.as_ref().map(|context| request_page(context.request_id())));
    let hint = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
        .then_some("Log storage is not responding. No logs are lost; the shipper keeps them.");
    let page = Page {
        head: Head { menu: Menu::Other, ..Head::bare(status.canonical_reason().unwrap_or("Error")) },
        detail: &detail,
        hint,
        request_id: context.as_ref().map(RequestContext::request_id),
        href: href.as_deref(),
    };
    let Ok(page) = page::html(status, &page) else { return response };
    let (page, body) = page.into_parts();
    let mut response = response.map_body(|_, _| body);
    for (name, value) in page.headers() {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}
