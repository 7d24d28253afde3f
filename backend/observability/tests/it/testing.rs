//! The helper for tests of a service's telemetry.

use actix_web::App;
use actix_web::test::{TestRequest, call_and_read_body, init_service};
use observability::ObservabilitySettings;
use observability::prometheus::{Histogram, HistogramOpts, IntGauge};
use observability::testing::TestTelemetry;

#[test]
fn lines_are_captured_until_the_guard_is_dropped() {
    let telemetry = TestTelemetry::new("svc").unwrap();
    let capture = telemetry.capture();
    tracing::info!(number = 7, "first");
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::info!("on another thread"));
        scope.spawn(|| tracing::dispatcher::with_default(telemetry.subscriber(), || tracing::warn!("second")));
    });
    drop(capture);
    tracing::info!("after the guard");
    let lines = telemetry.log_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["message"], &lines[0]["number"]), (&"first".into(), &7.into()));
    assert_eq!(telemetry.lines_with_message("second").len(), 1);
    assert_eq!(telemetry.log_text().lines().count(), 2);
}

#[test]
fn tests_do_not_see_each_others_telemetry() {
    let (one, other) = (TestTelemetry::new("one").unwrap(), TestTelemetry::new("other").unwrap());
    actix_rt::System::new().block_on(async {
        let _capture = one.capture();
        let app = init_service(App::new().wrap(one.observability().middleware())).await;
        call_and_read_body(&app, TestRequest::with_uri("/nowhere").to_request()).await;
    });
    assert_eq!((one.metric("request_count", &[]), one.access_lines().len()), (1.0, 1));
    assert_eq!((other.metric("request_count", &[]), other.log_text()), (0.0, String::new()));
}

#[test]
fn metrics_of_each_kind_have_a_value() {
    let telemetry = TestTelemetry::with_settings(ObservabilitySettings::new("svc")).unwrap();
    let registry = telemetry.observability().registry();
    let depth = IntGauge::new("depth", "Depth").unwrap();
    let opts = HistogramOpts::new("size_bytes", "Size").const_label("kind", "small");
    let size = Histogram::with_opts(opts).unwrap();
    registry.register(Box::new(depth.clone())).unwrap();
    registry.register(Box::new(size.clone())).unwrap();
    depth.set(-3);
    size.observe(10.0);
    size.observe(20.0);
    assert_eq!(telemetry.metric("depth", &[]), -3.0);
    assert_eq!(telemetry.metric("size_bytes", &[("kind", "small")]), 2.0);
    assert_eq!(telemetry.metric("size_bytes", &[("kind", "large")]), 0.0);
    assert_eq!(telemetry.metric("unknown", &[]), 0.0);
    let text = telemetry.metrics_text();
    assert!(text.contains("# HELP depth Depth\n") && text.contains("\nsize_bytes_count{kind=\"small\"} 2\n"), "{text}");
}
