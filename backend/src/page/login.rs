//! `/login` and `/logout`: exchanges a token for a session cookie. The token is sent in the body of a POST, never in a URL;
//! scripts and other sites can't read the cookie.

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::sessions::LIFE;
use crate::access::{Access, LOGIN_PATH, Login, SESSION_COOKIE, host_names};
use crate::line_query::url::{NoLines, UrlParams};
use crate::page::{self, Head};
use crate::paths::encode;
use crate::problem::Problem;

/// Maximum bytes of the path to return to after the login.
const NEXT_MAX_BYTES: usize = 8 * 1024;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The route's parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LoginParams {
    /// Path to return to after the login.
    next: Option<String>,
}

/// The login form.
#[derive(Deserialize)]
pub struct LoginForm {
    token: String,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    head: Head<'a>,
    next: &'a str,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "login_redirect.html")]
struct RedirectPage<'a> {
    head: Head<'a>,
    to: &'a str,
}

/// `GET /login`: the form.
///
/// # Errors
/// The page can't be rendered.
pub async fn show(
    access: web::Data<Access>,
    UrlParams(_, params): UrlParams<NoLines, LoginParams>,
) -> Result<HttpResponse, Problem> {
    let next = local_path(params.next.as_deref());
    if !access.needs_tokens() {
        return Ok(see_other(next));
    }
    page(StatusCode::OK, next, None)
}

/// `POST /login`: opens a session for a valid token and redirects to `next`.
///
/// # Errors
/// 403 for a form of another site. An invalid token is reported on the page.
pub async fn log_in(
    access: web::Data<Access>,
    request: HttpRequest,
    form: web::Form<LoginForm>,
) -> Result<HttpResponse, Problem> {
    check_origin(request.headers())?;
    let next = local_path(form.next.as_deref());
    let token = form.token.trim().as_bytes();
    let login = access.log_in(token, (request.peer_addr(), request.headers()));
    match login.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))? {
        Login::NotNeeded => Ok(see_other(next)),
        Login::UnknownToken => page(StatusCode::FORBIDDEN, next, Some("Unknown token. Check it and try again.")),
        Login::TooManyAttempts(wait) => {
            let seconds = wait.as_secs() + 1;
            let error = format!("Too many failed attempts from your address. Try again in {seconds} s.");
            let mut response = page(StatusCode::TOO_MANY_REQUESTS, next, Some(&error))?;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Ok(response)
        }
        Login::Opened(number) => {
            let mut response = see_other(next);
            let age = time::Duration::seconds(LIFE.as_secs() as i64);
            set_cookie(&mut response, request.headers(), number, age);
            Ok(response)
        }
    }
}

/// `POST /logout`: ends the session.
///
/// # Errors
/// 403 for a form of another site.
pub async fn log_out(access: web::Data<Access>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    check_origin(request.headers())?;
    if let Some(cookie) = request.cookie(SESSION_COOKIE) {
        access.log_out(cookie.value());
    }
    let mut response = see_other(LOGIN_PATH);
    set_cookie(&mut response, request.headers(), String::new(), time::Duration::ZERO);
    Ok(response)
}

/// Redirects a page that needs a session to the login, which returns there. Browsers withhold a `SameSite=Strict` cookie from
/// a request that another site links to, so such a request is repeated from this site first.
pub(super) fn redirect(request: &HttpRequest) -> HttpResponse {
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let is_get = request.method() == Method::GET;
    let from_elsewhere = request.headers().get(FETCH_SITE).is_some_and(|site| site == "cross-site");
    if from_elsewhere && is_get {
        let page = RedirectPage { head: Head::bare("Signing you in…"), to: local_path(Some(here)) };
        return page::html(StatusCode::OK, &page).unwrap_or_else(|_| see_other(LOGIN_PATH));
    }
    let next = if is_get { local_path(Some(here)) } else { "/" };
    see_other(&format!("{LOGIN_PATH}?next={}", encode(next)))
}

fn page(status: StatusCode, next: &str, error: Option<&str>) -> Result<HttpResponse, Problem> {
    page::html(status, &Page { head: Head::bare("Log in"), next, error })
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish()
}

/// A path of this service; anything else becomes `/`.
fn local_path(next: Option<&str>) -> &str {
    let is_local = |path: &&str| {
        path.starts_with('/')
            && !path[1..].starts_with(['/', '\\'])
            && path.len() <= NEXT_MAX_BYTES
            && path.bytes().all(|byte| byte.is_ascii_graphic())
    };
    next.filter(is_local).unwrap_or("/")
}

/// Rejects a form that a page of another site sent.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_same_site = text(&FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
    let is_same_origin = text(&header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text(&header::HOST)
    });
    if is_same_site && is_same_origin {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this form was submitted from another site"))
}

fn set_cookie(response: &mut HttpResponse, headers: &HeaderMap, value: String, age: time::Duration) {
    let cookie = Cookie::build(SESSION_COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(host_names::came_by_tls(headers));
    // The value consists of hexadecimal digits, which every cookie can hold.
    let _always = response.add_cookie(&cookie.max_age(age).finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_redirects_to_this_service_only() {
        for path in ["//evil.example", "/\\evil.example", "http://evil.example", "", "/a\r\nb: c", "x"] {
            assert_eq!(local_path(Some(path)), "/", "{path}");
        }
        assert_eq!(local_path(Some("/requests/a%2Fb?x=1")), "/requests/a%2Fb?x=1");
    }

    #[test]
    fn forms_of_other_sites_are_rejected() {
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            pairs
                .iter()
                .for_each(|(name, value)| headers.insert(name.clone(), HeaderValue::from_static(value)).for_each(drop));
            headers
        };
        let host = (header::HOST, "127.0.0.1:8000");
        assert!(check_origin(&headers(std::slice::from_ref(&host))).is_ok());
        assert!(check_origin(&headers(&[host.clone(), (header::ORIGIN, "http://127.0.0.1:8000")])).is_ok());
        for origin in ["http://127.0.0.1:9000", "null", "http://evil.example"] {
            assert!(check_origin(&headers(&[host.clone(), (header::ORIGIN, origin)])).is_err(), "{origin}");
        }
        for site in ["cross-site", "same-site", "something new"] {
            assert!(check_origin(&headers(&[host.clone(), (FETCH_SITE, site)])).is_err(), "{site}");
        }
        for site in ["same-origin", "none"] {
            assert!(check_origin(&headers(&[host.clone(), (FETCH_SITE, site)])).is_ok(), "{site}");
        }
        assert!(check_origin(&headers(&[(header::ORIGIN, "null")])).is_err(), "neither names a host");
    }

    #[test]
    fn the_cookie_is_for_this_site_only_and_hidden_from_scripts() {
        let cookie = |headers: &HeaderMap| {
            let mut response = see_other("/");
            set_cookie(&mut response, headers, "0af".to_owned(), time::Duration::seconds(60));
            response.headers().get(header::SET_COOKIE).unwrap().to_str().unwrap().to_owned()
        };
        let plain = cookie(&HeaderMap::new());
        let parts: std::collections::BTreeSet<_> = plain.split("; ").collect();
        let value = format!("{SESSION_COOKIE}=0af");
        assert_eq!(parts, [value.as_str(), "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"].into());
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
        assert!(cookie(&headers).split("; ").any(|part| part == "Secure"));
    }
}
