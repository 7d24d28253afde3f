//! What a hostile hand, a bad disk or a wrong path makes of a state directory: named, refused or passed over by the real
//! program, and never taken for something else.

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
fn files_whose_names_are_not_utf8_are_read_once_and_told_apart() {
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
    // Renamed out of the patterns while nobody looked.
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
fn a_journal_damaged_in_its_middle_is_refused_and_repaired_without_loss() {
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
        let (code, said) = run(&place, arguments);
        let told = ["journal is damaged at byte ", "shipper spool repair"].iter().all(|words| said.contains(words));
        assert!(code == 10 && told && !said.contains("give another one"), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read(&journal).unwrap(), bytes, "it is left as it is");
    assert_eq!(sorted(place.stored()), ["one", "two"]);
    let line = at - 9;
    let (code, said) = run(&place, &["spool", "check"]);
    assert!(code == 1 && said.contains(&format!("journal at {line}, ")) && said.contains("damaged"), "{said}");
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
fn where_nothing_was_taken_nothing_is_proven() {
    let place = Place::new();
    let state = place.path("shipper-state");
    // Somebody's folder.
    fs::create_dir(&state).unwrap();
    fs::write(state.join("notes.txt"), "mine").unwrap();
    for arguments in [&["verify"][..], &["spool", "check"], &["spool", "repair"], &["dead-letters", "list"]] {
        let (code, said) = run(&place, arguments);
        assert!(code == 10 && said.contains("no shipper has used it"), "{arguments:?}: {said}");
    }
    assert_eq!(names(&state), ["notes.txt"], "nothing is left there");
    ship_stdin(&place, "");
    let (code, said) = run(&place, &["verify"]);
    assert!(code == 1 && said.contains("nothing to verify") && !said.contains("everything is there"), "{said}");
    let (code, said) = run(&place, &["verify", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["proven"], &report["nothing_to_verify"]), (1, &false.into(), &true.into()));
    ship_stdin(&place, "one\n");
    assert!(runs(&place, &["verify"]).contains("everything is there, once"));
}

/// Things that are none of the shipper's, in a folder.
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
fn what_is_not_the_spools_stops_nothing_and_is_named() {
    let place = Place::new();
    ship_stdin(&place, "one\n");
    let spool = place.path("shipper-state/spool");
    let mut strange = leave_strange_things(&spool, "strange-KIND");
    // As segments are named, and are not.
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
    assert!(runs(&place, &["verify"]).contains("everything is there, once"));
    assert_eq!(runs(&place, &["dead-letters", "list"]), "no dead letters\n");
    let (code, said) = run(&place, &["spool", "check", "--json"]);
    assert_eq!(code, 1, "{said}");
    let (code, said) = run(&place, &["spool", "check"]);
    assert_eq!(code, 1, "{said}");
    for name in &strange {
        assert!(said.contains(&format!("/{name} at 0")), "{name}: {said}");
    }
    runs(&place, &["spool", "repair"]);
    assert_eq!(names(&place.path("shipper-state/quarantine")).len(), strange.len());
    assert!(runs(&place, &["spool", "check"]).ends_with("sound\n"));
    ship_stdin(&place, "three\n");
    assert_eq!(place.stored(), ["one", "two", "three"]);
}

#[test]
fn what_is_left_of_discarded_letters_is_named_and_nothing_else_is_counted() {
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
            let (code, said) = run(&place, arguments);
            let told = said.contains("discarded.ndjson is damaged at ") && said.contains("shipper spool repair");
            assert!(code == 10 && told && !said.contains("give another one"), "{how}: {arguments:?}: {said}");
        }
        let (code, said) = run(&place, &["spool", "check"]);
        assert!(code == 1 && said.contains("discarded.ndjson at 0, "), "{how}: {said}");
        runs(&place, &["spool", "repair"]);
        assert_eq!(names(&state.join("quarantine")), ["dead-letters_discarded.ndjson.at-0.1"], "{how}");
        assert!(runs(&place, &["spool", "check"]).ends_with("sound\n"), "{how}");
        // They are letters again: nothing was thrown away.
        assert_eq!(runs(&place, &["dead-letters", "list", "--json"]).lines().count(), 3, "{how}");
    }
}

#[test]
fn a_source_whose_note_was_changed_is_said_to_be_left_out() {
    let place = Place::new();
    ship_stdin(&place, "one\n");
    ship_stdin(&place, "two\n");
    let path = place.path("shipper-state/past/00000000.log");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"end\":4", "\"end\":3", 1)).unwrap();
    let said = runs(&place, &["verify"]);
    assert!(
        said.contains("by sums   1 sources") && said.contains("1 notes of sources that are done can't be read"),
        "{said}"
    );
    assert_eq!(run(&place, &["spool", "check"]).0, 1);
    runs(&place, &["spool", "repair"]);
    assert!(!runs(&place, &["verify"]).contains("can't be read"));
}

#[test]
fn a_lock_file_that_was_removed_lets_no_second_shipper_in() {
    let place = Place::new();
    let mut command = place.ship(&["run"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    writeln!(stdin, "one").unwrap();
    until("it is at work", || place.path("shipper-state/journal").exists().then_some(()));
    fs::remove_file(place.path("shipper-state/lock")).unwrap();
    for arguments in [&["run"][..], &["spool", "repair"], &["verify", "--resend"]] {
        let (code, said) = run(&place, arguments);
        assert_eq!(code, 11, "{arguments:?}: {said}");
    }
    drop(stdin);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["one"]);
}

/// A command on a terminal, and what it writes there.
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
fn what_may_take_long_shows_how_far_it_is() {
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
