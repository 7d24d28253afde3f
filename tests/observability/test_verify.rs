//! That every line is there, once, is asked of the real store: what is taken out of it is named and comes back, what is
//! there twice is found, and what was refused is stored once its cause is mended.

use std::path::Path;

use observability_tests::engine::Engine;
use serde_json::{Value, json};

use crate::place::{Place, append, assert_each_once, mark, stored_lines};

/// Runs a subcommand over a state directory; exit code, and what it said.
#[track_caller]
fn run(place: &Place, subcommand: &str, state: &Path, arguments: &[&str]) -> (i32, String) {
    let mut program = place.shipper(subcommand, state).args(arguments).start();
    let code = program.exit_code();
    (code, format!("{}{}", program.stdout(), program.stderr()))
}

#[track_caller]
fn ship(place: &Place, state: &Path, file: &Path) {
    let (code, said) = run(place, "run", state, &["--until-idle", "--file", &file.display().to_string()]);
    assert_eq!(code, 0, "{said}");
}

fn what_an_engine_lost_or_has_twice_is_found(place: &Place, engine: &Engine) {
    let project = mark("verify");
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let mut written = 0;
    append(&mut std::fs::File::create(&file).unwrap(), &project, &mut written, 3_000);
    ship(place, &state, &file);
    let (code, said) = run(place, "verify", &state, &[]);
    assert!(code == 0 && said.contains("3000 lines, 3000 stored"), "{said}");

    // Taken out of the engine: named, by sums and by lines, and brought back.
    let hit = engine.search(&json!({ "bool": { "filter": [
        { "term": { "project_id": project } }, { "match": { "message": { "query": "line 1234", "operator": "and" } } },
    ] } }));
    let hit = &hit[0];
    let path = format!("/{}/_doc/{}", hit["_index"].as_str().unwrap(), hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let (code, said) = run(place, "verify", &state, &[]);
    let origin = &hit["_source"]["origin"];
    let missing = format!(
        "missing   {} bytes at {} of {} (file {})",
        origin["length"],
        origin["offset"],
        origin["generation"].as_str().unwrap(),
        file.display()
    );
    assert_eq!((code, said.matches(&missing).count(), said.matches("missing ").count()), (1, 2, 2), "{said}");
    let (code, said) = run(place, "verify", &state, &["--resend"]);
    assert!(code == 0 && said.contains("1 lines stored, 0 already there"), "{said}");
    assert_each_once(&stored_lines(place, &project), written);
    assert_eq!(run(place, "verify", &state, &[]).0, 0);

    // The same line in another index.
    let index = format!("app-logs-1999.{}", &project[7..15]);
    let twin = format!("/{index}/_doc/{}?refresh=true", hit["_id"].as_str().unwrap());
    assert_eq!(engine.request("PUT", &twin, &hit["_source"]).0, 201);
    let (code, said) = run(place, "verify", &state, &["--sums-only"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&format!("twice     the line at {} of ", origin["offset"])) && said.contains(&index),
        "{said}"
    );
    // One more line at the place of a missing one of the same length leaves every sum as it was.
    let neighbour = engine.search(&json!({ "bool": { "filter": [
        { "term": { "project_id": project } }, { "match": { "message": { "query": "line 1236", "operator": "and" } } },
    ] } }));
    let path = format!("/{}/_doc/{}", neighbour[0]["_index"].as_str().unwrap(), neighbour[0]["_id"].as_str().unwrap());
    assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
    let (code, said) = run(place, "verify", &state, &["--sums-only"]);
    assert_eq!((code, said.matches("missing ").count(), said.matches("twice ").count()), (1, 1, 1), "{said}");
    assert_eq!(engine.request("DELETE", &format!("/{index}"), &Value::Null).0, 200);
    assert_eq!(run(place, "verify", &state, &["--resend"]).0, 0);
    assert_eq!(run(place, "verify", &state, &[]).0, 0);
}

#[test]
fn what_an_engine_lost_or_has_twice_is_found_through_the_pipeline() {
    what_an_engine_lost_or_has_twice_is_found(&Place::engine(), &Engine::with_processors());
}

#[test]
fn what_an_engine_without_processors_lost_or_has_twice_is_found() {
    what_an_engine_lost_or_has_twice_is_found(&Place::bare_engine(), &Engine::bare());
}

/// An index takes no field that it does not know, until it does.
fn what_was_refused_is_replayed(place: &Place, engine: &Engine, day: &str) {
    let project = mark("replay");
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("app.log"));
    let index = format!("/app-logs-{}", day.replace('-', "."));
    engine.request("DELETE", &index, &Value::Null);
    // The template is put in place before the index is made.
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
    let (code, said) = run(place, "verify", &state, &[]);
    assert!(code == 0 && said.contains("1 lines in") && said.contains("2 dead letters"), "{said}");
    let (code, said) = run(place, "dead-letters replay", &state, &["--all"]);
    assert!(code == 1 && said.contains("0 stored, 0 already stored, 2 refused again"), "{said}");

    let relax = json!({ "dynamic": false });
    assert_eq!(engine.request("PUT", &format!("{index}/_mapping"), &relax).0, 200);
    let (code, said) = run(place, "dead-letters replay", &state, &["--all"]);
    assert!(code == 0 && said.contains("2 stored, 0 already stored, 0 refused again"), "{said}");
    let (code, said) = run(place, "verify", &state, &[]);
    assert!(code == 0 && said.contains("3 lines in") && said.contains("0 dead letters"), "{said}");
    assert_eq!(stored_lines(place, &project).len(), 3);
    engine.request("DELETE", &index, &Value::Null);
}

#[test]
fn what_was_refused_is_replayed_through_the_pipeline() {
    what_was_refused_is_replayed(&Place::engine(), &Engine::with_processors(), "2011-05-01");
}

#[test]
fn what_was_refused_is_replayed_without_processors() {
    what_was_refused_is_replayed(&Place::bare_engine(), &Engine::bare(), "2011-05-02");
}
