//! How grave a line is: the contract's five levels, and the many ways in which others write them.

use std::fmt;
use std::str::FromStr;

/// A level of the log contract, least grave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `trace`
    Trace,
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `warn`
    Warn,
    /// `error`
    Error,
}

/// The text is none of the contract's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a level is one of trace, debug, info, warn, error")]
pub struct ParseLevelError;

impl Level {
    /// All of them, least grave first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As the contract writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Reads what loggers write, in any ASCII case. The ingest pipeline has the same table.
    pub(crate) fn from_spelling(text: &str) -> Option<Self> {
        let text = text.trim_matches(|character| character <= ' ').to_ascii_lowercase();
        Some(match text.as_str() {
            "trace" | "trc" | "verbose" | "finest" | "finer" => Self::Trace,
            "debug" | "dbg" | "fine" | "config" => Self::Debug,
            "info" | "inf" | "information" | "informational" | "notice" | "default" => Self::Info,
            "warn" | "wrn" | "warning" => Self::Warn,
            "error" | "err" | "eror" | "severe" | "critical" | "crit" | "fatal" | "alert" | "emerg" | "emergency"
            | "panic" | "dpanic" => Self::Error,
            _ => return None,
        })
    }

    /// Reads bunyan's and pino's numbers: 10 is trace, 20 debug, 30 info, 40 warn, 50 and more error; those between
    /// belong to the lower one.
    pub(crate) fn from_number(number: f64) -> Option<Self> {
        Some(match number {
            n if n < 10.0 => return None,
            n if n < 20.0 => Self::Trace,
            n if n < 30.0 => Self::Debug,
            n if n < 40.0 => Self::Info,
            n if n < 50.0 => Self::Warn,
            _ => Self::Error,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = ParseLevelError;

    /// Reads the contract's spelling and no other.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(ParseLevelError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contracts_spelling_parses() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("INFO".parse::<Level>(), Err(ParseLevelError));
    }

    #[test]
    fn others_spellings_are_known() {
        assert_eq!(Level::from_spelling(" WARNING "), Some(Level::Warn));
        assert_eq!(Level::from_spelling("Fatal"), Some(Level::Error));
        assert_eq!(Level::from_spelling("loud"), None);
        assert_eq!(Level::from_number(30.0), Some(Level::Info));
        assert_eq!(Level::from_number(60.0), Some(Level::Error));
        assert_eq!(Level::from_number(6.0), None);
    }
}
