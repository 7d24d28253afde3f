//! What was shipped comes back out of an embedded store as it was.

use std::io::Write as _;

use crate::program::Place;

const LINES: u32 = 3_000;

fn line(number: u32) -> String {
    let level = if number.is_multiple_of(10) { "error" } else { "info" };
    // With spaces, escapes and digits that a parser would not keep.
    format!(
        r#"{{ "timestamp":"2026-11-23T18:{:02}:{:02}.000Z","service":"s","level":"{level}","message":"caf\u00e9 {number}","request_id":null,"project_id":null,"exact":1.10 }}"#,
        number / 60 % 60,
        number % 60,
    )
}

#[test]
fn an_export_is_what_was_shipped_byte_for_byte() {
    let place = Place::new();
    let mut file = std::fs::File::create(place.path("in.log")).unwrap();
    let lines: Vec<_> = (0..LINES).map(line).collect();
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = place.ship(&["run", "--file", "in.log", "--until-idle"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let export = |arguments: &[&str]| {
        let output = place.shipper(&[&["export", "sqlite:logs.db"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(export(&[]) == lines.join("\n") + "\n");
    let errors: Vec<_> =
        export(&["--query", "level:error", "--since", "2026-11-23T18:30:00Z"]).lines().map(str::to_owned).collect();
    let expected: Vec<_> =
        (0..LINES).filter(|number| number.is_multiple_of(10) && number / 60 % 60 >= 30).map(line).collect();
    assert_eq!(errors, expected);
    let with_origin = export(&["--with-origin", "--query", "café 7"]);
    assert!(with_origin.lines().count() == 1 && with_origin.contains(r#","origin":{"host":"#), "{with_origin}");
}

#[test]
fn what_can_not_be_exported_is_refused_with_advice() {
    let place = Place::new();
    for (arguments, advice) in [
        (&["http://127.0.0.1:9"][..], "only an embedded store"),
        (&["sqlite:logs.db", "--query", "level:("], "--query"),
        (&["sqlite:logs.db", "--since", "yesterday"], "2026-11-23T18:00:00Z"),
    ] {
        let output = place.shipper(&[&["export"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(advice), "{stderr}");
    }
}
