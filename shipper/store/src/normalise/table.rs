//! Keys and spellings of other loggers: the one table for both normalisers.
//!
//! To add a key or a spelling, add it here and run `make generate`, which writes the same lists to the ingest pipeline's
//! script.

use crate::level::Level;
use crate::query::{Field, NumberField};

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

/// Returns the top-level fields that hold a scalar, so that there can be no field below them, such as `service.version`.
pub(crate) fn scalar_fields() -> impl Iterator<Item = &'static str> {
    let texts = Field::ALL.into_iter().map(Field::path).filter(|path| !path.contains('.'));
    ["timestamp", "@timestamp", "message"].into_iter().chain(texts).chain(NumberField::ALL.map(NumberField::name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
