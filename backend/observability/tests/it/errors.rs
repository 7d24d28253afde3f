//! Failed requests are logged with the chain of causes in one field, whatever the type of the error.

use std::error::Error as StdError;
use std::{fmt, io};

use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::error::{InternalError, ResponseError};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig, get, post};
use actix_web::{App, Error, HttpResponse, error};
use serde_json::Value;
use tracing::dispatcher::with_default;

use crate::support::Rig;

fn connection_refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")
}

#[derive(Debug, thiserror::Error)]
#[error("can't reach the store")]
struct Unreachable(#[source] io::Error);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("can't load the page")]
    Load(#[source] Unreachable),
}

impl ResponseError for Failed {}

/// An error type that the service has not registered.
#[derive(Debug, thiserror::Error)]
#[error("can't load the page")]
struct Unregistered(#[source] Unreachable);

impl ResponseError for Unregistered {}

/// An error whose text includes that of its cause.
#[derive(Debug, thiserror::Error)]
#[error("can't load: {0}")]
struct WithCauseInText(#[source] Unreachable);

/// An error whose `Debug` output is a report like that of `anyhow`.
struct Report;

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("can't load\n\nCaused by:\n    0: can't reach the store\n    1: connection refused\n\nStack backtrace:\n   0: main")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("can't load")
    }
}

/// An error with an infinite chain of causes.
#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        write!(f, "cause {}!", NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl StdError for Endless {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&Endless)
    }
}

/// Panics when it is printed.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("can't be printed")
    }
}

impl ResponseError for Unprintable {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::BadGateway().finish()
    }
}

/// The status of a request and the lines it logs.
fn lines_of(rig: &Rig, routes: impl FnOnce(&mut ServiceConfig), request: TestRequest) -> (StatusCode, Vec<Value>) {
    let status = with_default(&rig.dispatch, || {
        actix_rt::System::new().block_on(async {
            let app = init_service(App::new().configure(routes).wrap(rig.obs.middleware())).await;
            let request = request.insert_header(("X-Request-Id", "r-1")).to_request();
            match app.call(request).await {
                Ok(response) => response.status(),
                Err(error) => error.error_response().status(),
            }
        })
    });
    (status, rig.log_lines())
}

fn error_of(handler: impl Fn() -> Error + Clone + 'static) -> String {
    let rig = Rig::new();
    let routes = |app: &mut ServiceConfig| {
        app.route("/x", get().to(move || std::future::ready(Err::<String, Error>(handler()))));
    };
    let (status, lines) = lines_of(&rig, routes, TestRequest::with_uri("/x"));
    assert!(status.is_server_error());
    let failed: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(failed.len(), 1, "{lines:?}");
    assert_eq!((&failed[0]["message"], &failed[0]["request_id"]), (&"request failed".into(), &"r-1".into()));
    failed[0]["error"].as_str().unwrap().to_owned()
}

#[test]
fn the_chain_of_causes_is_logged_for_every_kind_of_error() {
    let boxed = || -> Box<dyn StdError> { Box::new(Failed::Load(Unreachable(connection_refused()))) };
    let whole = "can't load the page: can't reach the store: connection refused";
    assert_eq!(error_of(move || boxed().into()), whole);
    assert_eq!(error_of(|| connection_refused().into()), "connection refused");
    assert_eq!(error_of(|| error::ErrorBadGateway(Report)), "can't load: can't reach the store: connection refused");
    observability::log_causes_of::<Failed>();
    assert_eq!(error_of(|| Failed::Load(Unreachable(connection_refused())).into()), whole);
    for text in [
        error_of(|| Unregistered(Unreachable(connection_refused())).into()),
        error_of(|| error::ErrorBadGateway(Failed::Load(Unreachable(connection_refused())))),
        error_of(|| InternalError::new(Unreachable(connection_refused()), StatusCode::BAD_GATEWAY).into()),
        error_of(|| {
            InternalError::from_response(Unreachable(connection_refused()), HttpResponse::BadGateway().finish()).into()
        }),
    ] {
        assert!(text.starts_with("can't ") && text.contains("connection refused"), "{text}");
    }
}

#[test]
fn a_cause_already_in_the_text_is_not_repeated() {
    let unlisted = || -> Box<dyn StdError> { Box::new(WithCauseInText(Unreachable(connection_refused()))) };
    assert_eq!(error_of(move || unlisted().into()), "can't load: can't reach the store: connection refused");
    let rig = Rig::new();
    with_default(&rig.dispatch, || {
        tracing::error!(error = &WithCauseInText(Unreachable(connection_refused())) as &dyn StdError, "failed");
    });
    assert_eq!(rig.log_lines()[0]["error"], "can't load: can't reach the store: connection refused");
}

#[test]
fn a_chain_is_bounded() {
    let rig = Rig::new();
    with_default(&rig.dispatch, || tracing::error!(error = &Endless as &dyn StdError, "failed"));
    let text = rig.log_lines()[0]["error"].as_str().unwrap().to_owned();
    assert!(text.ends_with('…') && text.matches("cause").count() <= 64, "{text}");
    let long = || -> Box<dyn StdError> { "x".repeat(100_000).into() };
    let text = error_of(move || long().into());
    assert!(text.ends_with("x…") && text.len() < 10_000, "{}", text.len());
}

#[test]
fn an_error_whose_display_panics_still_becomes_a_response() {
    let rig = Rig::new();
    let failing = |app: &mut ServiceConfig| {
        app.service(
            web::resource("/x")
                .route(get().to(HttpResponse::Ok))
                .wrap_fn(|_: ServiceRequest, _: &_| async { Err::<ServiceResponse, _>(Unprintable.into()) }),
        );
    };
    let (status, lines) = lines_of(&rig, failing, TestRequest::with_uri("/x"));
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(lines.iter().any(|line| line["message"] == "request failed" && line["request_id"] == "r-1"), "{lines:?}");
    assert_eq!(rig.counts(&[("status", "502")]), [1.0; 3]);
}

#[test]
fn errors_of_extractors_are_logged_at_debug() {
    #[derive(serde::Deserialize)]
    struct Body {
        #[allow(dead_code)]
        count: u32,
    }
    let routes = |app: &mut ServiceConfig| {
        app.app_data(web::JsonConfig::default().limit(64))
            .route("/json", post().to(|_: web::Json<Body>| async { "" }))
            .route("/form", post().to(|_: web::Form<Body>| async { "" }))
            .route("/query", get().to(|_: web::Query<Body>| async { "" }))
            .route("/path/{count}", get().to(|_: web::Path<u32>| async { "" }));
    };
    let json = |body: &str| {
        TestRequest::post()
            .uri("/json")
            .insert_header(("Content-Type", "application/json"))
            .set_payload(body.to_owned())
    };
    let form = TestRequest::post().uri("/form").insert_header(("Content-Type", "application/x-www-form-urlencoded"));
    for (request, status, why) in [
        (json("{\"count\":\"x\"}"), 400, "invalid type"),
        (json(&"x".repeat(100)), 413, "limit"),
        (form.set_payload("count=x"), 400, "invalid digit"),
        (TestRequest::with_uri("/query?count=x"), 400, "invalid digit"),
        (TestRequest::with_uri("/path/x"), 404, "can not parse"),
    ] {
        let rig = Rig::with(|settings| settings.log_filter = "debug".to_owned());
        let (actual, lines) = lines_of(&rig, routes, request);
        assert_eq!(actual.as_u16(), status);
        let refused: Vec<_> = lines.iter().filter(|line| line["message"] == "request refused").collect();
        assert_eq!(refused.len(), 1, "{lines:?}");
        let error = refused[0]["error"].as_str().unwrap();
        assert!(error.to_lowercase().contains(why), "{why}: {error}");
        assert_eq!((&refused[0]["level"], &refused[0]["request_id"]), (&"debug".into(), &"r-1".into()));
    }
    let rig = Rig::new();
    let (_, lines) = lines_of(&rig, routes, json("{}"));
    assert_eq!(lines.len(), 1, "only the access line at info: {lines:?}");
}
