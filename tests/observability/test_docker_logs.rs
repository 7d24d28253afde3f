//! Container logs, as written and rotated by Docker's json-file driver: the lines of selected containers are stored
//! complete, once, and with their origin.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::{Value, json};

use crate::test_store::{TestStore, assert_accounting_holds, assert_each_once, record, stored_lines, unique_name};
use crate::test_verify::run;

/// Maximum size of a log entry; Docker splits longer lines.
const PIECE_BYTES: usize = 16 * 1024;

/// A container's log folder.
struct Container<'a> {
    folder: &'a Path,
    id: String,
    service: &'a str,
}

impl Container<'_> {
    fn write(&self, stream: &str, text: &str) {
        let folder = self.folder.join(&self.id);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}-json.log", self.id));
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let attrs = json!({ "com.docker.compose.project": "obs", "com.docker.compose.service": self.service });
        for piece in text.as_bytes().chunks(PIECE_BYTES) {
            let log = std::str::from_utf8(piece).unwrap();
            let entry =
                json!({ "log": log, "stream": stream, "attrs": attrs, "time": "2026-11-23T18:51:20.123456789Z" });
            file.write_all(format!("{entry}\n").as_bytes()).unwrap();
        }
    }

    fn rotate(&self) {
        let path = self.folder.join(&self.id).join(format!("{}-json.log", self.id));
        let rotated = |number: u32| path.with_extension(format!("log.{number}"));
        if rotated(1).exists() {
            std::fs::rename(rotated(1), rotated(2)).unwrap();
        }
        std::fs::rename(&path, rotated(1)).unwrap();
    }
}

fn lines_of_selected_containers_are_stored(place: &TestStore) {
    let project = unique_name("docker");
    let folder = tempfile::tempdir().unwrap();
    let containers = folder.path().join("containers");
    let container = |letter: &str, service| Container { folder: &containers, id: letter.repeat(64), service };
    let (shop, other) = (container("a", "shop"), container("b", "other"));
    let mut written = 0;
    let mut write = |count: usize| {
        for _ in 0..count {
            shop.write("stdout", &(record(&project, written) + "\n"));
            shop.write("stderr", "a warning\n");
            other.write("stdout", &(record(&project, written) + "\n"));
            written += 1;
        }
    };
    write(50);
    let pattern = containers.join("*/*-json.log").display().to_string();
    let admin = port::free_address();
    let start = || {
        let shipper = place.shipper("run", &folder.path().join("state"));
        let options = ["--format", "docker", "--docker-label", "com.docker.compose.service=shop", "--file", &pattern];
        shipper.args(options).args(["--admin-listen", &admin.to_string()]).start_healthy(admin)
    };
    let all_stored = |lines: f64| {
        let scrape = wait::until(&format!("{lines} lines are stored"), || {
            let scrape = Scrape::of(admin);
            let stored = scrape.metric("shipper_lines_stored_total", &[]);
            (stored + scrape.metric("shipper_lines_already_stored_total", &[]) >= lines).then_some(scrape)
        });
        assert_accounting_holds(&scrape);
    };
    let mut shipper = start();
    all_stored(50.0);
    write(10);
    shop.rotate();
    write(10);
    all_stored(70.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());

    // while no shipper runs, a record of several entries is written and the file is rotated
    let mut long: Value = serde_json::from_str(&record(&project, 70)).unwrap();
    long["detail"] = "x".repeat(3 * PIECE_BYTES).into();
    shop.write("stdout", &format!("{long}\n"));
    shop.write("stderr", "a warning\n");
    shop.rotate();
    shop.write("stdout", "plain text\n");
    shop.write("stderr", "a warning\n");
    let mut shipper = start();
    all_stored(2.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());

    let lines = stored_lines(place, &project);
    assert_each_once(&lines, 71);
    for line in &lines {
        assert_eq!(line["origin"]["container"], shop.id, "{line}");
        assert_eq!(line["origin"]["compose_service"], "shop", "{line}");
    }
    assert!(lines.iter().any(|line| line["detail"] == long["detail"]), "the long line is complete");
    // read all files to their end, including the text after the last lines
    let idle = ["--until-idle", "--format", "docker", "--docker-label", "com.docker.compose.service=shop", "--file"];
    let (code, output) = run(place, "run", &folder.path().join("state"), &[&idle[..], &[&pattern]].concat());
    assert_eq!(code, 0, "{output}");
    lines_of_rotated_files_are_verified(place, &folder.path().join("state"), &project);
}

/// Verifies rotated files, each of which ends with output that is not a record: what the container wrote to stderr.
fn lines_of_rotated_files_are_verified(place: &TestStore, state: &Path, project: &str) {
    let options = ["--format", "docker", "--docker-label", "com.docker.compose.service=shop"];
    let verify = |more: &[&str]| {
        let (code, output) = run(place, "verify", state, &[&options[..], more, &["--json"]].concat());
        let report: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        assert_eq!(report["verified"], code == 0, "{output}");
        report
    };
    let report = verify(&[]);
    assert_eq!(report["verified"], true, "{report:#}");
    // 71 records and one plain text line in three files
    assert_eq!(
        (&report["sums"]["stored_lines"], &report["sums"]["generations"]),
        (&72.into(), &3.into()),
        "{report:#}"
    );
    assert_eq!((&report["lines"]["lines"], &report["lines"]["stored"]), (&72.into(), &72.into()), "{report:#}");
    assert!(report["sums"]["skipped_bytes"].as_u64().unwrap() > 0, "{report:#}");

    let TestStore::Engine(engine, _) = place else { return };
    // a line of a rotated file
    let hit = &engine.search(&json!({ "bool": { "filter": [
        { "term": { "project_id": project } }, { "match": { "message": { "query": "line 65", "operator": "and" } } },
    ] } }))[0];
    let path = format!("/{}/_doc/{}", hit["_index"].as_str().unwrap(), hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let report = verify(&[]);
    assert_eq!((&report["verified"], &report["lines"]["missing"]["count"]), (&false.into(), &1.into()), "{report:#}");
    assert_eq!(report["lines"]["missing"]["listed"][0]["offset"], hit["_source"]["origin"]["offset"]);
    assert_eq!(verify(&["--resend"])["resent"]["stored"], 1);
    assert_eq!(verify(&[])["verified"], true);
    assert_each_once(&stored_lines(place, project), 71);
}

#[test]
fn lines_of_selected_containers_are_stored_in_an_engine() {
    lines_of_selected_containers_are_stored(&TestStore::engine());
}

#[test]
fn lines_of_selected_containers_are_stored_in_the_embedded_store() {
    lines_of_selected_containers_are_stored(&TestStore::embedded());
}
