//! Validates log records against the schema of the contract.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder of the contracts.
pub fn contracts() -> PathBuf {
    repository().join("specs/003-improve-observability-prometheus/contracts")
}

static LOG_RECORD: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let path = contracts().join("log-record.schema.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    jsonschema::options().should_validate_formats(true).build(&serde_json::from_str(&text).unwrap()).unwrap()
});

/// The violations of the log record's schema in a line.
pub fn log_record_errors(line: &Value) -> Vec<String> {
    LOG_RECORD.iter_errors(line).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Panics if a line violates the log record's schema.
#[track_caller]
pub fn assert_log_record(line: &Value) {
    let errors = log_record_errors(line);
    assert!(errors.is_empty(), "{errors:#?}\n{line}");
}
