//! The library in one process, without a server: what the suites under `tests/observability` can't bring about with a
//! real program.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test as service_test;
use actix_web::{App, HttpResponse, error, web};
use observability::{Observability, ObservabilitySettings};
use tracing::dispatcher::{Dispatch, with_default};

/// Lines that a test reads back.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start() -> (Observability, Dispatch, Output) {
    let output = Output::default();
    let settings = ObservabilitySettings::new("tested");
    let (obs, dispatch) = Observability::detached(settings, Box::new(output.clone())).unwrap();
    (obs, dispatch, output)
}

fn lines(obs: &Observability, output: &Output) -> Vec<String> {
    assert!(obs.flush(Duration::from_secs(10)));
    String::from_utf8(output.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
}

/// The sum of a counter over all its labels, and of the part with this status.
fn counted(obs: &Observability, name: &str, status: &str) -> (f64, f64) {
    let families = obs.registry().gather();
    let family = families.iter().find(|family| family.name() == name);
    let (mut all, mut of_status) = (0.0, 0.0);
    for metric in family.map(|family| family.get_metric()).unwrap_or_default() {
        all += metric.get_counter().get_value();
        if metric.get_label().iter().any(|label| label.name() == "status" && label.value() == status) {
            of_status += metric.get_counter().get_value();
        }
    }
    (all, of_status)
}

#[actix_web::test]
async fn an_error_from_a_middleware_has_its_id_and_is_counted_when_its_body_ends() {
    let (obs, _, _) = start();
    let failing = |_: ServiceRequest, _: &_| async { Err::<ServiceResponse, _>(error::ErrorBadGateway("upstream")) };
    let handler = || async { HttpResponse::Ok().finish() };
    let app = App::new().route("/x", web::get().to(handler)).wrap_fn(failing).wrap(obs.middleware());
    let app = service_test::init_service(app).await;
    let request = service_test::TestRequest::get().uri("/x").insert_header(("X-Request-Id", "r-1")).to_request();
    let Err(error) = app.call(request).await else { panic!("the middleware fails") };
    assert_eq!(counted(&obs, "request_count", "502"), (0.0, 0.0), "its body has not ended");
    let response = error.error_response();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers().get("X-Request-Id").unwrap(), "r-1");
    to_bytes(response.into_body()).await.unwrap();
    drop(error);
    assert_eq!(counted(&obs, "request_count", "502"), (1.0, 1.0));
    assert_eq!(counted(&obs, "response_status_count", "502"), (1.0, 1.0));
}

#[test]
fn a_key_that_span_and_event_share_stands_once_and_the_events_value_wins() {
    let (obs, dispatch, output) = start();
    with_default(&dispatch, || {
        let outer = tracing::info_span!("outer", shared = "outer", only_outer = 1);
        let _outer = outer.enter();
        let inner = tracing::info_span!("inner", shared = "inner", middle = "inner", late = tracing::field::Empty);
        let _inner = inner.enter();
        inner.record("late", 7);
        tracing::info!(shared = "event", service = "forged", origin = "forged", request_id = "forged", "hello");
    });
    let lines = lines(&obs, &output);
    assert_eq!(lines.len(), 1);
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["shared"], &line["middle"], &line["only_outer"]), (&"event".into(), &"inner".into(), &1.into()));
    assert_eq!((&line["late"], &line["service"], &line["request_id"]), (&7.into(), &"tested".into(), &().into()));
    assert!(line.get("origin").is_none(), "the key is the shipper's: {line}");
    let keys = line.as_object().unwrap().keys();
    for key in keys.clone() {
        assert_eq!(lines[0].matches(&format!("\"{key}\":")).count(), 1, "{key}: {}", lines[0]);
    }
    assert_eq!(keys.collect::<HashSet<_>>().len(), line.as_object().unwrap().len());
}

#[test]
fn what_is_hostile_in_a_field_is_escaped() {
    let (obs, dispatch, output) = start();
    let hostile = "a\n{\"level\":\"error\"}\u{0}\"\\\u{7f}\u{2028}";
    with_default(&dispatch, || tracing::info!(hostile, "{hostile}"));
    let lines = lines(&obs, &output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["message"], &line["hostile"]), (&hostile.into(), &hostile.into()));
}
