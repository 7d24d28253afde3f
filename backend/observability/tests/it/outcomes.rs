//! Each outcome on a real socket is counted exactly once, with one access line that agrees.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use actix_web::body::{MessageBody as _, SizedStream};
use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{Bytes, ServiceConfig, get};
use actix_web::{App, Error, HttpResponse, error};
use futures_util::{StreamExt as _, stream};
use tracing::dispatcher::with_default;

use crate::support::{Rig, Server, wait_until};

/// Logs a line when it is dropped.
struct LogsDrop(&'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        tracing::info!("{} was dropped", self.0);
    }
}

/// A stream of one chunk, which is sent before `end` is polled.
fn chunk_and(end: fn() -> Option<Result<Bytes, Error>>) -> impl stream::Stream<Item = Result<Bytes, Error>> {
    let end = async move {
        tokio::task::yield_now().await;
        end()
    };
    let chunk = Ok(Bytes::from_static(b"0123456789"));
    stream::iter([chunk]).chain(stream::once(end).filter_map(std::future::ready))
}

fn routes(app: &mut ServiceConfig) {
    let streamed = || async { HttpResponse::Ok().streaming(chunk_and(|| None)) };
    let broken = || async { HttpResponse::Ok().streaming(chunk_and(|| Some(Err(error::ErrorBadGateway("upstream"))))) };
    let short = || async { HttpResponse::Ok().body(SizedStream::new(20, chunk_and(|| None))) };
    let body_panics = || async { HttpResponse::Ok().streaming(chunk_and(|| panic!("in the body"))) };
    let endless = || async {
        let guard = LogsDrop("the body");
        HttpResponse::Ok().streaming(stream::repeat_with(move || {
            let _ = &guard;
            Ok::<_, Error>(Bytes::from_static(&[b'x'; 8192]))
        }))
    };
    app.route("/ok/{id}", get().to(|| async { "hello" }))
        .route("/empty", get().to(HttpResponse::NoContent))
        .route("/streamed", get().to(streamed))
        .route("/refused", get().to(|| async { Err::<String, _>(error::ErrorBadRequest("no")) }))
        .route("/failed", get().to(|| async { Err::<String, _>(error::ErrorBadGateway("upstream")) }))
        .route("/panic", get().to(|| async { if true { panic!("in the future") } else { "" } }))
        .route("/panic-in-call", get().to(|| if true { panic!("in the call") } else { async { "" } }))
        .route("/body-panics", get().to(body_panics))
        .route("/broken", get().to(broken))
        .route("/short", get().to(short))
        .route("/endless", get().to(endless))
        .route(
            "/never",
            get().to(|| async {
                let _guard = LogsDrop("the handler");
                std::future::pending::<&str>().await
            }),
        );
}

/// Asserts the counts and the access line of the only request.
#[track_caller]
fn assert_outcome(rig: &Rig, endpoint: &str, status: Option<u16>, outcome: &str) {
    rig.wait_for("request_count", 1.0);
    let label = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    let labels = [("endpoint", endpoint), ("status", label.as_str()), ("project_id", "none"), ("service", "tested")];
    let responses = if status.is_some() { 1.0 } else { 0.0 };
    assert_eq!(rig.counts(&labels), [1.0, 1.0, responses], "{endpoint}");
    assert_eq!(rig.counts(&[]), [1.0, 1.0, responses], "{endpoint}");
    assert_eq!(rig.metric("requests_in_flight", &[]), 0.0, "{endpoint}");
    assert_eq!(rig.metric("panics_total", &[]), if outcome == "panic" { 1.0 } else { 0.0 }, "{endpoint}");
    wait_until("an access line", || !rig.access_lines().is_empty());
    let access = rig.access_lines();
    assert_eq!(access.len(), 1, "{access:?}");
    let line = &access[0];
    assert_eq!((&line["endpoint"], &line["outcome"]), (&endpoint.into(), &outcome.into()));
    assert_eq!((&line["status"], &line["request_id"]), (&status.into(), &"r-1".into()), "{line}");
}

#[test]
fn each_outcome_is_counted_once() {
    for (head, endpoint, status, outcome) in [
        ("GET /ok/7?secret=1", "/ok/{id}", 200, "answered"),
        ("HEAD /ok/7", "unmatched", 404, "answered"),
        ("GET /empty", "/empty", 204, "answered"),
        ("GET /streamed", "/streamed", 200, "answered"),
        ("GET /nowhere", "unmatched", 404, "answered"),
        ("BREW /nowhere", "unmatched", 404, "answered"),
        ("GET /refused", "/refused", 400, "handler_error"),
        ("GET /failed", "/failed", 502, "handler_error"),
        ("GET /panic", "/panic", 500, "panic"),
        ("GET /panic-in-call", "/panic-in-call", 500, "panic"),
        ("GET /body-panics", "/body-panics", 200, "panic"),
        ("GET /broken", "/broken", 200, "body_failed"),
        ("GET /short", "/short", 200, "body_cut"),
    ] {
        let rig = Rig::new();
        let server = Server::start(&rig, routes);
        let answer = server.send(head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert_eq!(answer.matches("x-request-id: r-1\r\n").count(), 1, "{head}: {answer}");
        assert_outcome(&rig, endpoint, Some(status), outcome);
    }
}

#[test]
fn a_failed_body_has_an_access_line_of_level_error_with_the_cause() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    server.send("GET /broken");
    wait_until("an access line", || !rig.access_lines().is_empty());
    let line = &rig.access_lines()[0];
    assert_eq!((&line["level"], &line["error"]), (&"error".into(), &"upstream".into()), "{line}");
    let errors = rig.log_lines().into_iter().filter(|line| line["level"] == "error");
    assert_eq!(errors.count(), 1, "{:?}", rig.log_lines());
}

#[test]
fn a_client_that_does_not_speak_http_causes_no_error_line() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0d, 0x0a]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    server.send("GET /ok/1");
    wait_until("an access line", || !rig.access_lines().is_empty());
    assert!(rig.log_lines().iter().all(|line| line["level"] == "info"), "{:?}", rig.log_lines());
}

#[test]
fn a_client_that_disconnects_before_the_response_is_counted_without_a_status() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    let stream = server.open("GET /never");
    rig.wait_for("requests_in_flight", 1.0);
    assert_eq!(rig.counts(&[]), [0.0; 3], "counted before its end");
    drop(stream);
    assert_outcome(&rig, "/never", None, "client_gone");
    let dropped = &rig.lines_with_message("the handler was dropped")[0];
    assert_eq!(dropped["request_id"], "r-1", "{dropped}");
}

#[test]
fn a_client_that_disconnects_during_the_body_is_counted_with_its_status() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    let mut stream = server.open("GET /endless");
    stream.read_exact(&mut [0; 4096]).unwrap();
    assert_eq!(rig.counts(&[]), [0.0; 3], "counted before its end");
    drop(stream);
    assert_outcome(&rig, "/endless", Some(200), "body_cut");
    let dropped = &rig.lines_with_message("the body was dropped")[0];
    assert_eq!(dropped["request_id"], "r-1", "{dropped}");
}

#[test]
fn a_body_is_complete_with_its_last_byte_and_not_before() {
    for (chunks_read, outcome) in [(10, "answered"), (9, "body_cut"), (1, "body_cut"), (0, "body_cut")] {
        let rig = Rig::new();
        with_default(&rig.dispatch, || {
            actix_rt::System::new().block_on(async {
                let handler = || async {
                    let byte = |_| Ok::<_, Error>(Bytes::from_static(b"x"));
                    HttpResponse::Ok().body(SizedStream::new(10, stream::iter(0..10).map(byte)))
                };
                let app = init_service(App::new().route("/sized", get().to(handler)).wrap(rig.obs.middleware())).await;
                let request = TestRequest::with_uri("/sized").insert_header(("X-Request-Id", "r-1")).to_request();
                let mut body = std::pin::pin!(app.call(request).await.unwrap().into_body());
                for _ in 0..chunks_read {
                    let chunk = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
                    assert_eq!(chunk.unwrap().unwrap().len(), 1);
                }
            });
        });
        assert_outcome(&rig, "/sized", Some(200), outcome);
    }
}

#[test]
fn a_server_that_stops_counts_the_requests_it_aborts() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    let stream = server.open("GET /never");
    rig.wait_for("requests_in_flight", 1.0);
    drop(server);
    assert_outcome(&rig, "/never", None, "client_gone");
    drop(stream);
}

#[test]
fn metric_and_access_line_have_the_same_duration() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    server.send("GET /ok/1");
    rig.wait_for("request_count", 1.0);
    let families = rig.obs.registry().gather();
    let family = families.iter().find(|family| family.name() == "request_duration_seconds").unwrap();
    let seconds = family.get_metric()[0].get_histogram().get_sample_sum();
    wait_until("an access line", || !rig.access_lines().is_empty());
    let millis = rig.access_lines()[0]["duration_ms"].as_f64().unwrap();
    let difference = Duration::from_secs_f64(seconds).as_micros() as f64 - millis * 1e3;
    assert!(difference.abs() < 1.0, "{seconds} s, {millis} ms");
}
