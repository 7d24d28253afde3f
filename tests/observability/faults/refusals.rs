//! A real engine that will not take lines for a while: a cluster that is read-only, and one that has no room for another
//! index's shards. The sink pauses, says why in its metrics, in its log and on `/readyz`, and drops nothing, also over a
//! restart; once the engine takes lines again each is there once.

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
use crate::place::{assert_accounts_balance, disposed_of};

/// Lines of each case.
const LINES: u64 = 100;

/// The shipper's exit codes: lines are left, and the store takes none.
const LEFT: i32 = 3;
const REFUSED: i32 = 12;

/// So many refusals are waited for, each of which might have dropped something.
const REFUSALS: f64 = 4.0;

/// What a cluster's setting makes of the lines.
struct Refusal {
    setting: &'static str,
    value: Value,
    /// Its name in `shipper_sink_error`.
    cause: &'static str,
    /// The engine's own words.
    reason: &'static str,
}

const READ_ONLY: (&str, &str) = ("cluster.blocks.read_only", "cluster read-only (api)");
const READ_ONLY_ALLOW_DELETE: (&str, &str) =
    ("cluster.blocks.read_only_allow_delete", "cluster read-only / allow delete (api)");

impl Refusal {
    fn block((setting, reason): (&'static str, &'static str)) -> Self {
        Self { setting, value: json!(true), cause: "block", reason }
    }

    /// Fewer shards than the indices of one day have.
    fn shard_limit() -> Self {
        let reason = "this action would add [2]";
        Self { setting: "cluster.max_shards_per_node", value: json!(1), cause: "shard_limit", reason }
    }
}

/// An engine of the test's own, and a file whose lines are carried there.
struct Trial {
    node: Node,
    bench: Bench,
    options: &'static [&'static str],
    written: u64,
}

impl Trial {
    #[track_caller]
    fn on(engine: &str) -> Self {
        // The bare Elasticsearch has no ingest processors.
        let options: &[_] = if engine == "elasticsearch" { &["--pipeline", "none"] } else { &[] };
        Self { node: Node::started(engine), bench: Bench::new("refusals"), options, written: 0 }
    }

    #[track_caller]
    fn set(&self, setting: &str, value: &Value) {
        let settings = json!({ "persistent": { setting: value } });
        let (status, answer) = self.node.engine().request("PUT", "/_cluster/settings", &settings);
        assert_eq!(status, 200, "{answer}");
    }

    /// Appends the next lines, of today or of so many days ago, by turns.
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

    /// What preflight ends with, and says.
    #[track_caller]
    fn preflight(&self) -> (i32, String) {
        let to = self.node.engine().url;
        let mut preflight = Start::program("shipper").args(["preflight", "--to", &to]).args(self.options).start();
        (preflight.exit_code(), preflight.stdout() + &preflight.stderr())
    }

    /// Lines that the engine refuses wait, `waiting` of them, also over a restart; when it takes them they are there once.
    #[track_caller]
    fn refuses(&mut self, refusal: &Refusal, days_ago: &[i64], waiting: u64) {
        self.set(refusal.setting, &refusal.value);
        self.write(days_ago);
        let (mut program, admin) = self.follow();
        wait_until_paused(admin, refusal, waiting);
        let log = program.stderr();
        let told = log.lines().find(|line| line.contains("delivery paused")).unwrap_or(&log);
        assert!(told.contains(refusal.reason) && told.contains(refusal.cause), "{log}");
        assert_eq!(program.stop(), LEFT, "{}", program.stderr());
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

/// Waits until the sink has been refused again and again; it says why, and all that is not stored waits.
#[track_caller]
fn wait_until_paused(admin: SocketAddr, refusal: &Refusal, waiting: u64) {
    let scrape = wait::until_ok("the sink pauses, and says why", || {
        let (scrape, ready) = (Scrape::of(admin), http::get(admin, "/readyz"));
        let is_paused = scrape.metric("shipper_delivery_paused", &[]) == 1.0
            && scrape.metric("shipper_sink_error", &[("cause", refusal.cause)]) == 1.0
            && scrape.metric("shipper_requests_retried_total", &[("cause", "refused")]) >= REFUSALS
            && ready.status == 503
            && ready.text().contains(refusal.reason);
        if is_paused { Ok(scrape) } else { Err(ready.text().to_owned()) }
    });
    assert_accounts_balance(&scrape);
    assert_eq!((disposed_of(&scrape, "dropped"), disposed_of(&scrape, "dead_lettered")), (0.0, 0.0));
    assert_eq!(scrape.metric("shipper_lines_pending", &[]), waiting as f64);
}

/// What both engines refuse, and what preflight says of it.
fn what_an_engine_refuses_waits(trial: &mut Trial) {
    // Before anything is put in place there.
    trial.refuses(&Refusal::block(READ_ONLY), &[0], LINES);
    for block in [READ_ONLY, READ_ONLY_ALLOW_DELETE] {
        trial.set(block.0, &json!(true));
        let (code, said) = trial.preflight();
        assert_eq!(code, REFUSED, "{said}");
        let expected = format!(
            "cluster blocks: blocked, the cluster is read-only ({0}), so lines would stay pending: set {0} ",
            block.0
        );
        assert!(said.contains(&expected), "{said}");
        trial.set(block.0, &Value::Null);
    }
    trial.refuses(&Refusal::block(READ_ONLY_ALLOW_DELETE), &[0], LINES);
    // Today's index is there, and takes its half of the lines.
    trial.refuses(&Refusal::shard_limit(), &[0, 1], LINES / 2);
    let (code, said) = trial.preflight();
    assert!(code == 0 && said.contains("cluster blocks: proven"), "{code}: {said}");
}

#[test]
fn what_opensearch_refuses_waits_with_its_reason() {
    let mut trial = Trial::on("opensearch");
    what_an_engine_refuses_waits(&mut trial);

    // It makes an index for a line all the same, and only no index that is asked for.
    let setting = "cluster.blocks.create_index";
    trial.set(setting, &json!(true));
    let (code, said) = trial.preflight();
    assert!(code == 0 && said.contains("cluster blocks: unproven") && said.contains(setting), "{code}: {said}");
    let (status, answer) = trial.node.engine().request("PUT", "/asked-for", &Value::Null);
    assert_eq!((status, &answer["error"]["type"]), (403, &json!("index_create_block_exception")));
    trial.write(&[2]);
    let (mut program, admin) = trial.follow();
    wait_until_shipped(admin, LINES);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    trial.assert_each_once();
}

#[test]
fn what_elasticsearch_refuses_waits_with_its_reason() {
    what_an_engine_refuses_waits(&mut Trial::on("elasticsearch"));
}
