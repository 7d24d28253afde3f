//! Dead letters of real engines: at their limit delivery stops and the reason is reported, discarding and replaying make
//! room, and in the end the accounting holds.

use std::path::Path;

use observability_tests::engine::Engine;
use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};
use serde_json::{Value, json};

use crate::test_store::{TestStore, assert_accounting_holds, lines_with_outcome, stored_lines, unique_name};
use crate::test_verify::run;

/// Number of lines. The engine rejects every second one.
const LINES: usize = 400;

/// Space for about sixty dead letters. A single one must fit, however long its line is.
const ROOM: [&str; 6] = ["--dead-letters-max-bytes", "40000", "--line-max-bytes", "2048", "--batch-max-lines", "20"];

/// Makes an index reject unknown fields.
fn refuse_unknown_fields(place: &TestStore, engine: &Engine, state: &Path, day: &str) -> String {
    let index = format!("/app-logs-{}", day.replace('-', "."));
    engine.request("DELETE", &index, &Value::Null);
    // install the template before creating the index
    assert_eq!(place.shipper("bootstrap", state).start().exit_code(), 0);
    assert_eq!(engine.request("PUT", &index, &json!({ "mappings": { "dynamic": "strict" } })).0, 200);
    index
}

/// Ships until there is no space for another dead letter, and checks how that is reported.
fn ship_until_there_is_no_room(place: &TestStore, state: &Path, file: &Path) {
    let admin = port::free_address();
    let mut shipper = place
        .shipper("run", state)
        .args(ROOM)
        .args(["--shutdown-timeout-ms", "100", "--admin-listen", &admin.to_string(), "--file"])
        .arg(file)
        .start_healthy(admin);
    let scrape = wait::until("there is no room for another letter", || {
        let answer = http::get(admin, "/readyz");
        let scrape = Scrape::of(admin);
        // requests in flight when the space ran out have completed, too
        let is_full = answer.status == 503 && answer.text().starts_with("the dead letters are full");
        (is_full && scrape.metric("shipper_host_requests_in_flight", &[]) == 0.0).then_some(scrape)
    });
    assert_eq!(scrape.metric("shipper_delivery_paused", &[]), 1.0);
    assert_eq!(scrape.metric("shipper_sink_error", &[("cause", "dead_letters")]), 1.0);
    assert_eq!(scrape.metric("shipper_sink_error", &[]), 1.0, "it is the only cause");
    let bytes = scrape.metric("shipper_dead_letters_bytes", &[]);
    assert!((20_000.0..=40_000.0).contains(&bytes), "{bytes}");
    assert!(scrape.metric("shipper_lines_pending", &[]) > 0.0);
    assert_eq!(lines_with_outcome(&scrape, "dropped"), 0.0);
    assert_accounting_holds(&scrape);
    assert_eq!(shipper.stop(), 3, "lines must be pending: {}", shipper.stderr());
    let pauses: Vec<_> =
        shipper.stderr().lines().filter(|line| line.contains("the dead letters are full")).map(str::to_owned).collect();
    assert!(pauses.len() == 1 && pauses[0].contains("\"cause\":\"dead_letters\""), "{pauses:#?}");
}

fn delivery_stops_at_the_limit_until_there_is_room(place: &TestStore, engine: &Engine, day: &str) {
    let project = unique_name("full");
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let index = refuse_unknown_fields(place, engine, &state, day);
    let record = |n: usize| {
        let (number, more) = (n / 2, if n.is_multiple_of(2) { "" } else { r#","unknown":1"# });
        format!(
            r#"{{"timestamp":"{day}T00:00:00.{number:03}Z","service":"s","level":"info","message":"line {n}","request_id":null,"project_id":"{project}"{more}}}"#
        ) + "\n"
    };
    std::fs::write(&file, (0..LINES).map(record).collect::<String>()).unwrap();

    // discarding makes room; discarded lines are deleted and not reported as missing
    ship_until_there_is_no_room(place, &state, &file);
    let (code, output) = run(place, "verify", &state, &ROOM);
    assert_eq!(code, 0, "finished lines are proven and the rest is pending: {output}");
    let discard = |arguments: &[&str]| {
        let state = state.display().to_string();
        let start = observability_tests::program::Start::program("shipper");
        let mut program = start.args(["dead-letters", "discard", "--state-dir", &state]).args(arguments).start();
        (program.exit_code(), program.stdout(), program.stderr())
    };
    let (code, would, refusal) = discard(&["--status", "400"]);
    assert!(code == 2 && refusal.contains("confirm with --yes"), "{would}{refusal}");
    let (code, output, _) = discard(&["--status", "400", "--yes"]);
    let discarded: usize = output.lines().last().unwrap().strip_suffix(" discarded").unwrap().parse().unwrap();
    assert!(code == 0 && discarded > 20 && output.starts_with(&would), "{would}{output}");

    // replaying makes room once the cause is fixed
    ship_until_there_is_no_room(place, &state, &file);
    assert_eq!(engine.request("PUT", &format!("{index}/_mapping"), &json!({ "dynamic": false })).0, 200);
    let (code, output) = run(place, "dead-letters replay", &state, &[&ROOM[..], &["--all"]].concat());
    assert!(code == 0 && output.contains(", 0 rejected again"), "{output}");
    let path = file.display().to_string();
    let (code, output) = run(place, "run", &state, &[&ROOM[..], &["--until-idle", "--file", &path]].concat());
    assert_eq!(code, 0, "{output}");

    let (code, output) = run(place, "verify", &state, &[&ROOM[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
    assert_eq!(code, 0, "{output}");
    let (sums, lines) = (&report["sums"], &report["lines"]);
    let stored = LINES - discarded;
    assert_eq!((&sums["stored_lines"], &sums["discarded"]), (&stored.into(), &discarded.into()), "{output}");
    assert_eq!((&lines["stored"], &lines["discarded"]), (&stored.into(), &discarded.into()), "{output}");
    assert_eq!(
        (&sums["dead_letters"], &sums["pending_bytes"], &sums["unmarked_replays"]),
        (&0.into(), &0.into(), &0.into())
    );
    let length = |field: &str| sums[field].as_u64().unwrap();
    let whole = std::fs::metadata(&file).unwrap().len();
    assert_eq!(length("stored_bytes") + length("discarded_bytes"), whole, "{output}");
    let found = stored_lines(place, &project);
    assert_eq!(found.len(), stored, "each once, without the discarded lines");

    // discarded lines do not hide lost ones
    let hit = &engine.search(&json!({ "term": { "project_id": project } }))[0];
    let path = format!("{index}/_doc/{}?refresh=true", hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    assert_eq!(run(place, "verify", &state, &[&ROOM[..], &["--sums-only"]].concat()).0, 1);
    assert_eq!(run(place, "verify", &state, &[&ROOM[..], &["--resend"]].concat()).0, 0);
    assert_eq!(stored_lines(place, &project).len(), stored, "discarded lines are not sent again");
    engine.request("DELETE", &index, &Value::Null);
}

#[test]
fn delivery_stops_at_the_limit_until_there_is_room_through_the_pipeline() {
    delivery_stops_at_the_limit_until_there_is_room(&TestStore::engine(), &Engine::with_processors(), "2011-05-03");
}

#[test]
fn delivery_stops_at_the_limit_until_there_is_room_without_processors() {
    delivery_stops_at_the_limit_until_there_is_room(&TestStore::bare_engine(), &Engine::bare(), "2011-05-04");
}
