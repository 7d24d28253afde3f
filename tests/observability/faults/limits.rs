//! A real engine with limits: a maximum request size, which the shipper discovers and remembers, and a blocked index,
//! whose lines stay pending while those of other indices are stored.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;

use observability_tests::node::Node;
use observability_tests::numbers::line;
use observability_tests::scrape::Scrape;
use observability_tests::{http, wait};
use serde_json::{Value, json};

use super::{Bench, following, verify, wait_until_shipped};
use crate::test_store::{assert_accounting_holds, lines_with_outcome};

/// About 45 batches of the size that the engine accepts, or five of the shipper's own.
const LINES: u64 = 15_000;

/// The pipeline and the template must fit.
const LIMIT: &str = "http.max_content_length: 128kb\n";

/// Maximum number of rejected requests until the limit is known.
const REJECTIONS_MAX: f64 = 8.0;

const CLOSED: &str = "2026-11-20T12:00:00.000Z";
const OPEN: &str = "2026-11-21T12:00:00.000Z";

#[test]
fn an_engine_with_limits_holds_each_line_once() {
    let mut node = Node::new("opensearch");
    std::fs::write(node.extra("settings.yml"), LIMIT).unwrap();
    node.start();
    requests_are_split_and_the_limit_is_remembered(&node);
    lines_of_a_blocked_index_wait_and_others_are_stored(&node);
}

/// Appends lines dated to a day.
fn write(bench: &Bench, day: &str, numbers: std::ops::Range<u64>) {
    let mut file = OpenOptions::new().create(true).append(true).open(bench.file()).unwrap();
    let lines: String = numbers.map(|n| line(&bench.project, day, n)).collect();
    file.write_all(lines.as_bytes()).unwrap();
}

fn requests_are_split_and_the_limit_is_remembered(node: &Node) {
    let bench = Bench::new("too-large");
    write(&bench, OPEN, 0..LINES);
    let (mut program, admin) = following(bench.shipper(&node.engine().url));
    let too_large = |scrape: &Scrape| scrape.metric("shipper_requests_retried_total", &[("cause", "too_large")]);
    let rejected = too_large(&wait_until_shipped(admin, LINES));
    assert!((1.0..=REJECTIONS_MAX).contains(&rejected), "{rejected}");
    write(&bench, OPEN, LINES..2 * LINES);
    let again = too_large(&wait_until_shipped(admin, 2 * LINES));
    assert!(again <= rejected + 2.0, "{rejected}, then {again}");
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    verify(&node.engine().url, &bench.state());
    bench.assert_each_once(&node.engine(), 2 * LINES);
}

fn lines_of_a_blocked_index_wait_and_others_are_stored(node: &Node) {
    let bench = Bench::new("one-index");
    let index = format!("app-logs-{}", CLOSED[..10].replace('-', "."));
    let request = |method: &str, path: &str, body: &Value| {
        let (status, answer) = node.engine().request(method, &format!("/{index}/{path}"), body);
        assert_eq!(status, 200, "{answer}");
    };
    write(&bench, CLOSED, 0..10);
    let (mut program, admin) = following(bench.shipper(&node.engine().url));
    wait_until_shipped(admin, 10);
    let mut written = 10;
    let block = |on: Value| json!({ "index.blocks.write": on });
    let block_index: [&dyn Fn(); 2] =
        [&|| request("POST", "_close", &Value::Null), &|| request("PUT", "_settings", &block(json!(true)))];
    let unblock_index: [&dyn Fn(); 2] =
        [&|| request("POST", "_open", &Value::Null), &|| request("PUT", "_settings", &block(Value::Null))];
    for (block_index, unblock_index) in block_index.into_iter().zip(unblock_index) {
        block_index();
        write(&bench, CLOSED, written..written + 50);
        // write several batches to the open index
        for round in 1..=5 {
            let from = written + 50 * round;
            write(&bench, OPEN, from..from + 50);
            // the first batch may contain lines of both indices, so it does not show yet that others are accepted
            wait_until_only_blocked_lines_wait(admin, from + 50, &index, round == 1);
        }
        written += 300;
        unblock_index();
        let scrape = wait_until_shipped(admin, written);
        assert_eq!(scrape.metric("shipper_blocked_indices", &[]), 0.0);
        assert_eq!(http::get(admin, "/readyz").status, 200);
    }
    let log = program.stderr();
    assert!(log.lines().any(|line| line.contains("\"delivery paused\"") && line.contains(&index)), "{log}");
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    verify(&node.engine().url, &bench.state());
    bench.assert_each_once(&node.engine(), written);
}

/// Waits until all lines are read and only 50 are pending, which metrics and `/readyz` report as blocked. Delivery is not
/// paused, except possibly after the first batch.
#[track_caller]
fn wait_until_only_blocked_lines_wait(admin: SocketAddr, read: u64, index: &str, may_be_paused: bool) {
    let scrape = wait::until_ok("the others are stored", || {
        let (scrape, ready) = (Scrape::of(admin), http::get(admin, "/readyz"));
        let is_expected = scrape.metric("shipper_lines_read_total", &[]) >= read as f64
            && scrape.metric("shipper_lines_pending", &[]) == 50.0
            && scrape.metric("shipper_blocked_lines", &[]) >= 49.0
            && scrape.metric("shipper_blocked_indices", &[]) == 1.0
            && (may_be_paused || scrape.metric("shipper_delivery_paused", &[]) == 0.0)
            && scrape.metric("shipper_sink_error", &[("cause", "block")]) == 1.0
            && ready.status == 503
            && ready.text().contains(&format!("index {index} is blocked: "))
            && ready.text().contains("[block]");
        if is_expected { Ok(scrape) } else { Err(format!("{} {scrape:?}", ready.text())) }
    });
    assert_accounting_holds(&scrape);
    assert_eq!((lines_with_outcome(&scrape, "dropped"), lines_with_outcome(&scrape, "dead_lettered")), (0.0, 0.0));
}
