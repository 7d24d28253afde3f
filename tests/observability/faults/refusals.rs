//! A real engine that rejects lines temporarily: a read-only cluster, and one at its shard limit. Delivery is paused; the
//! reason is in the metrics, the log and `/readyz`. No line is dropped, even after a restart, and each is stored once when
//! the engine accepts lines again.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;

use observability_tests::node::Node;
use observability_tests::numbers::line;
use observability_tests::program::{Program, Start};
use observability_tests::scrape::Scrape;
use observability_tests::{http, wait};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Bench, following, verify, wait_until_shipped};
use crate::test_store::{assert_accounting_holds, lines_with_outcome};

/// Lines per case.
const LINES: u64 = 100;

/// Exit codes of the shipper: lines are pending, and the store rejects lines.
const PENDING: i32 = 3;
const REJECTED: i32 = 12;

/// Number of rejected requests to wait for. Each of them could have dropped lines.
const REFUSALS: f64 = 4.0;

/// A cluster setting that makes the engine reject lines.
struct Refusal {
    setting: &'static str,
    value: Value,
    /// Value of `cause` in `shipper_sink_error`.
    cause: &'static str,
    /// Part of the engine's error message.
    reason: &'static str,
}

const READ_ONLY: (&str, &str) = ("cluster.blocks.read_only", "cluster read-only (api)");
const READ_ONLY_ALLOW_DELETE: (&str, &str) =
    ("cluster.blocks.read_only_allow_delete", "cluster read-only / allow delete (api)");

impl Refusal {
    fn block((setting, reason): (&'static str, &'static str)) -> Self {
        Self { setting, value: json!(true), cause: "block", reason }
    }

    /// A limit below the number of shards of one day's indices.
    fn shard_limit() -> Self {
        let reason = "this action would add [2]";
        Self { setting: "cluster.max_shards_per_node", value: json!(1), cause: "shard_limit", reason }
    }
}

/// A private engine, and a file whose lines are shipped to it.
struct Trial {
    node: Node,
    bench: Bench,
    options: &'static [&'static str],
    written: u64,
}

impl Trial {
    #[track_caller]
    fn on(engine: &str) -> Self {
        // the Elasticsearch of the tests has no ingest processors
        let options: &[_] = if engine == "elasticsearch" { &["--pipeline", "none"] } else { &[] };
        Self { node: Node::started(engine), bench: Bench::new("refusals"), options, written: 0 }
    }

    #[track_caller]
    fn set(&self, setting: &str, value: &Value) {
        let settings = json!({ "persistent": { setting: value } });
        let (status, answer) = self.node.engine().request("PUT", "/_cluster/settings", &settings);
        assert_eq!(status, 200, "{answer}");
    }

    /// Appends the next lines, dated to these numbers of days ago in turn.
    fn write(&mut self, days_ago: &[i64]) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.bench.file()).unwrap();
        let times: Vec<_> = days_ago
            .iter()
            .map(|days| (OffsetDateTime::now_utc() - Duration::days(*days)).format(&Rfc3339).unwrap())
            .collect();
        let numbered = (self.written..self.written + LINES).zip(times.iter().cycle());
        let lines: String = numbered.map(|(n, time)| line(&self.bench.project, time, n)).collect();
        file.write_all(lines.as_bytes()).unwrap();
        self.written += LINES;
    }

    #[track_caller]
    fn follow(&self) -> (Program, SocketAddr) {
        let shipper = self.bench.shipper(&self.node.engine().url);
        following(shipper.args(["--shutdown-timeout-ms", "200"]).args(self.options))
    }

    /// Runs preflight and returns its exit code and output.
    #[track_caller]
    fn preflight(&self) -> (i32, String) {
        let to = self.node.engine().url;
        let mut preflight = Start::program("shipper").args(["preflight", "--to", &to]).args(self.options).start();
        (preflight.exit_code(), preflight.stdout() + &preflight.stderr())
    }

    /// Asserts that rejected lines, `waiting` of them, stay pending over a restart and are stored once afterwards.
    #[track_caller]
    fn assert_refusal_is_waited_out(&mut self, refusal: &Refusal, days_ago: &[i64], waiting: u64) {
        self.set(refusal.setting, &refusal.value);
        self.write(days_ago);
        let (mut program, admin) = self.follow();
        wait_until_paused(admin, refusal, waiting);
        let log = program.stderr();
        let paused = log.lines().find(|line| line.contains("delivery paused")).unwrap_or(&log);
        assert!(paused.contains(refusal.reason) && paused.contains(refusal.cause), "{log}");
        assert_eq!(program.stop(), PENDING, "{}", program.stderr());
        let (mut program, admin) = self.follow();
        wait_until_paused(admin, refusal, waiting);
        self.set(refusal.setting, &Value::Null);
        let scrape = wait_until_shipped(admin, waiting);
        assert_eq!(scrape.metric("shipper_delivery_paused", &[]), 0.0);
        assert_eq!(http::get(admin, "/readyz").status, 200);
        assert_eq!(program.stop(), 0, "{}", program.stderr());
        self.assert_each_once();
    }

    #[track_caller]
    fn assert_each_once(&self) {
        verify(&self.node.engine().url, &self.bench.state());
        self.bench.assert_each_once(&self.node.engine(), self.written);
    }
}

/// Waits until several requests were rejected and the reason is reported. All lines that are not stored are pending.
#[track_caller]
fn wait_until_paused(admin: SocketAddr, refusal: &Refusal, waiting: u64) {
    let scrape = wait::until_ok("delivery is paused with its reason", || {
        let (scrape, ready) = (Scrape::of(admin), http::get(admin, "/readyz"));
        let is_paused = scrape.metric("shipper_delivery_paused", &[]) == 1.0
            && scrape.metric("shipper_sink_error", &[("cause", refusal.cause)]) == 1.0
            && scrape.metric("shipper_requests_retried_total", &[("cause", "refused")]) >= REFUSALS
            && ready.status == 503
            && ready.text().contains(refusal.reason);
        if is_paused { Ok(scrape) } else { Err(ready.text().to_owned()) }
    });
    assert_accounting_holds(&scrape);
    assert_eq!((lines_with_outcome(&scrape, "dropped"), lines_with_outcome(&scrape, "dead_lettered")), (0.0, 0.0));
    assert_eq!(scrape.metric("shipper_lines_pending", &[]), waiting as f64);
}

/// The cases of both engines, with the result of preflight.
fn rejected_lines_wait(trial: &mut Trial) {
    // before the bootstrap
    trial.assert_refusal_is_waited_out(&Refusal::block(READ_ONLY), &[0], LINES);
    for block in [READ_ONLY, READ_ONLY_ALLOW_DELETE] {
        trial.set(block.0, &json!(true));
        let (code, output) = trial.preflight();
        assert_eq!(code, REJECTED, "{output}");
        let expected = format!(
            "cluster blocks: blocked, the cluster is read-only ({0}), so lines would stay pending: set {0} ",
            block.0
        );
        assert!(output.contains(&expected), "{output}");
        trial.set(block.0, &Value::Null);
    }
    trial.assert_refusal_is_waited_out(&Refusal::block(READ_ONLY_ALLOW_DELETE), &[0], LINES);
    // today's index exists and accepts its half of the lines
    trial.assert_refusal_is_waited_out(&Refusal::shard_limit(), &[0, 1], LINES / 2);
    let (code, output) = trial.preflight();
    assert!(code == 0 && output.contains("cluster blocks: proven"), "{code}: {output}");
}

#[test]
fn lines_that_opensearch_rejects_wait_with_the_reason() {
    let mut trial = Trial::on("opensearch");
    rejected_lines_wait(&mut trial);

    // OpenSearch still creates an index for a line, but rejects explicit index creation
    let setting = "cluster.blocks.create_index";
    trial.set(setting, &json!(true));
    let (code, output) = trial.preflight();
    assert!(code == 0 && output.contains("cluster blocks: unproven") && output.contains(setting), "{code}: {output}");
    let (status, answer) = trial.node.engine().request("PUT", "/explicit", &Value::Null);
    assert_eq!((status, &answer["error"]["type"]), (403, &json!("index_create_block_exception")));
    trial.write(&[2]);
    let (mut program, admin) = trial.follow();
    wait_until_shipped(admin, LINES);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    trial.assert_each_once();
}

#[test]
fn lines_that_elasticsearch_rejects_wait_with_the_reason() {
    rejected_lines_wait(&mut Trial::on("elasticsearch"));
}
