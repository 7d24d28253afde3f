//! The page's login: a token in, a session's cookie out. The token is in the body of a POST, never in an address, and the
//! cookie is out of reach for scripts and other sites.

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::access::door::Presented;
use crate::access::name;
use crate::access::sessions::{self, Opened};
use crate::access::throttle::Purpose;
use crate::access::{Access, Kind, lock};
use crate::page::{self, Failure};
use crate::problem::Problem;

/// Where to log in.
pub const PATH: &str = "/login";

/// Name of the cookie.
pub const COOKIE: &str = "explorer-session";

/// A longer body is refused.
pub const FORM_MAX_BYTES: usize = 8 * 1024;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What may be asked of the login.
#[derive(Debug, Deserialize)]
pub struct Query {
    next: Option<String>,
}

/// What is sent to it.
#[derive(Deserialize)]
pub struct Form {
    token: String,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    head: page::Head<'a>,
    next: &'a str,
    wrong: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "again.html")]
struct Again<'a> {
    head: page::Head<'a>,
    to: &'a str,
}

/// `GET /login`: the form, which leads on to `next`.
///
/// # Errors
/// The page can't be made.
pub async fn form(access: web::Data<Access>, query: web::Query<Query>) -> Result<HttpResponse, Failure> {
    let next = own_path(query.next.as_deref());
    if !access.asks_for_tokens() {
        return Ok(see_other(next));
    }
    page(StatusCode::OK, next, None)
}

/// `POST /login`: opens a session for a good token and leads on.
///
/// # Errors
/// 403 for a form of another site; the page says what is wrong with a token.
pub async fn enter(
    access: web::Data<Access>,
    request: HttpRequest,
    form: web::Form<Form>,
) -> Result<HttpResponse, Failure> {
    refuse_foreign(request.headers())?;
    let next = own_path(form.next.as_deref());
    let Kind::Tokens(state) = &access.0.kind else { return Ok(see_other(next)) };
    let token = form.token.trim().as_bytes();
    let (door, origin) = (&access.0.door, (request.peer_addr(), request.headers()));
    match door.present(Purpose::Read, token, origin, |hash| access.reader(hash)) {
        Presented::Wrong => page(StatusCode::FORBIDDEN, next, Some("Unknown token. Check it and try again.")),
        Presented::TooMany(wait) => {
            let seconds = wait.as_secs() + 1;
            let wrong = format!("Too many failed attempts from your address. Try again in {seconds} s.");
            let mut answer = page(StatusCode::TOO_MANY_REQUESTS, next, Some(&wrong))?;
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Ok(answer)
        }
        Presented::Good(reader) => {
            let Some(token) = reader.token() else { return Ok(see_other(next)) };
            let opened = state.open(&reader, token);
            let opened = opened.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            let Some(Opened { number, ended_one }) = opened else {
                return page(StatusCode::FORBIDDEN, next, Some("Unknown token. Check it and try again."));
            };
            ended_one.into_iter().for_each(|limit| door.limits().count(limit));
            tracing::info!(name = reader.name(), "logged in");
            let mut answer = see_other(next);
            set_cookie(
                &mut answer,
                request.headers(),
                number,
                time::Duration::seconds(sessions::LIFE.as_secs() as i64),
            );
            Ok(answer)
        }
    }
}

/// `POST /logout`: ends the session.
///
/// # Errors
/// 403 for a form of another site.
pub async fn leave(access: web::Data<Access>, request: HttpRequest) -> Result<HttpResponse, Failure> {
    refuse_foreign(request.headers())?;
    if let (Kind::Tokens(state), Some(cookie)) = (&access.0.kind, request.cookie(COOKIE)) {
        lock(&state.sessions).close(cookie.value());
    }
    let mut answer = see_other(PATH);
    set_cookie(&mut answer, request.headers(), String::new(), time::Duration::ZERO);
    Ok(answer)
}

/// What a page without a session leads to: the login, and back here after it. A link on another site comes without the
/// session's cookie though there may be one; then the page is asked for once more, from here.
pub(super) fn lead_to(request: &ServiceRequest) -> HttpResponse {
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let from_elsewhere = request.headers().get(FETCH_SITE).is_some_and(|site| site == "cross-site");
    if from_elsewhere && request.method() == actix_web::http::Method::GET {
        let again = Again { head: page::Head::bare("Signing you in…"), to: own_path(Some(here)) };
        return page::html(StatusCode::OK, &again).unwrap_or_else(|_| see_other(PATH));
    }
    let next = if request.method() == actix_web::http::Method::GET { own_path(Some(here)) } else { "/" };
    see_other(&format!("{PATH}?next={}", page::encode(next)))
}

fn page(status: StatusCode, next: &str, wrong: Option<&str>) -> Result<HttpResponse, Failure> {
    page::html(status, &Page { head: page::Head::bare("Log in"), next, wrong })
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish()
}

/// A path of this service; anything else is taken for its first page.
fn own_path(next: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        path.starts_with('/')
            && !path[1..].starts_with(['/', '\\'])
            && path.len() <= FORM_MAX_BYTES
            && path.bytes().all(|byte| byte.is_ascii_graphic())
    };
    next.filter(is_own).unwrap_or("/")
}

/// Refuses what a page of another site sent.
fn refuse_foreign(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site_is_own = text(&FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
    let origin_is_own = text(&header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text(&header::HOST)
    });
    if site_is_own && origin_is_own {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this form was submitted from another site"))
}

fn set_cookie(answer: &mut HttpResponse, headers: &HeaderMap, value: String, age: time::Duration) {
    let cookie = Cookie::build(COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(name::came_by_tls(headers));
    // It is made of hexadecimal digits, which any cookie can hold.
    let _always = answer.add_cookie(&cookie.max_age(age).finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        for path in ["//evil.example", "/\\evil.example", "http://evil.example", "", "/a\r\nb: c", "x"] {
            assert_eq!(own_path(Some(path)), "/", "{path}");
        }
        assert_eq!(own_path(Some("/requests/a%2Fb?x=1")), "/requests/a%2Fb?x=1");
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            pairs
                .iter()
                .for_each(|(name, value)| headers.insert(name.clone(), HeaderValue::from_static(value)).for_each(drop));
            headers
        };
        let host = (header::HOST, "127.0.0.1:8000");
        assert!(refuse_foreign(&headers(std::slice::from_ref(&host))).is_ok());
        assert!(refuse_foreign(&headers(&[host.clone(), (header::ORIGIN, "http://127.0.0.1:8000")])).is_ok());
        for origin in ["http://127.0.0.1:9000", "null", "http://evil.example"] {
            assert!(refuse_foreign(&headers(&[host.clone(), (header::ORIGIN, origin)])).is_err(), "{origin}");
        }
        for site in ["cross-site", "same-site", "something new"] {
            assert!(refuse_foreign(&headers(&[host.clone(), (FETCH_SITE, site)])).is_err(), "{site}");
        }
        for site in ["same-origin", "none"] {
            assert!(refuse_foreign(&headers(&[host.clone(), (FETCH_SITE, site)])).is_ok(), "{site}");
        }
        assert!(refuse_foreign(&headers(&[(header::ORIGIN, "null")])).is_err(), "it names no host, as the request");
    }

    #[test]
    fn the_cookie_is_for_this_service_alone_and_no_script_sees_it() {
        let cookie = |headers: &HeaderMap| {
            let mut answer = see_other("/");
            set_cookie(&mut answer, headers, "0af".to_owned(), time::Duration::seconds(60));
            answer.headers().get(header::SET_COOKIE).unwrap().to_str().unwrap().to_owned()
        };
        let plain = cookie(&HeaderMap::new());
        let parts: std::collections::BTreeSet<_> = plain.split("; ").collect();
        let value = format!("{COOKIE}=0af");
        assert_eq!(parts, [value.as_str(), "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"].into());
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
        assert!(cookie(&headers).split("; ").any(|part| part == "Secure"));
    }
}
