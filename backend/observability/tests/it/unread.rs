//! Responses that are dropped before they are read completely are counted by their outcome.

use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody as _, to_bytes};
use actix_web::dev::{Payload, Service as _};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, Error, HttpResponse, error};
use futures_util::{Stream, stream};
use tracing::dispatcher::with_default;

use crate::support::Rig;

/// What the test does with the response body.
#[derive(Clone, Copy, Debug)]
enum Then {
    Dropped,
    Read,
}

fn failing() -> BoxBody {
    BoxBody::new(actix_web::body::BodyStream::new(stream::iter([Err::<Bytes, Error>(error::ErrorBadGateway("cut"))])))
}

fn routes(app: &mut ServiceConfig) {
    let upload = |body: Result<Bytes, Error>| async move { if body.is_ok() { "all" } else { "some" } };
    app.route("/ok", web::route().to(|| async { "hello" }))
        .route("/empty", web::get().to(HttpResponse::NoContent))
        .route("/panic", web::get().to(|| async { if true { panic!("at once") } else { "" } }))
        .route("/failing", web::get().to(|| async { HttpResponse::Ok().body(failing()) }))
        .route("/upload", web::post().to(upload));
}

/// Sends one request and returns its access lines.
fn lines_of(rig: &Rig, request: TestRequest, is_aborted: bool, then: Then) -> Vec<serde_json::Value> {
    with_default(&rig.dispatch, || {
        actix_rt::System::new().block_on(async {
            let app = App::new().configure(routes).wrap(rig.obs.middleware());
            let app = init_service(app).await;
            let mut request = request.to_request();
            if is_aborted {
                let payload = stream::iter([Err::<Bytes, _>(PayloadError::Incomplete(None))]);
                let payload: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(payload);
                request = request.replace_payload(Payload::Stream { payload }).0;
            }
            let body = match app.call(request).await {
                Ok(response) => response.into_body().boxed(),
                // as a server does
                Err(error) => HttpResponse::from_error(error).into_body(),
            };
            match then {
                Then::Dropped => drop(body),
                Then::Read => drop(to_bytes(body).await),
            }
        });
    });
    rig.access_lines()
}

#[test]
fn a_dropped_response_is_counted_by_its_outcome() {
    for (method, path, then, outcome) in [
        (Method::GET, "/ok", Then::Dropped, "body_cut"),
        (Method::GET, "/ok", Then::Read, "answered"),
        (Method::HEAD, "/ok", Then::Dropped, "answered"),
        (Method::GET, "/empty", Then::Dropped, "answered"),
        (Method::GET, "/panic", Then::Dropped, "panic"),
        (Method::GET, "/panic", Then::Read, "panic"),
        (Method::GET, "/failing", Then::Dropped, "body_cut"),
        (Method::GET, "/failing", Then::Read, "body_failed"),
    ] {
        let rig = Rig::new();
        let request = TestRequest::with_uri(path).method(method.clone());
        let lines = lines_of(&rig, request, false, then);
        assert_eq!(lines.len(), 1, "{method} {path} {then:?}: {lines:?}");
        assert_eq!(lines[0]["outcome"], outcome, "{method} {path} {then:?}: {lines:?}");
        assert_eq!(rig.counts(&[])[0], 1.0);
    }
}

#[test]
fn an_aborted_upload_is_counted_as_client_gone_if_the_response_is_not_read() {
    let rig = Rig::new();
    let lines = lines_of(&rig, TestRequest::with_uri("/upload").method(Method::POST), true, Then::Dropped);
    assert_eq!((lines.len(), &lines[0]["outcome"], &lines[0]["status"]), (1, &"client_gone".into(), &().into()));
}

#[test]
fn a_failed_body_is_logged_even_for_excluded_endpoints() {
    let rig = Rig::with(|settings| settings.access_log_exclude = ["/failing".into(), "/ok".into()].into());
    assert_eq!(lines_of(&rig, TestRequest::with_uri("/ok"), false, Then::Read).len(), 0);
    let lines = lines_of(&rig, TestRequest::with_uri("/failing"), false, Then::Read);
    assert_eq!((lines.len(), &lines[0]["outcome"], &lines[0]["error"]), (1, &"body_failed".into(), &"cut".into()));
}

#[test]
fn methods_of_http_have_their_own_label_and_others_share_one() {
    let known = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    for (method, label) in known.map(|method| (method, method)).into_iter().chain([("BREW", "OTHER"), ("get", "OTHER")])
    {
        let rig = Rig::new();
        let request = TestRequest::with_uri("/ok").method(Method::from_bytes(method.as_bytes()).unwrap());
        lines_of(&rig, request, false, Then::Read);
        assert_eq!(rig.counts(&[("method", label)])[0], 1.0, "{method}");
    }
}
