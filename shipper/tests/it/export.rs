//! Exports of an embedded store return what was shipped.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::program::{Place, run};

const LINES: u32 = 3_000;

type Step<'a> = &'a dyn Fn(&Place);

fn line(number: u32) -> String {
    let level = if number.is_multiple_of(10) { "error" } else { "info" };
    // With spaces, escapes and digits that a parser would not preserve.
    format!(
        r#"{{ "timestamp":"2026-11-23T18:{:02}:{:02}.000Z","service":"s","level":"{level}","message":"caf\u00e9 {number}","request_id":null,"project_id":null,"exact":1.10 }}"#,
        number / 60 % 60,
        number % 60,
    )
}

#[test]
fn an_export_equals_the_input_byte_for_byte() {
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
fn invalid_exports_are_rejected_with_advice() {
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

#[test]
fn an_export_of_a_file_that_is_replaced_midway_fails() {
    let place = Place::new();
    // More than one page.
    let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(10_000));
    std::fs::write(place.path("in.log"), line.repeat(1_500)).unwrap();
    std::fs::write(place.path("other.log"), "{\"message\":\"another\"}\n").unwrap();
    for (file, store, state) in
        [("in.log", "sqlite:whole.db", "state"), ("other.log", "sqlite:other.db", "other-state")]
    {
        let ship = ["run", "--to", store, "--state-dir", state, "--file", file, "--until-idle"];
        let (code, text) = run(&place, &ship);
        assert_eq!(code, 0, "{text}");
    }
    let remove = |place: &Place| std::fs::remove_file(place.path("logs.db")).unwrap();
    let steps: [(&str, Step<'_>); 4] = [
        ("another store is there", &|place| {
            remove(place);
            std::fs::copy(place.path("other.db"), place.path("logs.db")).unwrap();
        }),
        ("an empty file is there", &|place| {
            remove(place);
            std::fs::write(place.path("logs.db"), "").unwrap();
        }),
        ("it is emptied", &|place| std::fs::write(place.path("logs.db"), "").unwrap()),
        ("it is deleted", &|place| remove(place)),
    ];
    for (what, step) in steps {
        std::fs::copy(place.path("whole.db"), place.path("logs.db")).unwrap();
        let mut command = place.shipper(&["export", "sqlite:logs.db"]);
        let mut export = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It is blocked in its first page until its output is read.
        export.stdout.as_mut().unwrap().read_exact(&mut [0; 1_000]).unwrap();
        step(&place);
        let output = export.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code().is_some_and(|code| code != 0) && error.contains("the store"),
            "{what}: {output:?}"
        );
        for file in ["logs.db", "logs.db-wal", "logs.db-shm"] {
            let _ = std::fs::remove_file(place.path(file));
        }
    }
}
