//! Verification and repair: `verify`, `dead-letters` and `spool` with the real program and the embedded store. Missing
//! lines are produced by restoring an older copy of the store.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use store::{GenerationId, LineId};

use crate::program::{Place, names, run, ship_stdin, start, until};

#[track_caller]
fn ship_files(place: &Place) {
    let (code, text) = run(place, &["run", "--file", "*.log", "--until-idle"]);
    assert_eq!(code, 0, "{text}");
}

/// The store's files, to be restored later.
fn copy(place: &Place) -> Vec<(String, Vec<u8>)> {
    let store = names(place.folder.path()).into_iter().filter(|name| name.starts_with("logs.db"));
    store.map(|name| (name.clone(), fs::read(place.path(&name)).unwrap())).collect()
}

fn put_back(place: &Place, files: Vec<(String, Vec<u8>)>) {
    for name in names(place.folder.path()).into_iter().filter(|name| name.starts_with("logs.db")) {
        fs::remove_file(place.path(&name)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(place.path(&name), bytes).unwrap();
    }
}

#[track_caller]
fn report(place: &Place, code: i32) -> Value {
    let (found, text) = run(place, &["verify", "--json"]);
    assert_eq!(found, code, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn lines_lost_by_the_store_are_reported_and_sent_again() {
    let place = Place::new();
    fs::write(place.path("a.log"), "one\ntwo\n").unwrap();
    ship_files(&place);
    assert_eq!(report(&place, 0)["sums"]["stored_bytes"], 8);
    let older = copy(&place);
    fs::write(place.path("a.log"), "one\ntwo\nthree\nfour\n").unwrap();
    fs::write(place.path("b.log"), "five\n").unwrap();
    ship_files(&place);
    assert_eq!(report(&place, 0)["lines"]["stored"], 5);

    put_back(&place, older);
    let report = report(&place, 1);
    let missing = report["lines"]["missing"]["listed"].as_array().unwrap().clone();
    let mut places: Vec<_> = missing.iter().map(|line| (line["offset"].as_u64(), line["bytes"].as_u64())).collect();
    places.sort_unstable();
    assert_eq!(places, [(Some(0), Some(5)), (Some(8), Some(6)), (Some(14), Some(5))]);
    assert_eq!(report["sums"]["missing"]["listed"].as_array().unwrap().len(), 2, "{report:#}");
    let (code, text) = run(&place, &["verify"]);
    assert_eq!(code, 1);
    assert!(
        text.contains("missing   6 bytes at offset 8 of ") && text.contains("a.log") && text.contains("NOT VERIFIED"),
        "{text}"
    );

    let (code, text) = run(&place, &["verify", "--resend"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 lines stored, 0 already stored"), "{text}");
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 0 && text.contains("every line is stored exactly once"), "{text}");
    let mut stored = place.stored();
    stored.sort();
    assert_eq!(stored, ["five", "four", "one", "three", "two"]);
}

#[test]
fn deleted_sources_are_verified_by_sums() {
    let place = Place::new();
    ship_stdin(&place, "one\ntwo\n");
    let older = copy(&place);
    ship_stdin(&place, "three, without an end");
    let whole = report(&place, 0);
    assert_eq!((&whole["sums"]["generations"], &whole["sums"]["stored_bytes"]), (&2.into(), &29.into()), "{whole:#}");
    assert_eq!(whole["lines"]["sources"], 0);
    put_back(&place, older);
    let short = report(&place, 1);
    let missing = &short["sums"]["missing"]["listed"][0];
    assert_eq!(
        (&missing["offset"], &missing["bytes"], &missing["source"]),
        (&0.into(), &21.into(), &"stream stdin".into())
    );
    // Sources completed since are ignored on request.
    let (code, text) = run(&place, &["verify", "--since", "2100-01-01T00:00:00Z"]);
    assert!(code == 0 && text.contains("2 sources ignored"), "{text}");
    let (code, text) = run(&place, &["verify", "--resend"]);
    assert_eq!(code, 1, "nothing is there to send: {text}");
}

#[test]
fn next_to_a_running_shipper_verify_reads_and_sends_nothing() {
    let place = Place::new();
    let mut command = place.ship(&["run"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    writeln!(stdin, "first").unwrap();
    until("the line is proved", || {
        let (code, text) = run(&place, &["verify"]);
        // There is nothing to verify before the state directory exists.
        assert!(code == 0 || code == 10 || text.contains("nothing to verify"), "{text}");
        (text.contains("a shipper is running") && text.contains("1 lines in 6 bytes")).then_some(())
    });
    for arguments in [
        &["verify", "--resend"][..],
        &["dead-letters", "replay", "--all"],
        &["dead-letters", "discard", "--all", "--yes"],
        &["spool", "repair"],
    ] {
        let (code, text) = run(&place, arguments);
        assert_eq!(code, 11, "{arguments:?}: {text}");
    }
    assert_eq!(run(&place, &["spool", "check"]).0, 0);
    assert_eq!(run(&place, &["dead-letters", "list"]), (0, "no dead letters\n".to_owned()));
    drop(stdin);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}

/// Dead letters as a shipper leaves them; the embedded store accepts what an engine rejected.
pub(crate) fn leave_dead_letters(state: &Path) -> Vec<LineId> {
    let generation = GenerationId::new(1_795_000_000_000, &[7; 10]);
    let ids: Vec<_> = (0..3).map(|place| LineId { generation, offset: place * 10 }).collect();
    fs::create_dir_all(state.join("dead-letters")).unwrap();
    let letter = |(place, id): (usize, &LineId)| {
        let origin = format!(
            r#"{{"host":"h","shipper":"s","stream":"o","generation":"{generation}","offset":{},"length":10}}"#,
            id.offset
        );
        let document = format!(
            r#"{{"timestamp":"2026-11-23T00:00:00.000Z","service":"s","level":"info","message":"letter {place}","request_id":null,"project_id":null,"origin":{origin}}}"#
        );
        format!(
            r#"{{"at":"2026-11-23T00:00:01.000000Z","id":"{id}","index":"app-logs-2026.11.23","status":40{place},"reason":"mapping\u001b[2J","attempts":1,"length":10,"document":{document}}}"#
        ) + "\n"
    };
    let text: String = ids.iter().enumerate().map(letter).collect();
    fs::write(state.join("dead-letters/00000000.ndjson"), text).unwrap();
    ids
}

#[test]
fn dead_letters_are_listed_shown_and_replayed_once() {
    let place = Place::new();
    let state = place.path("shipper-state");
    let ids = leave_dead_letters(&state);
    let (code, text) = run(&place, &["dead-letters", "list"]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");
    assert!(!text.contains('\u{1b}'), "a reason is no order to a terminal");
    let (_, text) = run(&place, &["dead-letters", "list", "--status", "401", "--json"]);
    let letter: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&letter["id"], &letter["length"]), (&ids[1].to_string().into(), &10.into()));
    let (code, text) = run(&place, &["dead-letters", "show", &ids[2].to_string()]);
    let letter: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &letter["document"]["message"]), (0, &"letter 2".into()));
    let none = format!("{}-ffffffffffff", ids[0].generation);
    assert_eq!(run(&place, &["dead-letters", "show", &none]).0, 2);
    assert_eq!(run(&place, &["dead-letters", "replay", &none]).0, 2);

    let (code, text) = run(&place, &["dead-letters", "replay", &ids[1].to_string()]);
    assert_eq!((code, text.as_str()), (0, "1 stored, 0 already stored, 0 rejected again\n"));
    // A replay killed before it could mark what it had sent.
    fs::remove_file(state.join("dead-letters/00000000.replayed")).unwrap();
    let (code, text) = run(&place, &["dead-letters", "replay", "--all"]);
    assert_eq!((code, text.as_str()), (0, "2 stored, 1 already stored, 0 rejected again\n"));
    assert_eq!(names(&state.join("dead-letters")), [""; 0]);
    assert_eq!(run(&place, &["dead-letters", "list"]).1, "no dead letters\n");
    let mut stored = place.stored();
    stored.sort();
    assert_eq!(stored, ["letter 0", "letter 1", "letter 2"]);
}

#[test]
fn discarding_dead_letters_needs_a_confirmation() {
    let place = Place::new();
    let state = place.path("shipper-state");
    let ids = leave_dead_letters(&state);
    let discard = |arguments: &[&str]| run(&place, &[&["dead-letters", "discard"], arguments].concat());
    for (arguments, says) in [
        (&[][..], "required"),
        (&["--yes"], "required"),
        (&["--all", "--status", "400", "--yes"], "cannot be used with"),
        (&[&ids[0].to_string(), "--all", "--yes"], "cannot be used with"),
        (&["--before", "yesterday", "--yes"], "expected a time such as"),
        (&[&format!("{}-ffffffffffff", ids[0].generation), "--yes"], "no dead letter has the id"),
        (&["--all"], "this would delete 3 dead letters permanently: confirm with --yes"),
    ] {
        let (code, text) = discard(arguments);
        assert!(code == 2 && text.contains(says), "{arguments:?}: {text}");
    }
    let listed =
        |arguments: &[&str]| run(&place, &[&["dead-letters", "list", "--json"], arguments].concat()).1.lines().count();
    assert_eq!((listed(&[]), names(&state.join("dead-letters")).len()), (3, 1));

    // None was rejected before that day, all before the next.
    assert_eq!(discard(&["--before", "2026-11-23T00:00:00Z", "--yes"]), (0, "no dead letters\n".to_owned()));
    assert_eq!((listed(&["--before", "2026-11-24T00:00:00Z"]), listed(&["--before", "2026-11-23T00:00:00Z"])), (3, 0));
    let printed = discard(&["--status", "401", "--before", "2026-11-24T00:00:00Z", "--yes"]);
    assert_eq!(printed, (0, "1 with status 401 for app-logs-2026.11.23\n1 discarded\n".to_owned()));
    assert_eq!(run(&place, &["dead-letters", "show", &ids[1].to_string()]).0, 2);
    assert_eq!(discard(&[&ids[1].to_string(), "--yes"]).0, 2, "it is none any more");
    let (code, text) = run(&place, &["dead-letters", "replay", &ids[0].to_string()]);
    assert_eq!((code, text.as_str()), (0, "1 stored, 0 already stored, 0 rejected again\n"));
    assert_eq!(
        discard(&["--all", "--yes"]),
        (0, "1 with status 402 for app-logs-2026.11.23\n1 discarded\n".to_owned())
    );
    assert_eq!(names(&state.join("dead-letters")), ["discarded.ndjson"]);
    assert_eq!(
        run(&place, &["dead-letters", "replay", "--all"]),
        (0, "0 stored, 0 already stored, 0 rejected again\n".to_owned())
    );
    assert_eq!(place.stored(), ["letter 0"]);
}

#[test]
fn damage_is_reported_and_moved_to_quarantine() {
    let place = Place::new();
    let state = place.path("shipper-state");
    ship_stdin(&place, "one\n");
    let (code, text) = run(&place, &["spool", "check"]);
    assert!(code == 0 && text.ends_with("no damage found\n"), "{text}");
    let journal = state.join("journal");
    let good = fs::read(&journal).unwrap();
    fs::write(&journal, [&good[..], b"00000000 {\"half"].concat()).unwrap();
    fs::write(state.join("spool/stdin/strange"), "x").unwrap();
    let (code, text) = run(&place, &["spool", "check"]);
    assert_eq!(code, 1, "{text}");
    let place_of = format!(
        "DAMAGED   {} at offset {}, 15 bytes: torn end",
        Path::new("shipper-state/journal").display(),
        good.len()
    );
    assert!(text.contains(&place_of) && text.contains("not a segment"), "{text}");
    let (code, text) = run(&place, &["spool", "repair"]);
    assert!(code == 0 && text.lines().count() == 2, "{text}");
    assert_eq!(fs::read(&journal).unwrap(), good);
    assert_eq!(names(&state.join("quarantine")).len(), 2);
    assert_eq!(run(&place, &["spool", "check"]).0, 0);
    assert_eq!(run(&place, &["spool", "repair"]), (0, "nothing is damaged\n".to_owned()));
    assert_eq!(report(&place, 0)["sums"]["stored_lines"], 1);
}

#[test]
fn a_missing_or_newer_state_directory_is_rejected_by_all_subcommands() {
    let place = Place::new();
    let all: [&[&str]; 6] = [
        &["verify"],
        &["dead-letters", "discard", "--all", "--yes"],
        &["dead-letters", "replay", "--all"],
        &["dead-letters", "list"],
        &["spool", "check"],
        &["spool", "repair"],
    ];
    for arguments in all {
        let (code, text) = run(&place, arguments);
        assert!(code == 10 && text.contains("shipper-state"), "{arguments:?}: {text}");
    }
    fs::create_dir(place.path("shipper-state")).unwrap();
    let json = r#"{"journal":{"version":99}}"#;
    let record = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    fs::write(place.path("shipper-state/journal"), &record).unwrap();
    for arguments in all.into_iter().chain([&["run"][..], &["dead-letters", "list", "--json"]]) {
        let (code, text) = run(&place, arguments);
        assert!(code == 10 && text.contains("version 99"), "{arguments:?}: {text}");
    }
    assert_eq!(fs::read_to_string(place.path("shipper-state/journal")).unwrap(), record, "it is left as it was");
}

#[test]
fn skipped_bytes_verify_nothing() {
    let place = Place::new();
    fs::write(place.path("a.log"), "history\n").unwrap();
    let from_end = ["run", "--file", "*.log", "--until-idle", "--read-from", "end"];
    assert_eq!(run(&place, &from_end).0, 0);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 1 && text.contains("nothing to verify") && text.contains("skipped"), "{text}");
    assert_eq!(report(&place, 1)["nothing_to_verify"], true);
    fs::write(place.path("a.log"), "history\nadded\n").unwrap();
    assert_eq!(run(&place, &from_end).0, 0);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 0 && text.contains("verified"), "{text}");
}

#[test]
fn an_unreadable_file_is_reported_and_others_are_verified() {
    let place = Place::new();
    fs::write(place.path("a.log"), "one\n").unwrap();
    fs::write(place.path("b.log"), "two\nthree\n").unwrap();
    ship_files(&place);
    fs::create_dir(place.path("aside")).unwrap();
    fs::rename(place.path("a.log"), place.path("aside/a.log")).unwrap();
    // Even root can't read a link to itself.
    std::os::unix::fs::symlink("a.log", place.path("a.log")).unwrap();
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 1 && text.contains("NOT VERIFIED") && text.contains("a.log can't be read: "), "{text}");
    assert!(text.contains("1 existing sources: 2 lines, 2 stored"), "{text}");
    let found = report(&place, 1);
    assert_eq!((&found["lines"]["stored"], &found["lines"]["unreadable"]["count"]), (&2.into(), &1.into()));
    assert_eq!(run(&place, &["verify", "--resend"]).0, 1, "nothing is proven by what was sent either");
    assert_eq!(run(&place, &["verify", "--sums-only"]).0, 0);
}
