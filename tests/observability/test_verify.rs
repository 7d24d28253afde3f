//! `shipper verify` and `resend` against real stores: deleted lines are named and restored, duplicates are found, and
//! rejected lines are replayed once the cause is fixed.

use std::path::Path;

use observability_tests::engine::Engine;
use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::{Value, json};

use crate::test_store::{TestStore, append, assert_each_once, record, stored_lines, unique_name};

/// Runs a subcommand on a state directory and returns its exit code and output.
#[track_caller]
pub(crate) fn run(place: &TestStore, subcommand: &str, state: &Path, arguments: &[&str]) -> (i32, String) {
    let mut program = place.shipper(subcommand, state).args(arguments).start();
    let code = program.exit_code();
    (code, format!("{}{}", program.stdout(), program.stderr()))
}

#[track_caller]
fn ship(place: &TestStore, state: &Path, file: &Path) {
    let (code, output) = run(place, "run", state, &["--until-idle", "--file", &file.display().to_string()]);
    assert_eq!(code, 0, "{output}");
}

fn missing_and_duplicate_lines_are_found(place: &TestStore, engine: &Engine) {
    let project = unique_name("verify");
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let mut written = 0;
    append(&mut std::fs::File::create(&file).unwrap(), &project, &mut written, 3_000);
    ship(place, &state, &file);
    let (code, output) = run(place, "verify", &state, &[]);
    assert!(code == 0 && output.contains("3000 lines, 3000 stored"), "{output}");

    // lines deleted from the engine are named, by sums and by lines, and restored
    let hit = engine.search(&json!({ "bool": { "filter": [
        { "term": { "project_id": project } }, { "match": { "message": { "query": "line 1234", "operator": "and" } } },
    ] } }));
    let hit = &hit[0];
    let path = format!("/{}/_doc/{}", hit["_index"].as_str().unwrap(), hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let (code, output) = run(place, "verify", &state, &[]);
    let origin = &hit["_source"]["origin"];
    let missing = format!(
        "missing   {} bytes at offset {} of {} (file {})",
        origin["length"],
        origin["offset"],
        origin["generation"].as_str().unwrap(),
        file.display()
    );
    assert_eq!((code, output.matches(&missing).count(), output.matches("missing ").count()), (1, 2, 2), "{output}");
    let (code, output) = run(place, "verify", &state, &["--resend"]);
    assert!(code == 0 && output.contains("1 lines stored, 0 already stored"), "{output}");
    assert_each_once(&stored_lines(place, &project), written);
    assert_eq!(run(place, "verify", &state, &[]).0, 0);

    // the same line in a second index
    let index = format!("app-logs-1999.{}", &project[7..15]);
    let twin = format!("/{index}/_doc/{}?refresh=true", hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("PUT", &twin, &hit["_source"]).0, 201);
    let (code, output) = run(place, "verify", &state, &["--sums-only"]);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains(&format!("duplicate line at offset {} of ", origin["offset"])) && output.contains(&index),
        "{output}"
    );
    // replacing a missing line by an extra one of the same length changes no sum
    let neighbour = engine.search(&json!({ "bool": { "filter": [
        { "term": { "project_id": project } }, { "match": { "message": { "query": "line 1236", "operator": "and" } } },
    ] } }));
    let path = format!("/{}/_doc/{}", neighbour[0]["_index"].as_str().unwrap(), neighbour[0]["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let (code, output) = run(place, "verify", &state, &["--sums-only"]);
    assert_eq!((code, output.matches("missing ").count(), output.matches("duplicate ").count()), (1, 1, 1), "{output}");
    assert_eq!(engine.request("DELETE", &format!("/{index}"), &Value::Null).0, 200);
    assert_eq!(run(place, "verify", &state, &["--resend"]).0, 0);
    assert_eq!(run(place, "verify", &state, &[]).0, 0);

    // a deleted file can still be verified, also after a shipper was started without it
    std::fs::remove_file(&file).unwrap();
    let path_of_file = file.display().to_string();
    let (code, output) = run(place, "run", &state, &["--until-idle", "--allow-empty", "--file", &path_of_file]);
    assert_eq!(code, 0, "{output}");
    let (code, output) = run(place, "verify", &state, &[]);
    assert!(code == 0 && output.contains("3000 lines in"), "{output}");
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let (code, output) = run(place, "verify", &state, &[]);
    assert_eq!((code, output.matches("missing ").count()), (1, 1), "{output}");
}

#[test]
fn missing_and_duplicate_lines_are_found_through_the_pipeline() {
    missing_and_duplicate_lines_are_found(&TestStore::engine(), &Engine::with_processors());
}

#[test]
fn missing_and_duplicate_lines_are_found_without_processors() {
    missing_and_duplicate_lines_are_found(&TestStore::bare_engine(), &Engine::bare());
}

/// Rejected lines are replayed once the index accepts unknown fields.
fn rejected_lines_are_replayed(place: &TestStore, engine: &Engine, day: &str) {
    let project = unique_name("replay");
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let index = format!("/app-logs-{}", day.replace('-', "."));
    engine.request("DELETE", &index, &Value::Null);
    // install the template before creating the index
    assert_eq!(place.shipper("bootstrap", &state).start().exit_code(), 0);
    assert_eq!(engine.request("PUT", &index, &json!({ "mappings": { "dynamic": "strict" } })).0, 200);
    let record = |n: usize, more: &str| {
        format!(
            r#"{{"timestamp":"{day}T00:00:0{n}.000Z","service":"s","level":"info","message":"line {n}","request_id":null,"project_id":"{project}"{more}}}"#
        ) + "\n"
    };
    let lines = [record(0, ""), record(1, r#","n":1"#), record(2, r#","n":2"#)].concat();
    std::fs::write(&file, &lines).unwrap();
    ship(place, &state, &file);
    let (code, output) = run(place, "verify", &state, &[]);
    assert!(code == 0 && output.contains("1 lines in") && output.contains("2 dead letters"), "{output}");
    let (code, output) = run(place, "dead-letters replay", &state, &["--all"]);
    assert!(code == 1 && output.contains("0 stored, 0 already stored, 2 rejected again"), "{output}");

    let relax = json!({ "dynamic": false });
    assert_eq!(engine.request("PUT", &format!("{index}/_mapping"), &relax).0, 200);
    let (code, output) = run(place, "dead-letters replay", &state, &["--all"]);
    assert!(code == 0 && output.contains("2 stored, 0 already stored, 0 rejected again"), "{output}");
    let (code, output) = run(place, "verify", &state, &[]);
    assert!(code == 0 && output.contains("3 lines in") && output.contains("0 dead letters"), "{output}");
    assert_eq!(stored_lines(place, &project).len(), 3);
    engine.request("DELETE", &index, &Value::Null);
}

#[test]
fn rejected_lines_are_replayed_through_the_pipeline() {
    rejected_lines_are_replayed(&TestStore::engine(), &Engine::with_processors(), "2011-05-01");
}

#[test]
fn rejected_lines_are_replayed_without_processors() {
    rejected_lines_are_replayed(&TestStore::bare_engine(), &Engine::bare(), "2011-05-02");
}

/// An index deleted by a lifecycle policy is named with its lines. They count as lost unless the deletion is expected.
fn lines_of_a_deleted_index_are_named(place: &TestStore, engine: &Engine) {
    const A_DAY: usize = 10;
    let project = unique_name("life-cycle");
    let prefix = format!("life-{}", &project[project.len() - 12..]);
    let options = ["--index-prefix", &prefix];
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let day = |ago: i64| (time::OffsetDateTime::now_utc() - time::Duration::days(ago)).date().to_string();
    let index = |ago: i64| format!("{prefix}-{}", day(ago).replace('-', "."));
    let of_day =
        |ago: i64| (0..A_DAY).map(|n| record(&project, n).replace(&day(0), &day(ago)) + "\n").collect::<String>();
    let (old, newer, today) = (of_day(3), of_day(2), of_day(0));
    std::fs::write(&file, old.clone() + &newer).unwrap();
    let path = file.display().to_string();
    let run = |subcommand: &str, more: &[&str]| run(place, subcommand, &state, &[&options[..], more].concat());
    let (code, output) = run("run", &["--until-idle", "--file", &path]);
    assert_eq!(code, 0, "{output}");
    // lines of a pipe are deleted with their segment, so that only sums are left
    let mut shipper = place.shipper("run", &state).args(options).piped_stdin().start();
    std::io::Write::write_all(&mut shipper.child().stdin.take().unwrap(), today.as_bytes()).unwrap();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
    let (code, output) = run("verify", &[]);
    assert!(code == 0 && !output.contains("gone "), "{output}");

    for ago in [3, 0] {
        assert_eq!(engine.request("DELETE", &format!("/{}", index(ago)), &Value::Null).0, 200);
    }
    let (code, output) = run("verify", &[]);
    let gone = |ago: i64, what: &str| format!("deleted   {}: the index does not exist any more; {what}\n", index(ago));
    assert_eq!(code, 1, "{output}");
    for expected in [
        gone(3, &format!("{A_DAY} lines, {} bytes", old.len())),
        gone(3, &format!("{} bytes", old.len())),
        gone(0, &format!("{} bytes", today.len())),
    ] {
        assert!(output.contains(&expected), "{expected}{output}");
    }
    assert!(output.contains(&format!(", deleted with {}\n", index(0))) && output.contains("NOT VERIFIED"), "{output}");
    let (code, output) = run("verify", &["--expect-removed"]);
    assert!(code == 0 && output.contains(&gone(0, &format!("{} bytes", today.len()))), "{output}");
    // nothing is resent to an index that was deleted on purpose
    let (code, output) = run("verify", &["--expect-removed", "--resend"]);
    assert!(code == 0 && output.contains("0 lines stored, 0 already stored"), "{output}");

    // a line missing from an existing index is missing, whatever is expected
    let search = json!({ "query": { "match_all": {} }, "size": 1 });
    let (_, found) = engine.request("POST", &format!("/{}/_search", index(2)), &search);
    let id = found["hits"]["hits"][0]["_id"].as_str().unwrap();
    assert_eq!(engine.request("DELETE", &format!("/{}/_doc/{id}?refresh=true", index(2)), &Value::Null).0, 200);
    let (code, output) = run("verify", &["--expect-removed"]);
    assert!(code == 1 && output.contains("missing "), "{output}");
    engine.request("DELETE", &format!("/{}", index(2)), &Value::Null);
}

#[test]
fn lines_of_a_deleted_index_are_named_through_the_pipeline() {
    lines_of_a_deleted_index_are_named(&TestStore::engine(), &Engine::with_processors());
}

#[test]
fn lines_of_a_deleted_index_are_named_without_processors() {
    lines_of_a_deleted_index_are_named(&TestStore::bare_engine(), &Engine::bare());
}

/// Lines deleted by the embedded store's retention are not missing, but other lost lines are.
#[test]
fn lines_deleted_by_retention_are_reported_and_not_missing() {
    const OLD: usize = 6_000;
    let place = TestStore::embedded();
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let old = |n: usize| record("retired", n).replace(&crate::test_store::now()[..4], "2011") + "\n";
    std::fs::write(&file, (0..OLD).map(old).collect::<String>()).unwrap();
    let admin = port::free_address();
    let shipper = place.shipper("run", &state).args(["--keep", "7d", "--admin-listen", &admin.to_string(), "--file"]);
    let mut shipper = shipper.arg(&file).start_healthy(admin);
    let removed = wait::until("old lines are taken out", || {
        let scrape = Scrape::of(admin);
        assert_eq!(scrape.metric("shipper_store_retention_failing", &[]), 0.0);
        let is_shipped = scrape.metric("shipper_lines_stored_total", &[]) == OLD as f64;
        let removed = scrape.metric("shipper_store_removed_lines_total", &[]);
        // all but the newest lines, which are fewer than a run of 1,024
        (is_shipped && removed == (OLD / 1_024 * 1_024) as f64).then_some(removed)
    });
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    let (code, output) = run(&place, "verify", &state, &[]);
    assert!(code == 0 && output.contains(&format!("{removed} lines deleted by retention")), "{output}");
    assert!(output.contains("1 more were deleted: verified by sums only"), "{output}");
    let (_, json) = run(&place, "verify", &state, &["--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["sums"]["stored_lines"].as_u64().unwrap() + removed as u64, OLD as u64);

    let TestStore::Embedded(store) = &place else { unreachable!() };
    let database = rusqlite::Connection::open(store.path().join("logs.db")).unwrap();
    let gone = "DELETE FROM logs WHERE id = (SELECT max(id) FROM logs)";
    assert_eq!(database.execute(gone, []).unwrap(), 1);
    let (code, output) = run(&place, "verify", &state, &[]);
    assert!(code == 1 && output.contains("missing ") && output.contains("NOT VERIFIED"), "{output}");
}

/// A failing retention is reported by a metric until it succeeds.
#[test]
fn failing_retention_is_reported_until_it_succeeds() {
    let place = TestStore::embedded();
    let TestStore::Embedded(store) = &place else { unreachable!() };
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    std::fs::write(&file, "").unwrap();
    let admin = port::free_address();
    let shipper = place.shipper("run", &state).args(["--keep", "7d", "--admin-listen", &admin.to_string(), "--file"]);
    let mut shipper = shipper.arg(&file).start_answering(admin, "/readyz");
    let failing = || Scrape::of(admin).metric("shipper_store_retention_failing", &[]);
    assert_eq!(failing(), 0.0);
    let database = rusqlite::Connection::open(store.path().join("logs.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait::until("the failure is reported", || (failing() == 1.0).then_some(()));
    database.execute_batch("ROLLBACK").unwrap();
    wait::until("it is over", || (failing() == 0.0).then_some(()));
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
}
