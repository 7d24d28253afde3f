//! Keys and spellings of other loggers: the one table for both normalisers.
//!
//! The ingest pipeline's script contains the same lists, generated from these. A test compares them; `WRITE_PIPELINE=1
//! cargo test -p store --lib the_pipeline_contains_these_tables` writes them.

use crate::level::Level;

/// Keys of a document's time; the first parseable value is used. The first two are the names of the contract and of
/// engines.
pub const TIME_KEYS: [&str; 15] = [
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "@t",
    "Timestamp",
    "asctime",
    "datetime",
    "eventTime",
    "event_time",
    "timeMillis",
    "timeUnixNano",
    "_SOURCE_REALTIME_TIMESTAMP",
    "__REALTIME_TIMESTAMP",
    "instant",
];

/// Members of an object that is a time, as in Log4j 2's `instant`: seconds since the epoch, and additional nanoseconds.
pub(crate) const INSTANT_KEYS: [&str; 2] = ["epochSecond", "nanoOfSecond"];

/// Keys of ids in GELF, used if the contract's key has no usable value.
pub(crate) const REQUEST_ID_KEYS: [&str; 1] = ["_request_id"];
pub(crate) const PROJECT_ID_KEYS: [&str; 1] = ["_project_id"];

/// Keys of a level; the first parseable value is used. `level` in an object at `log` is checked last.
pub(crate) const LEVEL_KEYS: [&str; 17] = [
    "level",
    "log.level",
    "severity",
    "severity_text",
    "severityText",
    "SeverityText",
    "levelname",
    "level_name",
    "log_level",
    "loglevel",
    "lvl",
    "Level",
    "LEVEL",
    "LogLevel",
    "Severity",
    "@l",
    "PRIORITY",
];

/// Keys of OpenTelemetry's severity numbers: 1 to 24, four for each level.
pub(crate) const SEVERITY_NUMBER_KEYS: [&str; 3] = ["severity_number", "severityNumber", "SeverityNumber"];

/// Keys of a message, used if neither `message` nor `msg` nor a tracing event's fields contain one. Only strings are
/// used.
pub(crate) const MESSAGE_KEYS: [&str; 12] = [
    "short_message",
    "MESSAGE",
    "@m",
    "@mt",
    "Message",
    "RenderedMessage",
    "MessageTemplate",
    "log",
    "body",
    "Body",
    "textPayload",
    "event",
];

/// Spellings of each level, in lower case.
pub(crate) const SPELLINGS: [(Level, &[&str]); 5] = [
    (Level::Trace, &["trace", "trc", "trce", "verbose", "verb", "vrb", "finest", "finer", "silly", "v", "t"]),
    (Level::Debug, &["debug", "dbg", "dbug", "fine", "config", "d"]),
    (Level::Info, &["info", "inf", "information", "informational", "notice", "note", "success", "default", "i", "n"]),
    (Level::Warn, &["warn", "wrn", "warning", "w"]),
    (
        Level::Error,
        &[
            "error",
            "err",
            "eror",
            "fail",
            "severe",
            "critical",
            "crit",
            "crt",
            "fatal",
            "ftl",
            "alert",
            "emerg",
            "emergency",
            "panic",
            "pnc",
            "dpanic",
            "e",
            "c",
            "f",
        ],
    ),
];

/// Levels of syslog's severities 0 to 7.
pub(crate) const SYSLOG: [Level; 8] =
    [Level::Error, Level::Error, Level::Error, Level::Error, Level::Warn, Level::Info, Level::Info, Level::Debug];

/// Keys that mark small numbers as syslog severities. GELF does as well, but is detected differently.
pub(crate) const SYSLOG_KEYS: [&str; 2] = ["PRIORITY", "SYSLOG_IDENTIFIER"];

/// Versions of GELF.
pub(crate) const GELF_VERSIONS: [&str; 2] = ["1.0", "1.1"];

/// Fields that hold a scalar, so that there can be no field below them, such as `service.version`.
pub(crate) const SCALAR_FIELDS: [&str; 15] = [
    "timestamp",
    "@timestamp",
    "service",
    "level",
    "message",
    "request_id",
    "project_id",
    "trace_id",
    "span_id",
    "target",
    "method",
    "endpoint",
    "outcome",
    "status",
    "duration_ms",
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    const BEGIN: &str = "// From shipper/store/src/normalise/table.rs, which says how to write them: the tables.\n";
    const END: &str = "// The end of the tables.\n";

    fn list(texts: &[&str]) -> String {
        let quoted: Vec<_> = texts.iter().map(|text| format!("'{text}'")).collect();
        format!("[{}]", quoted.join(", "))
    }

    fn tables() -> String {
        let mut text = BEGIN.to_owned();
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
            ("values", &SCALAR_FIELDS),
        ] {
            writeln!(text, "List {name}() {{ return {}; }}", list(keys)).unwrap();
        }
        text.push_str("String spelled_level(String name) {\n");
        for (level, spellings) in SPELLINGS {
            writeln!(text, "  if ({}.contains(name)) {{ return '{level}'; }}", list(spellings)).unwrap();
        }
        text + "  return null;\n}\n" + END
    }

    /// Replaces the tables in the script.
    fn with_tables(script: &str) -> String {
        let (before, rest) = script.split_once(BEGIN).expect("the tables have a beginning");
        let (_, after) = rest.split_once(END).expect("the tables have an end");
        [before, &tables(), after].concat()
    }

    #[test]
    fn the_pipeline_contains_these_tables() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/elasticsearch");
        let (script_path, pipeline_path) = (folder.join("normalise.painless"), folder.join("ingest-pipeline.json"));
        let script = std::fs::read_to_string(&script_path).unwrap();
        let pipeline = std::fs::read_to_string(&pipeline_path).unwrap();
        let wanted = with_tables(&script);
        let source = |pipeline: &str| {
            let pipeline: Value = serde_json::from_str(pipeline).unwrap();
            pipeline["processors"][0]["script"]["source"].as_str().unwrap().to_owned()
        };
        if std::env::var_os("WRITE_PIPELINE").is_some() {
            let old = serde_json::to_string(&source(&pipeline)).unwrap();
            let new = serde_json::to_string(&wanted).unwrap();
            std::fs::write(&script_path, &wanted).unwrap();
            std::fs::write(&pipeline_path, pipeline.replacen(&old, &new, 1)).unwrap();
            return;
        }
        assert_eq!(script, wanted, "the script's tables are not these; see the module's comment");
        assert_eq!(source(&pipeline), script, "the pipeline's script is not the one to read; see the module's comment");
    }

    #[test]
    fn spellings_are_unique() {
        let mut spellings: Vec<_> = SPELLINGS.iter().flat_map(|(_, spellings)| *spellings).collect();
        let count = spellings.len();
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), count);
        assert!(spellings.iter().all(|spelling| spelling.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
