//! End to end: the lines of a request are found by its id, each once, in every kind of store, even if the shipper is
//! killed meanwhile.

use std::fs::OpenOptions;
use std::net::SocketAddr;

use observability_tests::engine::Engine;
use observability_tests::lines::is_access_line;
use observability_tests::program::Program;
use observability_tests::schema::assert_log_record;
use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{COUNT, LOGS_ROUTE};
use crate::test_store::{
    TestStore, append, assert_accounting_holds, assert_each_once, assert_is_time, found_lines, lines_with_outcome, now,
    numbers_in_files, stored_lines, unique_name,
};

/// A log explorer whose own lines the shipper ships to the store that it reads.
struct Carried {
    program: Program,
    address: SocketAddr,
    admin: SocketAddr,
    _state: TempDir,
}

impl Carried {
    fn start(store: &TestStore) -> Self {
        let (address, admin) = (port::free_address(), port::free_address());
        let state = tempfile::tempdir().unwrap();
        let program = store
            .shipper("exec", &state.path().join("state"))
            .args(["--admin-listen", &admin.to_string(), "--"])
            .arg(observability_tests::program::executable("backend"))
            .env("LISTEN", address.to_string())
            .env("STORE", store.target())
            .env("BACKEND_FAULTS", "1")
            .start_healthy(address);
        Self { program, address, admin, _state: state }
    }

    /// The access lines that the log explorer finds for a request.
    fn access_lines(&self, request_id: &str) -> Vec<Value> {
        let answer = http::get(self.address, &format!("/api/requests/{request_id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        found_lines(&answer.json()).iter().filter(|line| is_access_line(line)).cloned().collect()
    }
}

fn one_request_is_counted_once_and_found_once(store: &TestStore) {
    let mut carried = Carried::start(store);
    let (id, project) = (unique_name("request"), unique_name("project"));
    let labels = [("endpoint", LOGS_ROUTE), ("status", "200")];
    let before = Scrape::of(carried.address).metric(COUNT, &labels);
    let headers: [(&str, &[u8]); 2] = [("X-Request-Id", id.as_bytes()), ("X-Project-Id", project.as_bytes())];
    let answer = http::get_with(carried.address, &format!("/api/projects/{project}/logs"), &headers);
    assert_eq!((answer.status, answer.request_id()), (200, id.as_str()));

    let found = wait::until("the log explorer finds the access line", || {
        Some(carried.access_lines(&id)).filter(|lines| !lines.is_empty())
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["request_id"], id);
    assert_eq!(found[0]["endpoint"], LOGS_ROUTE);
    assert_eq!(Scrape::of(carried.address).metric(COUNT, &labels), before + 1.0);
    assert_accounting_holds(&Scrape::of(carried.admin));

    // check again after the exit: no line was stored a second time
    assert_eq!(carried.program.stop(), 0, "{}", carried.program.stderr());
    if let TestStore::Engine(engine, processors) = store {
        let hits = engine.search(&json!({ "term": { "request_id": id } }));
        let access: Vec<_> = hits.iter().map(|hit| &hit["_source"]).filter(|line| is_access_line(line)).collect();
        assert_eq!(access.len(), 1, "{hits:#?}");
        let origin = &access[0]["origin"];
        assert!(origin["generation"].is_string() && origin["offset"].is_u64() && origin["length"].is_u64(), "{origin}");
        let generation = origin["generation"].as_str().unwrap();
        assert_eq!(
            hits.iter().filter(|hit| hit["_id"].as_str().is_some_and(|id| id.starts_with(generation))).count(),
            hits.len()
        );
        if *processors {
            assert_is_time(&access[0]["event"]["ingested"]);
            assert_eq!(access[0]["@timestamp"], access[0]["timestamp"]);
        }
        // remove what was added after the service wrote the line
        let mut record = access[0].clone();
        for added in ["origin", "event", "@timestamp"] {
            record.as_object_mut().unwrap().remove(added);
        }
        assert_log_record(&record);
        let day = access[0]["timestamp"].as_str().unwrap()[..10].replace('-', ".");
        assert_eq!(hits[0]["_index"], format!("app-logs-{day}"));
        assert_mapping(engine, &format!("app-logs-{day}"));
    } else {
        let lines = store.explorer().project(&project);
        assert_eq!(lines.iter().filter(|line| line["request_id"] == id && is_access_line(line)).count(), 1);
    }
}

/// Asserts that the index has the template's field types, and none for other fields.
#[track_caller]
fn assert_mapping(engine: &Engine, index: &str) {
    let mapping = engine.get(&format!("/{index}/_mapping"))[index]["mappings"].clone();
    assert!(mapping["dynamic"] == "false" || mapping["dynamic"] == false, "{mapping}");
    let kind = |field: &str| mapping["properties"][field]["type"].as_str().unwrap_or("absent").to_owned();
    for field in ["request_id", "service", "project_id", "level", "endpoint", "method"] {
        assert_eq!(kind(field), "keyword", "{field}");
    }
    assert_eq!(kind("message"), "text");
    for field in ["timestamp", "@timestamp"] {
        let found = kind(field);
        assert!(["date", "date_nanos"].contains(&found.as_str()), "{field} is {found}");
    }
    for field in ["status", "duration_ms"] {
        let found = kind(field);
        assert!(["short", "integer", "long", "float", "double"].contains(&found.as_str()), "{field} is {found}");
    }
    assert_eq!(kind("n"), "absent", "a field outside the template is mapped");
}

#[test]
fn a_request_is_found_through_the_pipeline_of_an_engine() {
    one_request_is_counted_once_and_found_once(&TestStore::engine());
}

#[test]
fn a_request_is_found_in_an_engine_without_processors() {
    one_request_is_counted_once_and_found_once(&TestStore::bare_engine());
}

#[test]
fn a_request_is_found_in_the_embedded_store() {
    one_request_is_counted_once_and_found_once(&TestStore::embedded());
}

/// Lines in the formats of other libraries are found by request id, with the contract's field names and levels.
fn other_formats_are_normalised(store: &TestStore) {
    let (bunyan, tracing, ecs, dotted, plain) = (
        unique_name("bunyan"),
        unique_name("tracing"),
        unique_name("ecs"),
        unique_name("dotted"),
        unique_name("plain"),
    );
    let time = now();
    let lines = [
        json!({ "v": 0, "name": "billing", "msg": format!("says {bunyan}"), "level": 50, "hostname": "h", "pid": 1,
            "time": time, "target": "billing", "request_id": bunyan }),
        json!({ "timestamp": time, "level": "WARN", "target": "billing::work",
            "fields": { "message": format!("says {tracing}"), "request_id": tracing, "amount": 3 } }),
        json!({ "@timestamp": time, "log": { "level": "Warning" }, "message": format!("says {ecs}"),
            "service": { "name": "billing" }, "http": { "request": { "id": ecs } }, "ecs": { "version": "8.11.0" } }),
        json!({ "@timestamp": time, "log.level": "ERROR", "message": format!("says {dotted}"),
            "service.name": "billing", "http.request.id": dotted, "ecs.version": "1.2.0" }),
    ]
    .map(|line| line.to_string());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("foreign.log");
    std::fs::write(&file, format!("{}\nsays {plain}\n", lines.join("\n"))).unwrap();
    let mut shipper = store
        .shipper("run", &folder.path().join("state"))
        .args(["--service", "fallback", "--until-idle", "--file"])
        .arg(&file)
        .start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());

    // an engine makes documents visible at its refresh interval
    if let TestStore::Engine(engine, _) = store {
        let hits = engine.search(&json!({ "match_phrase": { "message": format!("says {plain}") } }));
        assert_eq!(hits.len(), 1, "{hits:#?}");
        assert_eq!(hits[0]["_source"]["service"], "fallback");
        assert!(hits[0]["_source"]["@timestamp"].is_string());
    }
    let explorer = store.explorer();
    for (id, level, service) in [
        (&bunyan, "error", "billing"),
        (&tracing, "warn", ""),
        (&ecs, "warn", "billing"),
        (&dotted, "error", "billing"),
    ] {
        let lines = explorer.request(id);
        assert_eq!(lines.len(), 1, "{id}: {lines:#?}");
        let line = &lines[0];
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["message"], format!("says {id}"), "{line}");
        let found = line["service"].as_str().unwrap_or_default();
        assert!(!found.is_empty() && (service.is_empty() || found == service), "{line}");
        assert!(line["timestamp"].as_str().is_some_and(|found| found[..19] == time[..19]), "{line}");
        if let TestStore::Engine(engine, _) = store {
            assert_is_time(&line["event"]["ingested"]);
            let hits = engine.count(&json!({ "bool": { "filter": [
                { "term": { "request_id": id } }, { "term": { "level": level } }, { "term": { "service": found } },
                { "range": { "@timestamp": { "gte": &time[..19], "lte": "now+1m" } } } ] } }));
            assert_eq!(hits, 1, "not found by its level, service and time: {line}");
        }
    }
}

#[test]
fn other_formats_are_normalised_in_an_engine() {
    other_formats_are_normalised(&TestStore::engine());
}

#[test]
fn other_formats_are_normalised_in_the_embedded_store() {
    other_formats_are_normalised(&TestStore::embedded());
}

/// Kills the shipper repeatedly while a file grows. In the end each line is stored once.
fn a_killed_shipper_stores_each_line_of_a_file_once(store: &TestStore) {
    const ROUNDS: usize = 3;
    const A_ROUND: usize = 500;
    let project = unique_name("killed");
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("app.log"), folder.path().join("state"));
    let mut growing = OpenOptions::new().create(true).append(true).open(&file).unwrap();
    let mut written = 0;
    for _ in 0..ROUNDS {
        let admin = port::free_address();
        let mut shipper = store
            .shipper("run", &state)
            .args(["--admin-listen", &admin.to_string(), "--file"])
            .arg(&file)
            .start_healthy(admin);
        // at the kill some lines of this round are stored and others were just written
        append(&mut growing, &project, &mut written, A_ROUND);
        wait::until("a line is stored", || (lines_with_outcome(&Scrape::of(admin), "stored") > 0.0).then_some(()));
        append(&mut growing, &project, &mut written, A_ROUND);
        shipper.kill();
    }
    // lines written while no shipper runs
    append(&mut growing, &project, &mut written, 1);
    let mut shipper = store.shipper("run", &state).args(["--until-idle", "--file"]).arg(&file).start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
    assert_each_once(&stored_lines(store, &project), written);
}

#[test]
fn a_killed_shipper_stores_each_line_of_a_file_once_in_an_engine() {
    a_killed_shipper_stores_each_line_of_a_file_once(&TestStore::engine());
}

#[test]
fn a_killed_shipper_stores_each_line_of_a_file_once_in_an_engine_without_processors() {
    a_killed_shipper_stores_each_line_of_a_file_once(&TestStore::bare_engine());
}

#[test]
fn a_killed_shipper_stores_each_line_of_a_file_once_in_the_embedded_store() {
    a_killed_shipper_stores_each_line_of_a_file_once(&TestStore::embedded());
}

/// Kills the shipper while lines stream into it. The next one stores each accepted line once.
fn a_killed_shipper_stores_each_spooled_line_once(store: &TestStore) {
    let project = unique_name("spooled");
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let admin = port::free_address();
    let mut shipper =
        store.shipper("run", &state).args(["--admin-listen", &admin.to_string()]).piped_stdin().start_healthy(admin);
    let mut stdin = shipper.child().stdin.take().unwrap();
    let mut written = 0;
    append(&mut stdin, &project, &mut written, 1_000);
    let stored = wait::until("a line is stored", || {
        Some(lines_with_outcome(&Scrape::of(admin), "stored")).filter(|stored| *stored > 0.0)
    });
    append(&mut stdin, &project, &mut written, 1_000);
    shipper.kill();
    drop(stdin);
    let spooled = numbers_in_files(&state, &project);

    let mut shipper = store.shipper("run", &state).arg("--until-idle").start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
    let lines = stored_lines(store, &project);
    // the accepted lines are a prefix of the written ones, each stored once
    assert_each_once(&lines, lines.len());
    assert!(lines.len() as f64 >= stored && lines.len() <= written, "{stored} … {written}: {}", lines.len());
    assert!(spooled.iter().all(|n| *n < lines.len()), "spooled and not stored: {} of {spooled:?}", lines.len());
}

#[test]
fn a_killed_shipper_stores_each_spooled_line_once_in_an_engine() {
    a_killed_shipper_stores_each_spooled_line_once(&TestStore::engine());
}

#[test]
fn a_killed_shipper_stores_each_spooled_line_once_in_an_engine_without_processors() {
    a_killed_shipper_stores_each_spooled_line_once(&TestStore::bare_engine());
}

#[test]
fn a_killed_shipper_stores_each_spooled_line_once_in_the_embedded_store() {
    a_killed_shipper_stores_each_spooled_line_once(&TestStore::embedded());
}
