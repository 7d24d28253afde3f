//! The pages. They are rendered on the server, load nothing from other hosts, and work without JavaScript except for the
//! live tail.
//!
//! [`assets`] are the files that pages load, [`chart`] draws charts, [`text`] formats values, and [`errors`] renders problems.
//! Each page has its module: [`login`], [`overview`], [`search`], [`story`], [`around`] and [`tail`], which resumes at its
//! [`tail_cursors`] and takes one of the [`tail_slots`].

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use store::{MissingKind, Store};

use crate::access::Reader;
use crate::problem::Problem;

pub mod around;
pub mod assets;
pub mod chart;
pub mod errors;
pub mod login;
pub mod overview;
pub mod search;
pub mod story;
pub mod tail;
pub mod tail_cursors;
pub mod tail_slots;
pub mod text;

/// Content security policy: a page loads its own files and submits forms to this service; inline scripts don't run.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The parts that all pages have.
#[derive(Clone, Debug, Default)]
pub struct Head<'a> {
    /// The page's title.
    pub title: &'a str,
    /// Text in the search box.
    pub query: &'a str,
    /// The current entry of the menu.
    pub menu: Menu,
    /// Name of the reader's token.
    pub user: Option<&'a str>,
    /// A notice that there is no store yet.
    pub notice: Option<MissingKind>,
}

/// An entry of the menu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Menu {
    /// The page has no menu.
    #[default]
    Bare,
    /// The page has a menu and is none of its entries.
    Other,
    /// Overview.
    Overview,
    /// Search.
    Search,
    /// Live tail.
    Tail,
}

impl<'a> Head<'a> {
    /// A page without a menu, for users who are not logged in.
    #[must_use]
    pub fn bare(title: &'a str) -> Self {
        Self { title, ..Self::default() }
    }

    /// A page for a reader.
    #[must_use]
    pub fn new(title: &'a str, menu: Menu, reader: &'a Reader) -> Self {
        Self { title, menu, user: reader.name(), ..Self::default() }
    }

    /// With this text in the search box.
    #[must_use]
    pub fn with_query(self, query: &'a str) -> Self {
        Self { query, ..self }
    }

    /// With a notice while there is no store yet.
    #[must_use]
    pub async fn with_notice_of(self, store: &Store) -> Self {
        // Other errors of the store are reported by the queries that fail.
        let missing = store.missing().await.ok().flatten();
        Self { notice: missing.map(|missing| missing.kind), ..self }
    }

    /// Whether the page has a menu.
    #[must_use]
    pub fn has_menu(&self) -> bool {
        self.menu != Menu::Bare
    }

    /// ` aria-current="page"` for the current entry of the menu.
    #[must_use]
    pub fn current(&self, menu: &str) -> &'static str {
        let is_current = match self.menu {
            Menu::Overview => menu == "overview",
            Menu::Search => menu == "search",
            Menu::Tail => menu == "tail",
            Menu::Bare | Menu::Other => false,
        };
        if is_current { " aria-current=\"page\"" } else { "" }
    }

    /// The path of one of the pages' files.
    #[must_use]
    pub fn asset(&self, name: &str) -> &'static str {
        assets::path(name)
    }
}

/// Renders a page.
///
/// # Errors
/// The template can't be rendered.
pub fn html(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Problem> {
    match page.render() {
        Ok(text) => Ok(response(status).body(text)),
        Err(error) => {
            let detail = format!("the page can't be rendered: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// A response with a page, and the headers that isolate it from other sites.
fn response(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"));
    response
}
