//! Lines in other encodings with the real program: files across a kill and a restart, standard input and `exec`, and
//! `verify`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Place, run, start, until};

fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn shift_jis(text: &str) -> Vec<u8> {
    encoding_rs::SHIFT_JIS.encode(text).0.into_owned()
}

fn append(place: &Place, name: &str, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(place.path(name)).unwrap();
    file.write_all(bytes).unwrap();
}

/// The messages in the store, once there are `count`.
#[track_caller]
fn messages(place: &Place, count: usize) -> BTreeSet<String> {
    let stored = || place.path("logs.db").exists().then(|| place.stored());
    let stored = until("the lines", || stored().filter(|stored| stored.len() >= count));
    assert_eq!(stored.len(), count, "{stored:?}");
    stored.into_iter().collect()
}

#[track_caller]
fn verified(place: &Place, options: &[&str]) -> Value {
    let (code, text) = run(place, &[&["verify", "--json"], options].concat());
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The documents with `origin`, oldest first.
#[track_caller]
fn exported(place: &Place) -> Vec<Value> {
    let (code, text) = run(place, &["export", "sqlite:logs.db", "--with-origin"]);
    assert_eq!(code, 0, "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn files_are_decoded_across_a_kill_and_a_restart() {
    let place = Place::new();
    let options = ["--file", "*.log", "--encoding", "Shift_JIS"];
    let record = |message: &str| format!("{{\"message\":\"{message}\"}}\n");
    append(&place, "a.log", &shift_jis(&(record("日本") + "ソース\n半")));
    // A byte order mark takes precedence over the setting.
    append(&place, "utf8.log", "\u{feff}über\n".as_bytes());
    append(&place, "utf16.log", &utf16le("\u{feff}ਊ\n"));
    let mut shipper = start(&place, place.ship(&[&["run"], &options[..]].concat()));
    let first = messages(&place, 4);
    assert_eq!(first, BTreeSet::from(["日本", "ソース", "über", "ਊ"].map(str::to_owned)));
    shipper.kill();

    append(&place, "a.log", &shift_jis("分\n終\n"));
    append(&place, "a.log", b"a\xfd\x81\n");
    append(&place, "utf16.log", &utf16le("two\n"));
    let (code, text) = run(&place, &[&["run", "--until-idle"], &options[..]].concat());
    assert_eq!(code, 0, "{text}");
    let all = messages(&place, 8);
    assert!(["半分", "終", "two"].iter().all(|text| all.contains(*text)), "{all:?}");
    let report = verified(&place, &options);
    assert_eq!((&report["lines"]["stored"], &report["lines"]["sources"]), (&8.into(), &3.into()), "{report:#}");

    let documents = exported(&place);
    let bad: Vec<_> = documents.iter().filter(|line| line["message"].as_str().unwrap().contains('\u{fffd}')).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0]["origin"]["changed"].to_string().contains("undecodable_bytes"), "{}", bad[0]);
    // Offsets and lengths are those of the file.
    let mut places: Vec<_> = documents
        .iter()
        .filter(|line| line["origin"]["file"].as_str().unwrap().ends_with("a.log"))
        .map(|line| (line["origin"]["offset"].as_u64().unwrap(), line["origin"]["length"].as_u64().unwrap()))
        .collect();
    places.sort_unstable();
    let end = places.into_iter().fold(0, |end, (offset, length)| {
        assert_eq!(offset, end);
        offset + length
    });
    assert_eq!(end, fs::metadata(place.path("a.log")).unwrap().len());
}

#[test]
fn configured_utf_16_needs_no_byte_order_mark() {
    for from in ["beginning", "end"] {
        let place = Place::new();
        let options = ["--file", "*.log", "--encoding=utf-16le", "--read-from", from];
        let ship = || {
            let (code, text) = run(&place, &[&["run", "--until-idle"], &options[..]].concat());
            assert_eq!(code, 0, "{text}");
        };
        let earlier = ["one", "ਁ"];
        append(&place, "a.log", &utf16le("one\nਁ\n"));
        ship();
        // An incomplete line with a newline byte that is not a newline.
        append(&place, "a.log", &utf16le("two\nਊ open"));
        ship();
        append(&place, "a.log", &utf16le("\n三\n"));
        ship();
        let skipped = if from == "end" { earlier.len() } else { 0 };
        let expected = ["one", "ਁ", "two", "ਊ open", "", "三"].map(str::to_owned);
        assert_eq!(messages(&place, 6 - skipped), expected[skipped..].iter().cloned().collect());
        if skipped == 0 {
            verified(&place, &options);
        }
    }
}

#[test]
fn streams_are_decoded() {
    let latin = b"caf\xe9\nend\x81\x8d".to_vec();
    let cases: [(&str, Vec<u8>, &[&str]); 4] = [
        ("windows-1252", latin, &["café", "end\u{81}\u{8d}"]),
        ("utf-16le", utf16le("ਊ\nb\n"), &["ਊ", "b"]),
        ("utf-8", utf16le("\u{feff}ä\nb\n"), &["ä", "b"]),
        ("gbk", b"\xd6\xd0\n\xff\xce\xc4\n".to_vec(), &["中", "\u{fffd}文"]),
    ];
    for (label, bytes, texts) in cases {
        for is_exec in [false, true] {
            let place = Place::new();
            fs::write(place.path("input"), &bytes).unwrap();
            let command: &[&str] = if is_exec { &["exec", "--encoding", label, "--", "cat"] } else { &["run"] };
            let mut command = place.ship(command);
            command.env("SHIPPER_ENCODING", label).stdin(fs::File::open(place.path("input")).unwrap());
            let mut shipper = start(&place, command);
            assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
            assert_eq!(messages(&place, texts.len()), texts.iter().map(|text| (*text).to_owned()).collect(), "{label}");
            verified(&place, &["--encoding", label]);
        }
    }
}

#[test]
fn the_spool_is_shipped_after_a_restart_with_another_encoding() {
    let place = Place::new();
    let mut command = place.shipper(&["run", "--encoding=shift_jis", "--shutdown-timeout-ms=0"]);
    command.env("SHIPPER_TO", "http://127.0.0.1:9").stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    shipper.stdin().write_all(&shift_jis("日本\n")).unwrap();
    let code = shipper.code();
    assert_ne!(code, 0, "nothing can be stored: {}", shipper.stderr());
    let (code, text) = run(&place, &["run", "--encoding=windows-1252"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(messages(&place, 1), BTreeSet::from(["日本".to_owned()]));
}
