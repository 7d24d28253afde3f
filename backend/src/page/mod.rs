//! The pages that a person looks at. They are rendered here, ask no other host for anything, and work without a script
//! but for the live tail.
//!
//! [`assets`] are the files that pages need, [`chart`] their pictures; each page has its module:
//! [`overview`], [`search`] (both by [`params`]), [`story`], [`around`] and [`tail`] (which goes on from its [`places`], and takes one of its [`seats`]).

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ACCEPT, HeaderMap, HeaderName};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use askama::Template;
use observability::RequestContext;
use percent_encoding::utf8_percent_encode;
use store::{MissingKind, Store};

use crate::access::Reader;
use crate::links::PLAIN;
use crate::problem::Problem;

pub mod around;
pub mod assets;
pub mod chart;
pub mod overview;
pub mod params;
pub mod places;
pub mod search;
pub mod seats;
pub mod story;
pub mod tail;
pub mod text;

pub use text::escape;

/// What a page may load and do: its own files, and forms to itself; nothing written into the page runs.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What stands on each page.
#[derive(Clone, Debug, Default)]
pub struct Head<'a> {
    /// The page's name.
    pub title: &'a str,
    /// What stands in the box for searching.
    pub query: &'a str,
    /// Which page of the menu this is.
    pub menu: Menu,
    /// Whose token the reader has.
    pub who: Option<&'a str>,
    /// What is to be known on any page: that there is no store yet.
    pub notice: Option<MissingKind>,
}

/// A page of the menu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Menu {
    /// None of the others, and no menu.
    #[default]
    Bare,
    /// None of the others.
    Other,
    /// What is going on.
    Overview,
    /// Search.
    Search,
    /// Live tail.
    Tail,
}

impl<'a> Head<'a> {
    /// A page without a menu, for whoever is not logged in.
    #[must_use]
    pub fn bare(title: &'a str) -> Self {
        Self { title, ..Self::default() }
    }

    /// A page for a reader.
    #[must_use]
    pub fn of(title: &'a str, menu: Menu, reader: &'a Reader) -> Self {
        Self { title, menu, who: reader.name(), ..Self::default() }
    }

    /// With this in the box for searching.
    #[must_use]
    pub fn with_query(self, query: &'a str) -> Self {
        Self { query, ..self }
    }

    /// With a notice while there is no store yet.
    #[must_use]
    pub async fn with_notice_of(self, store: &Store) -> Self {
        // What else is wrong with the store is an error of what is asked of it.
        let missing = store.missing().await.ok().flatten();
        Self { notice: missing.map(|missing| missing.kind), ..self }
    }

    /// Whether the page has the menu.
    #[must_use]
    pub fn has_menu(&self) -> bool {
        self.menu != Menu::Bare
    }

    /// ` aria-current="page"` on the menu's entry of this page.
    #[must_use]
    pub fn current(&self, menu: &str) -> &'static str {
        let is = match self.menu {
            Menu::Overview => menu == "overview",
            Menu::Search => menu == "search",
            Menu::Tail => menu == "tail",
            Menu::Bare | Menu::Other => false,
        };
        if is { " aria-current=\"page\"" } else { "" }
    }

    /// Where one of the page's files is.
    #[must_use]
    pub fn asset(&self, name: &str) -> &'static str {
        assets::path(name)
    }
}

/// A page as an answer.
///
/// # Errors
/// The template can't be rendered.
pub fn html(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Failure> {
    match page.render() {
        Ok(text) => Ok(answer(status).body(text)),
        Err(error) => {
            let problem =
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the page can't be rendered: {error}"));
            Err(Failure(problem))
        }
    }
}

/// An answer that holds a page, with what keeps it among itself.
fn answer(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"));
    answer
}

/// A text as a part of an address.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Whether who asks would rather have a page than JSON.
#[must_use]
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// A problem, told as a page.
#[derive(Debug)]
pub struct Failure(pub Problem);

impl<P: Into<Problem>> From<P> for Failure {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    head: Head<'a>,
    detail: &'a str,
    hint: Option<&'a str>,
    request_id: Option<&'a str>,
    story: Option<&'a str>,
}

impl std::error::Error for Failure {}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let context = RequestContext::current();
        let status = self.status_code();
        let detail = self.0.to_string();
        let hint = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Some("Log storage is not responding. No logs are lost; the shipper keeps them.")
            }
            _ => None,
        };
        let story = context.as_ref().map(|context| crate::links::page_path(context.request_id()));
        let page = FailurePage {
            head: Head { menu: Menu::Other, ..Head::bare(status.canonical_reason().unwrap_or("Error")) },
            detail: &detail,
            hint,
            request_id: context.as_ref().map(RequestContext::request_id),
            story: story.as_deref(),
        };
        match page.render() {
            Ok(text) => answer(status).body(text),
            Err(_) => self.0.error_response(),
        }
    }
}
