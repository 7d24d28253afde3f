//! Containers' logs, as Docker's json-file driver writes and rotates them: the chosen containers' lines arrive whole, each
//! once, and say where they are from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::{Value, json};

use crate::place::{Place, assert_accounts_balance, assert_each_once, mark, record, stored_lines};

/// Docker cuts what a container writes into pieces of so many bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// A container as Docker keeps its log.
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
        std::fs::rename(&path, path.with_extension("log.1")).unwrap();
    }
}

fn lines_of_chosen_containers_arrive(place: &Place) {
    let project = mark("docker");
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
        assert_accounts_balance(&scrape);
    };
    let mut shipper = start();
    all_stored(50.0);
    write(10);
    shop.rotate();
    write(10);
    all_stored(70.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());

    // While nobody looks, a record of several pieces is written and the file is rotated.
    let mut long: Value = serde_json::from_str(&record(&project, 70)).unwrap();
    long["detail"] = "x".repeat(3 * PIECE_BYTES).into();
    shop.write("stdout", &format!("{long}\n"));
    shop.rotate();
    shop.write("stdout", "plain text\n");
    let mut shipper = start();
    all_stored(2.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());

    let lines = stored_lines(place, &project);
    assert_each_once(&lines, 71);
    for line in &lines {
        assert_eq!(line["origin"]["container"], shop.id, "{line}");
        assert_eq!(line["origin"]["compose_service"], "shop", "{line}");
    }
    assert!(lines.iter().any(|line| line["detail"] == long["detail"]), "the long line is whole");
}

#[test]
fn lines_of_chosen_containers_arrive_in_an_engine() {
    lines_of_chosen_containers_arrive(&Place::engine());
}

#[test]
fn lines_of_chosen_containers_arrive_in_the_embedded_store() {
    lines_of_chosen_containers_arrive(&Place::embedded());
}
