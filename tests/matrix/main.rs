//! Tests the shipper against each engine version, one at a time. `make matrix` prints the table of docs/compatibility.md.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use observability_tests::engine::Engine;
use observability_tests::node::Node;
use observability_tests::numbers::{Tally, line, now};
use observability_tests::program::{Program, Start};
use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::json;
use tempfile::TempDir;

const ENGINES: [&str; 7] = [
    "elasticsearch-7.10.2",
    "elasticsearch-7.17.10",
    "elasticsearch-8.8.0",
    "elasticsearch-8.19.0",
    "elasticsearch-9.1.0",
    "opensearch-2.19.1",
    "opensearch-3.4.0",
];

/// Lines per step.
const LINES: u64 = 2_000;

/// A line that no mapping accepts: an object in a keyword field.
const REFUSED: &str = r#"{"trace_id":{"a":{"b":1}},"message":"refused"}"#;

/// The tests of one engine.
struct Trial {
    engine: Engine,
    folder: TempDir,
    pipeline: &'static str,
}

#[test]
fn every_engine_is_bootstrapped_written_to_and_verified() {
    let only = std::env::var("MATRIX").ok().filter(|only| !only.is_empty());
    println!("| engine | bootstrap | bulk | dedupe | rejected line | write block | verify |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let chosen =
        ENGINES.iter().filter(|name| only.as_deref().is_none_or(|only| only.split(',').any(|part| part == **name)));
    let mut failed = Vec::new();
    for name in chosen {
        let mut node = Node::started(name);
        let row = std::panic::catch_unwind(|| row(node.engine()));
        match row {
            Ok(cells) => println!("| {} | {} |", name.replace('-', " "), cells.join(" | ")),
            Err(_) => failed.push(*name),
        }
        node.stop();
    }
    assert!(failed.is_empty(), "{failed:?}");
}

fn row(engine: Engine) -> Vec<String> {
    let mut trial = Trial { engine, folder: tempfile::tempdir().unwrap(), pipeline: "app-logs" };
    vec![trial.bootstrap(), trial.bulk(), trial.dedupe(), trial.refused_line(), trial.write_block(), trial.verify()]
}

impl Trial {
    fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shipper(&self, action: &str, state: &Path) -> Start {
        let start = Start::program("shipper").args([action, "--to", &self.engine.url, "--pipeline", self.pipeline]);
        if action == "bootstrap" { start } else { start.args(["--retry-max-ms", "300", "--state-dir"]).arg(state) }
    }

    fn following(&self, state: &Path, file: &Path) -> (Program, SocketAddr) {
        let admin = port::free_address();
        let start = self.shipper("run", state).args(["--admin-listen", &admin.to_string(), "--file"]).arg(file);
        (start.start_healthy(admin), admin)
    }

    fn file(&self, name: &str, project: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let timestamp = now();
        fs::write(&path, (0..LINES).map(|n| line(project, &timestamp, n)).collect::<String>()).unwrap();
        path
    }

    /// Bootstraps with pipeline and template. If that fails with advice, bootstraps without the pipeline.
    fn bootstrap(&mut self) -> String {
        let mut first = self.shipper("bootstrap", Path::new("")).start();
        if first.exit_code() == 0 {
            return "pipeline and template".to_owned();
        }
        let error = first.stderr();
        assert!(error.contains("--pipeline none") && error.lines().count() == 1, "{error}");
        self.pipeline = "none";
        let mut second = self.shipper("bootstrap", Path::new("")).start();
        assert_eq!(second.exit_code(), 0, "{}", second.stderr());
        "no ingest processors: rejected with advice; template with `--pipeline none`".to_owned()
    }

    fn bulk(&self) -> String {
        let file = self.file("bulk.log", "bulk");
        let mut run = self.shipper("run", &self.state("bulk")).args(["--until-idle", "--file"]).arg(file).start();
        assert_eq!(run.exit_code(), 0, "{}", run.stderr());
        Tally::of(&self.engine, "bulk").assert_each_once(LINES);
        format!("{LINES} lines each once")
    }

    /// Ships from two copies of a state directory without checkpoints: the lines of the second one are already stored.
    fn dedupe(&self) -> String {
        let file = self.file("dedupe.log", "dedupe");
        let (first, second) = (self.state("first"), self.state("second"));
        let nobody = format!("http://{}", port::free_address());
        let admin = port::free_address();
        let mut nowhere = Start::program("shipper")
            .args(["run", "--to", &nobody, "--bootstrap", "off", "--admin-listen", &admin.to_string(), "--state-dir"])
            .arg(&first)
            .arg("--file")
            .arg(&file)
            .start_healthy(admin);
        wait::until("lines are read", || (Scrape::of(admin).metric("shipper_requests_total", &[]) > 0.0).then_some(()));
        nowhere.kill();
        copy(&first, &second);
        for (state, metric) in [(first, "shipper_lines_stored_total"), (second, "shipper_lines_already_stored_total")] {
            let (mut run, admin) = self.following(&state, &file);
            wait::until(metric, || (Scrape::of(admin).metric(metric, &[]) == LINES as f64).then_some(()));
            assert_eq!(run.stop(), 0, "{}", run.stderr());
        }
        Tally::of(&self.engine, "dedupe").assert_each_once(LINES);
        "409, each once".to_owned()
    }

    fn refused_line(&self) -> String {
        let file = self.folder.path().join("refused.log");
        fs::write(&file, format!("{REFUSED}\n{}", line("refused", &now(), 0))).unwrap();
        let (mut run, admin) = self.following(&self.state("refused"), &file);
        let scrape = wait::until("both lines have their outcome", || {
            let scrape = Scrape::of(admin);
            let done = scrape.metric("shipper_lines_read_total", &[]) == 2.0
                && scrape.metric("shipper_lines_pending", &[]) == 0.0;
            done.then_some(scrape)
        });
        assert_eq!(run.stop(), 0, "{}", run.stderr());
        Tally::of(&self.engine, "refused").assert_each_once(1);
        match scrape.metric("shipper_lines_dead_lettered_total", &[]) {
            1.0 => "dead letter, other line stored".to_owned(),
            _ => "stored in another form, other line stored".to_owned(),
        }
    }

    /// A write block pauses delivery until it is removed.
    fn write_block(&self) -> String {
        let block = |on: bool| {
            let settings = json!({ "index.blocks.write": on });
            let (status, answer) = self.engine.request("PUT", "/app-logs-*/_settings", &settings);
            assert_eq!(status, 200, "{answer}");
        };
        block(true);
        let file = self.file("block.log", "block");
        let (mut run, admin) = self.following(&self.state("block"), &file);
        wait::until("delivery is paused", || {
            (Scrape::of(admin).metric("shipper_delivery_paused", &[]) == 1.0).then_some(())
        });
        assert_eq!(Scrape::of(admin).metric("shipper_lines_dead_lettered_total", &[]), 0.0);
        block(false);
        wait::until("delivery is resumed", || {
            (Scrape::of(admin).metric("shipper_lines_stored_total", &[]) == LINES as f64).then_some(())
        });
        assert_eq!(run.stop(), 0, "{}", run.stderr());
        Tally::of(&self.engine, "block").assert_each_once(LINES);
        "paused, then resumed".to_owned()
    }

    fn verify(&self) -> String {
        let mut verify = self.shipper("verify", &self.state("bulk")).start();
        assert_eq!(verify.exit_code(), 0, "{} {}", verify.stdout(), verify.stderr());
        "complete".to_owned()
    }
}

/// Copies a folder recursively.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
