//! Malicious or accidental changes to a state directory: reported, rejected or ignored, and never misinterpreted.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use store::GenerationId;

use crate::program::{Place, names, run, ship_stdin, start, until};
use crate::proof::leave_dead_letters;

#[track_caller]
fn runs(place: &Place, arguments: &[&str]) -> String {
    let (code, text) = run(place, arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn files_with_names_that_are_not_utf8_are_read_once_and_distinguished() {
    let place = Place::new();
    let folder = place.folder.path().join(OsStr::from_bytes(b"d\xe9"));
    fs::create_dir(&folder).unwrap();
    let [acute, grave] = [b"caf\xe9.log", b"caf\xe8.log"].map(|name| folder.join(OsStr::from_bytes(name)));
    append(&acute, "one, of the first file\n");
    append(&grave, "two, of the second\n");
    let ship = ["run", "--file", "d*/*.log", "--until-idle"];
    runs(&place, &ship);
    append(&acute, "three\n");
    append(&grave, "four\n");
    runs(&place, &ship);
    // Renamed so that no pattern matches, while no shipper ran.
    append(&acute, "five\n");
    fs::rename(&acute, folder.join(OsStr::from_bytes(b"caf\xe9.old"))).unwrap();
    runs(&place, &["run", "--file", "**/*.log", "--until-idle"]);
    let expected = ["five", "four", "one, of the first file", "three", "two, of the second"];
    assert_eq!(sorted(place.stored()), expected, "each once");
    let exported = runs(&place, &["export", "sqlite:logs.db", "--with-origin"]);
    for name in
        [r#""file":"d\\xE9/caf\\xE9.log""#, r#""file":"d\\xE9/caf\\xE8.log""#, r#""file":"d\\xE9/caf\\xE9.old""#]
    {
        assert!(exported.contains(name), "{name}: {exported}");
    }
    let report: Value = serde_json::from_str(&runs(&place, &["verify", "--json"])).unwrap();
    assert_eq!((&report["lines"]["sources"], &report["lines"]["stored"]), (&2.into(), &5.into()), "{report:#}");
    assert_eq!(runs(&place, &["dead-letters", "list"]), "no dead letters\n");
    assert!(runs(&place, &["spool", "check"]).contains("files     2 followed"));
}

#[test]
fn a_journal_damaged_in_the_middle_is_rejected_and_repaired_without_loss() {
    let place = Place::new();
    append(&place.path("a.log"), "one\n");
    append(&place.path("b.log"), "two\n");
    let ship = ["run", "--file", "*.log", "--until-idle"];
    runs(&place, &ship);
    let journal = place.path("shipper-state/journal");
    let text = fs::read_to_string(&journal).unwrap();
    let at = text.find(r#"{"checkpoint""#).unwrap();
    assert!(text[at..].lines().count() > 1, "records stand behind it: {text}");
    let mut bytes = text.clone().into_bytes();
    bytes[at + 30] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    append(&place.path("a.log"), "three\n");
    for arguments in [&ship[..], &["verify"], &["verify", "--resend"]] {
        let (code, printed) = run(&place, arguments);
        let reported =
            ["journal is damaged at offset ", "shipper spool repair"].iter().all(|words| printed.contains(words));
        assert!(code == 10 && reported && !printed.contains("set another one"), "{arguments:?}: {printed}");
    }
    assert_eq!(fs::read(&journal).unwrap(), bytes, "it is unchanged");
    assert_eq!(sorted(place.stored()), ["one", "two"]);
    let line = at - 9;
    let (code, printed) = run(&place, &["spool", "check"]);
    assert!(
        code == 1 && printed.contains(&format!("journal at offset {line}, ")) && printed.contains("damaged"),
        "{printed}"
    );
    runs(&place, &["spool", "repair"]);
    let line = text[line..].lines().next().unwrap().len() + 1;
    let kept = names(&place.path("shipper-state/quarantine"));
    let kept = fs::read(place.path("shipper-state/quarantine").join(&kept[0])).unwrap();
    assert_eq!(kept, &bytes[at - 9..at - 9 + line], "what was taken out is kept");
    runs(&place, &ship);
    assert_eq!(sorted(place.stored()), ["one", "three", "two"], "each once");
    runs(&place, &["verify"]);
}

#[test]
fn without_accepted_lines_nothing_is_verified() {
    let place = Place::new();
    let state = place.path("shipper-state");
    // An unrelated folder.
    fs::create_dir(&state).unwrap();
    fs::write(state.join("notes.txt"), "mine").unwrap();
    for arguments in [&["verify"][..], &["spool", "check"], &["spool", "repair"], &["dead-letters", "list"]] {
        let (code, printed) = run(&place, arguments);
        assert!(code == 10 && printed.contains("it is not a state directory of a shipper"), "{arguments:?}: {printed}");
    }
    assert_eq!(names(&state), ["notes.txt"], "nothing is left there");
    ship_stdin(&place, "");
    let (code, printed) = run(&place, &["verify"]);
    assert!(
        code == 1 && printed.contains("nothing to verify") && !printed.contains("every line is stored"),
        "{printed}"
    );
    let (code, printed) = run(&place, &["verify", "--json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &report["verified"], &report["nothing_to_verify"]), (1, &false.into(), &true.into()));
    ship_stdin(&place, "one\n");
    assert!(runs(&place, &["verify"]).contains("every line is stored exactly once"));
}

/// Creates unrelated entries in a folder.
fn leave_strange_things(folder: &Path, name: &str) -> Vec<String> {
    let made = |kind: &str| folder.join(name.replace("KIND", kind));
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    symlink("/nowhere/at/all", made("1")).unwrap();
    mknodat(CWD, made("2"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"caf\xe9")), "mine").unwrap();
    let names = [made("1"), made("2"), folder.join("notes.txt"), folder.join("caf\\xE9")];
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).to_vec()
}

#[test]
fn unknown_entries_in_the_spool_are_ignored_and_reported() {
    let place = Place::new();
    ship_stdin(&place, "one\n");
    let spool = place.path("shipper-state/spool");
    let mut strange = leave_strange_things(&spool, "strange-KIND");
    // Valid and invalid names of segments.
    let generation = GenerationId::new(1_700_000_000_000, &[7; 10]).to_string();
    let like = format!("{}KIND.log", &generation[..generation.len() - 1]);
    strange.extend(leave_strange_things(&spool.join("stdin"), &like));
    fs::create_dir(spool.join("stdin").join(like.replace("KIND", "3"))).unwrap();
    strange.push(like.replace("KIND", "3"));
    for (name, folder) in [("7.ndjson", "dead-letters"), ("7.log", "past")] {
        fs::write(place.path("shipper-state").join(folder).join(name), "mine\n").unwrap();
    }

    ship_stdin(&place, "two\n");
    assert_eq!(place.stored(), ["one", "two"]);
    assert!(runs(&place, &["verify"]).contains("every line is stored exactly once"));
    assert_eq!(runs(&place, &["dead-letters", "list"]), "no dead letters\n");
    let (code, printed) = run(&place, &["spool", "check", "--json"]);
    assert_eq!(code, 1, "{printed}");
    let (code, printed) = run(&place, &["spool", "check"]);
    assert_eq!(code, 1, "{printed}");
    for name in &strange {
        assert!(printed.contains(&format!("/{name} at offset 0")), "{name}: {printed}");
    }
    runs(&place, &["spool", "repair"]);
    assert_eq!(names(&place.path("shipper-state/quarantine")).len(), strange.len());
    assert!(runs(&place, &["spool", "check"]).ends_with("no damage found\n"));
    ship_stdin(&place, "three\n");
    assert_eq!(place.stored(), ["one", "two", "three"]);
}

#[test]
fn damage_in_discarded_letters_is_reported_and_does_not_count() {
    for (how, harm) in [
        ("torn", (|text: &str| text[..text.len() - 9].to_owned()) as fn(&str) -> String),
        ("edited", |text: &str| text.replace(",10]", ",99]")),
        ("more", |text: &str| text.replace("\"lines\":[", "\"lines\":[[20,10],")),
    ] {
        let place = Place::new();
        let state = place.path("shipper-state");
        let ids = leave_dead_letters(&state);
        for id in &ids[..2] {
            runs(&place, &["dead-letters", "discard", &id.to_string(), "--yes"]);
        }
        let path = state.join("dead-letters/discarded.ndjson");
        let good = fs::read_to_string(&path).unwrap();
        let bad = harm(&good);
        assert_ne!(good, bad, "{how}");
        fs::write(&path, &bad).unwrap();
        let all: [&[&str]; 5] = [
            &["dead-letters", "list"],
            &["dead-letters", "show", &ids[2].to_string()],
            &["dead-letters", "discard", "--all", "--yes"],
            &["verify"],
            &["run"],
        ];
        for arguments in all {
            let (code, printed) = run(&place, arguments);
            let reported =
                printed.contains("discarded.ndjson is damaged at ") && printed.contains("shipper spool repair");
            assert!(code == 10 && reported && !printed.contains("set another one"), "{how}: {arguments:?}: {printed}");
        }
        let (code, printed) = run(&place, &["spool", "check"]);
        assert!(code == 1 && printed.contains("discarded.ndjson at offset 0, "), "{how}: {printed}");
        runs(&place, &["spool", "repair"]);
        assert_eq!(names(&state.join("quarantine")), ["dead-letters_discarded.ndjson.at-0.1"], "{how}");
        assert!(runs(&place, &["spool", "check"]).ends_with("no damage found\n"), "{how}");
        // They are letters again: nothing was deleted.
        assert_eq!(runs(&place, &["dead-letters", "list", "--json"]).lines().count(), 3, "{how}");
    }
}

#[test]
fn a_modified_note_is_reported_and_its_source_ignored() {
    let place = Place::new();
    ship_stdin(&place, "one\n");
    ship_stdin(&place, "two\n");
    let path = place.path("shipper-state/past/00000000.log");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"end\":4", "\"end\":3", 1)).unwrap();
    let printed = runs(&place, &["verify"]);
    assert!(
        printed.contains("by sums   1 sources") && printed.contains("1 notes of completed sources are damaged"),
        "{printed}"
    );
    assert_eq!(run(&place, &["spool", "check"]).0, 1);
    runs(&place, &["spool", "repair"]);
    assert!(!runs(&place, &["verify"]).contains("can't be read"));
}

#[test]
fn removing_the_lock_file_does_not_admit_a_second_shipper() {
    let place = Place::new();
    let mut command = place.ship(&["run"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    writeln!(stdin, "one").unwrap();
    until("it is at work", || place.path("shipper-state/journal").exists().then_some(()));
    fs::remove_file(place.path("shipper-state/lock")).unwrap();
    for arguments in [&["run"][..], &["spool", "repair"], &["verify", "--resend"]] {
        let (code, printed) = run(&place, arguments);
        assert_eq!(code, 11, "{arguments:?}: {printed}");
    }
    drop(stdin);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["one"]);
}

/// Runs a command on a terminal, and returns its output.
#[track_caller]
fn on_a_terminal(place: &Place, arguments: &str) -> String {
    let mut command = Command::new("script");
    let shipper = env!("CARGO_BIN_EXE_shipper");
    command.args(["-qec", &format!("{shipper} {arguments}"), "/dev/null"]).env_clear().current_dir(&place.folder);
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm").env("SHIPPER_TO", "sqlite:logs.db");
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn long_operations_show_progress() {
    let place = Place::new();
    append(&place.path("a.log"), "one\ntwo\n");
    runs(&place, &["run", "--file", "*.log", "--until-idle"]);
    let ids = leave_dead_letters(&place.path("shipper-state"));
    let discard = format!("dead-letters discard {} --yes", ids[0]);
    for (arguments, bars) in [
        ("verify", &["by sums [", "by lines ["][..]),
        ("verify --resend", &["by sums [", "by lines ["]),
        (&discard, &["discard ["]),
        ("dead-letters replay --all", &["replay ["]),
        ("spool check", &["check ["]),
        ("spool repair", &["check ["]),
        ("export sqlite:logs.db >out", &["export ["]),
    ] {
        let shown = on_a_terminal(&place, arguments);
        for bar in bars {
            assert!(shown.contains(bar), "{arguments}: {shown}");
        }
    }
    assert!(!on_a_terminal(&place, "export sqlite:logs.db").contains("export ["), "the lines go there");
}
