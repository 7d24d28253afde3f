//! Files that are generated from this crate's tables. `make generate` writes them, and `make check` compares them.
//!
//! - `infra/elasticsearch/normalise.painless` contains the tables of [`crate::normalise::table`];
//! - `infra/elasticsearch/ingest-pipeline.json` contains that script;
//! - `infra/elasticsearch/index-template.json` maps the searchable fields;
//! - `docs/search.md` lists them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::level::Level;
use crate::normalise::table::{
    GELF_VERSIONS, INSTANT_KEYS, LEVEL_KEYS, MESSAGE_KEYS, PROJECT_ID_KEYS, REQUEST_ID_KEYS, SEVERITY_NUMBER_KEYS,
    SPELLINGS, SYSLOG, SYSLOG_KEYS, TIME_KEYS, scalar_fields,
};
use crate::query::{Field, NumberField};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Replaces what is between two texts, each of which occurs once.
fn replace_between(text: &str, begin: &str, end: &str, content: &str) -> String {
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is missing"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{end:?} is missing"));
    [before, begin, content, end, after].concat()
}

/// Writes a generated file with `GENERATE=1`, and compares it otherwise.
fn check(path: &str, generated: &str) {
    if std::env::var_os("GENERATE").is_some() {
        std::fs::write(root().join(path), generated).unwrap();
    } else {
        assert_eq!(read(path), generated, "{path} is out of date: run `make generate`");
    }
}

fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn tables() -> String {
    let mut text = String::new();
    for (name, keys) in [
        ("time_keys", &TIME_KEYS[..]),
        ("instant_keys", &INSTANT_KEYS),
        ("request_id_keys", &REQUEST_ID_KEYS),
        ("project_id_keys", &PROJECT_ID_KEYS),
        ("level_keys", &LEVEL_KEYS),
        ("severity_number_keys", &SEVERITY_NUMBER_KEYS),
        ("message_keys", &MESSAGE_KEYS),
        ("syslog_levels", &SYSLOG.map(Level::as_str)),
        ("syslog_keys", &SYSLOG_KEYS),
        ("gelf_versions", &GELF_VERSIONS),
    ] {
        writeln!(text, "List {name}() {{ return {}; }}", list(keys.iter().copied())).unwrap();
    }
    writeln!(text, "List scalar_fields() {{ return {}; }}", list(scalar_fields())).unwrap();
    text.push_str("String spelled_level(String name) {\n");
    for (level, spellings) in SPELLINGS {
        writeln!(text, "  if ({}.contains(name)) {{ return '{level}'; }}", list(spellings.iter().copied())).unwrap();
    }
    text + "  return null;\n}\n"
}

fn script() -> String {
    let begin = "// Generated from shipper/store/src/normalise/table.rs by `make generate`.\n";
    replace_between(
        &read("infra/elasticsearch/normalise.painless"),
        begin,
        "// End of the generated tables.\n",
        &tables(),
    )
}

#[test]
fn the_script_contains_the_tables() {
    check("infra/elasticsearch/normalise.painless", &script());
}

#[test]
fn the_pipeline_contains_the_script() {
    const PATH: &str = "infra/elasticsearch/ingest-pipeline.json";
    let pipeline = read(PATH);
    let parsed: Value = serde_json::from_str(&pipeline).unwrap();
    let old = parsed["processors"][0]["script"]["source"].to_string();
    check(PATH, &pipeline.replacen(&old, &Value::from(script()).to_string(), 1));
}

/// Returns the mapping of a field, without a comma.
fn mapping(field: Field, indent: &str) -> String {
    format!(r#"{indent}"{}": {{ "type": "keyword", "ignore_above": {} }}"#, field.name(), field.max_units())
}

#[test]
fn the_template_maps_the_fields() {
    const PATH: &str = "infra/elasticsearch/index-template.json";
    let (sub, top): (Vec<_>, Vec<_>) = Field::ALL.into_iter().partition(|field| field.path().starts_with("origin."));
    let mut top: Vec<_> = top.into_iter().map(|field| mapping(field, "        ")).collect();
    for field in NumberField::ALL {
        let mapping_type = field.mapping_type();
        top.push(format!(r#"        "{}": {{ "type": "{mapping_type}", "ignore_malformed": true }}"#, field.name()));
    }
    let template = read(PATH);
    let (begin, end) = ("        \"message\": { \"type\": \"text\" },\n", ",\n        \"event\": {");
    let template = replace_between(&template, begin, end, &top.join(",\n"));
    let (begin, end) = ("            \"cut_bytes\": { \"type\": \"long\" },\n", "\n          }\n");
    let sub: Vec<_> = sub.into_iter().map(|field| mapping(field, "            ")).collect();
    check(PATH, &replace_between(&template, begin, end, &sub.join(",\n")));
}

#[test]
fn the_documentation_lists_the_fields() {
    const PATH: &str = "docs/search.md";
    let mut rows = String::from("| field | in a document | value |\n| --- | --- | --- |\n");
    for field in Field::ALL {
        writeln!(rows, "| `{field}` | `{}` | {} |", field.path(), field.description()).unwrap();
    }
    for field in NumberField::ALL {
        writeln!(rows, "| `{field}` | `{field}` | {} |", field.description()).unwrap();
    }
    let (begin, end) = ("<!-- fields: generated by `make generate` -->\n\n", "\n<!-- end of the fields -->");
    check(PATH, &replace_between(&read(PATH), begin, end, &rows));
}
