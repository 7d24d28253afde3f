//! Parses a log filter such as `RUST_LOG`: comma-separated directives in the syntax of [`EnvFilter`].
//!
//! A filter means the same as in `EnvFilter`, with four differences. The first keeps anonymous clients from filling the
//! log; the others are mistakes that silently disable all lines in `EnvFilter`:
//! - Actix's error lines about malformed client input are disabled, unless a directive names `actix_http` or enables all
//!   targets at level debug;
//! - blanks around a directive are ignored;
//! - a filter without directives is [`DEFAULT_FILTER`];
//! - likely typos are rejected: a misspelled level, a level followed by `=`, a number above 5, a wildcard, blanks or
//!   separators within a directive.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};

/// Target of the root span. The log filter always enables it, whatever `RUST_LOG` is.
pub(crate) const ROOT_SPAN_TARGET: &str = "observability::request";

/// The filter used if none, or an empty one, is configured.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// Target under which Actix logs an error for every client that does not speak HTTP.
const CLIENT_ERRORS_TARGET: &str = "actix_http::h1::dispatcher";

const EXPECTED: &str = "expected LEVEL, TARGET or TARGET=LEVEL, separated by commas; a level is off, error, warn, info, \
                        debug or trace, or a number from 0 to 5";

/// Level names of other systems and their equivalents.
const FOREIGN_LEVELS: [(&str, &str); 10] = [
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("notice", "info"),
    ("information", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
    ("none", "off"),
    ("silent", "off"),
];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A parsed filter. `Targets` does not support span directives, but takes no lock when a span is entered.
#[derive(Debug)]
pub(crate) enum LogFilter {
    Targets(Box<Targets>),
    Spans(Box<EnvFilter>),
}

/// Validates a log filter.
///
/// # Errors
/// Returns what is wrong with the filter and what to write instead.
pub fn check_log_filter(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Parses a filter. The result always enables the root span of requests, because lines get their request id from it.
pub(crate) fn parse(text: &str) -> Result<LogFilter, String> {
    let mut directives = split(text);
    if directives.is_empty() {
        directives = split(DEFAULT_FILTER);
    }
    for directive in &directives {
        check(directive).map_err(|why| format!("invalid directive {directive:?}: {why}"))?;
    }
    if directives.iter().any(|directive| directive.contains('[')) {
        return with_spans(&directives).map(|filter| LogFilter::Spans(Box::new(filter)));
    }
    let targets = directives.iter().fold(Targets::new(), |targets, directive| match parse_plain(directive) {
        (Some(target), level) => targets.with_target(target, level),
        (None, level) => targets.with_default(level),
    });
    let targets = if directives.iter().any(|directive| enables_client_errors(directive)) {
        targets
    } else {
        targets.with_target(CLIENT_ERRORS_TARGET, LevelFilter::OFF)
    };
    Ok(LogFilter::Targets(Box::new(targets.with_target(ROOT_SPAN_TARGET, LevelFilter::ERROR))))
}

/// Whether a directive enables Actix's lines about malformed client input.
fn enables_client_errors(directive: &str) -> bool {
    directive.starts_with("actix_http")
        || matches!(parse_plain(directive), (None, level) if level >= LevelFilter::DEBUG)
}

/// Splits a filter into trimmed, non-empty directives. A comma within `[…]` separates fields.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let at_comma = |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(at_comma).map(str::trim).filter(|directive| !directive.is_empty()).collect()
}

/// Parses a directive without a span, by the rules of [`Directive`]. No target means all targets.
fn parse_plain(directive: &str) -> (Option<&str>, LevelFilter) {
    match directive.split_once('=') {
        Some((target, "")) => (Some(target), LevelFilter::TRACE),
        Some((target, level)) => (Some(target), level.parse().unwrap_or(LevelFilter::TRACE)),
        None => match directive.parse() {
            Ok(level) => (None, level),
            Err(_) => (Some(directive), LevelFilter::TRACE),
        },
    }
}

/// Validates a directive; the error says what is wrong with it.
fn check(directive: &str) -> Result<(), String> {
    let before_span = directive.split('[').next().unwrap_or(directive);
    let after_span = directive.rsplit_once(']').map_or("", |(_, level)| level);
    if let Some(level) = before_span.split_once('=').map(|(_, level)| level).or(after_span.strip_prefix('='))
        && !level.is_empty()
        && level.parse::<LevelFilter>().is_err()
    {
        return Err(unknown_level(level, None));
    }
    let target = before_span.split('=').next().unwrap_or(before_span);
    if directive.strip_suffix('=') == Some(target) && target.parse::<LevelFilter>().is_ok() {
        return Err(format!("{target:?} is a target here, not a level; write {target} for all targets"));
    }
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || ";|\"'`*?,()<>{}\\".contains(c);
    if let Some(c) = target.chars().find(|c| is_forbidden(*c)) {
        let hint = if c == '*' { " (a target includes its submodules without a wildcard)" } else { "" };
        return Err(format!("a target can't contain {c:?}{hint}; {EXPECTED}"));
    }
    if directive.parse::<Directive>().is_err() {
        return Err(EXPECTED.to_owned());
    }
    if target == directive && directive.parse::<LevelFilter>().is_err() {
        if directive.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unknown_level(directive, None));
        }
        if let Some(meant) = suggested_level(directive) {
            return Err(unknown_level(directive, Some(meant)));
        }
    }
    Ok(())
}

fn unknown_level(level: &str, meant: Option<&str>) -> String {
    match meant.or_else(|| suggested_level(level)) {
        Some(meant) => {
            format!("unknown level {level:?}, did you mean {meant:?}? For a target of that name write {level}=trace")
        }
        None => format!("unknown level {level:?}; {EXPECTED}"),
    }
}

/// Suggests the level that was probably meant: one of another system's, or one with a typo.
fn suggested_level(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let foreign = FOREIGN_LEVELS.iter().find(|(name, _)| *name == word).map(|(_, meant)| *meant);
    let typo = || LEVELS.into_iter().find(|level| level.len() > 3 && is_one_edit_away(&word, level));
    foreign.or_else(typo)
}

/// Whether inserting, deleting or replacing one letter, or swapping two adjacent ones, turns `word` into `level`.
fn is_one_edit_away(word: &str, level: &str) -> bool {
    let (word, level) = (word.as_bytes(), level.as_bytes());
    let same_start = word.iter().zip(level).take_while(|(a, b)| a == b).count();
    let (word, level) = (&word[same_start..], &level[same_start..]);
    match (word, level) {
        ([_, word @ ..], [_, level @ ..]) if word == level => true,
        ([_, word @ ..], level) if word == level => true,
        (word, [_, level @ ..]) if word == level => true,
        ([a, b, word @ ..], [c, d, level @ ..]) => a == d && b == c && word == level,
        _ => false,
    }
}

/// Builds a filter with span directives. `EnvFilter` can't parse a directive with several fields within a list, so these
/// are added one at a time.
fn with_spans(directives: &[&str]) -> Result<EnvFilter, String> {
    let (single, listed): (Vec<&str>, Vec<&str>) = directives.iter().partition(|directive| directive.contains(','));
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    let filter = filter.parse(listed.join(",")).map_err(|error| error.to_string())?;
    let root_span = format!("{ROOT_SPAN_TARGET}=error");
    let client_errors_off = format!("{CLIENT_ERRORS_TARGET}=off");
    let keeps_client_errors = directives.iter().any(|directive| enables_client_errors(directive));
    let client_errors_off = (!keeps_client_errors).then_some(client_errors_off.as_str());
    single.into_iter().chain(client_errors_off).chain([root_span.as_str()]).try_fold(filter, |filter, directive| {
        directive.parse().map(|directive| filter.add_directive(directive)).map_err(|_| EXPECTED.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_span_directives_need_env_filter() {
        for (text, plain) in [("info", true), ("warn,a::b=trace,c=off", true), ("a", true), ("[{id=7}]=debug,a", false)]
        {
            assert_eq!(matches!(parse(text), Ok(LogFilter::Targets(_))), plain, "{text}");
        }
    }

    #[test]
    fn client_errors_of_actix_are_logged_only_if_a_directive_enables_them() {
        for (text, shown) in [
            ("", false),
            ("info", false),
            ("warn,backend=trace", false),
            ("debug", true),
            ("info,actix_http=error", true),
            ("actix_http::h1=warn", true),
        ] {
            let Ok(LogFilter::Targets(targets)) = parse(text) else { panic!("{text}") };
            assert_eq!(targets.would_enable(CLIENT_ERRORS_TARGET, &tracing::Level::ERROR), shown, "{text}");
        }
    }

    #[test]
    fn a_misspelled_level_is_not_a_target() {
        for (word, meant) in [
            ("inof", "info"),
            ("infos", "info"),
            ("nfo", "info"),
            ("wern", "warn"),
            ("Warning", "warn"),
            ("eror", "error"),
        ] {
            assert_eq!(suggested_level(word), Some(meant), "{word}");
        }
        for word in ["backend", "actix_server", "information_desk", "in", "access", "ofx"] {
            assert_eq!(suggested_level(word), None, "{word}");
        }
        assert!(check_log_filter("info=").is_err() && check_log_filter("warn,info=trace,backend=").is_ok());
        assert!(check_log_filter("trade=debug").is_ok() && check_log_filter("warning=trace").is_ok());
    }
}
