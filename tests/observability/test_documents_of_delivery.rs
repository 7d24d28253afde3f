//! Runs the commands of the documents on delivery and the embedded store where a shipper has shipped lines.

use serde_json::json;

use crate::terminal::{Outcome, Terminal};
use crate::test_documents::{DELIVERY, EMBEDDED, follow_in, has, holds, read};

/// A terminal with an embedded store that has one line, and dead letters that the store accepts when replayed.
fn after_some_work() -> (Terminal, String) {
    let mut terminal = Terminal::open();
    terminal.install("shipper");
    let generation = "01a1b2c3d4e57f608a1b2c3d4e5f6071";
    let letter = |offset: u64, at: &str, reason: &str| {
        let document = json!({ "timestamp": "2026-10-05T00:00:00.000Z", "service": "s", "level": "info", "message": "m",
            "request_id": null, "project_id": null });
        json!({ "at": at, "id": format!("{generation}-{offset:012x}"), "index": "app-logs-2026.10.05", "status": 400,
            "reason": reason, "attempts": 1, "length": 10, "document": document })
        .to_string()
            + "\n"
    };
    let letters = [
        letter(0, "2026-10-05T00:00:00.000000Z", "strict_dynamic_mapping_exception: n"),
        letter(10, "2026-11-05T00:00:00.000000Z", "strict_dynamic_mapping_exception: n"),
        letter(20, "2026-10-05T00:00:00.000000Z", "mapper_parsing_exception: n"),
    ];
    terminal.write("shipper.toml", "to = \"sqlite:data/logs.db\"\nstate_dir = \"shipper-state\"\n");
    terminal.write("logs/app.log", "a line\n");
    let outcome = terminal.run("mkdir data && shipper run --config shipper.toml --file 'logs/*.log' --until-idle");
    assert!(outcome.status.success(), "{outcome:#?}");
    terminal.write("shipper-state/dead-letters/00000000.ndjson", &letters.concat());
    (terminal, format!("{generation}-{:012x}", 20))
}

#[test]
fn documents_delivery_does_what_it_says() {
    let (mut terminal, id) = after_some_work();
    let given = [("STATE_DIR", "shipper-state"), ("show ID", &format!("show {id}"))];
    let counts = follow_in(
        &mut terminal,
        DELIVERY,
        &given,
        &[
            ("shipper preflight", |outcome| has(outcome, "rights: proven\n")),
            ("dead-letters list", |outcome| {
                has(outcome, "strict_dynamic_mapping_exception: n\n")?;
                has(outcome, "\"reason\": \"mapper_parsing_exception: n\"")
            }),
            ("dead-letters discard", |outcome| {
                has(outcome, "1 with status 400 for app-logs-2026.10.05\n1 discarded\n")
            }),
            ("dead-letters replay", |outcome| has(outcome, "2 stored, 0 already stored, 0 rejected again\n")),
            ("verify --config", |outcome| has(outcome, "verified  every line is stored exactly once\n")),
            ("verify --expect-removed", |outcome| has(outcome, "verified  every line is stored exactly once\n")),
            ("verify --resend", |outcome| has(outcome, "sent      0 lines stored, 0 already stored, 0 dead letters\n")),
            ("spool check", |outcome| {
                has(outcome, "no damage found\n")?;
                has(outcome, "nothing is damaged\n")
            }),
        ],
    );
    assert_eq!(counts, (8, 1));
}

#[test]
fn documents_embedded_store_does_what_it_says() {
    let (mut terminal, _) = after_some_work();
    let blocks: Vec<_> = read(EMBEDDED).blocks().map(|block| block.text.clone()).collect();
    let (_, question) = blocks[0].split_once('"').unwrap();
    let database = rusqlite::Connection::open(terminal.path("data/logs.db")).unwrap();
    let question = question.trim_end().strip_suffix('"').unwrap();
    let message: String = database.query_row(question, [], |row| row.get("message")).unwrap();
    assert_eq!(message, "a line");
    drop(database);
    let quiet = |outcome: &Outcome| holds(outcome.stdout.is_empty(), "it says something");
    let counts = follow_in(&mut terminal, EMBEDDED, &[], &[("--keep 7d", quiet), ("export", quiet)]);
    assert_eq!(counts, (2, 2));
    let exported = std::fs::read_to_string(terminal.path("all.ndjson")).unwrap();
    assert!(exported.lines().count() == 1 && exported.contains("\"message\":\"a line\""), "{exported}");
    assert_eq!(std::fs::read_to_string(terminal.path("errors.ndjson")).unwrap(), "");
}
