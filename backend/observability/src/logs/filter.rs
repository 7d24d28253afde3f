//! Reads a log filter, such as `RUST_LOG`: directives separated by commas, in the syntax of [`EnvFilter`].
//!
//! What `EnvFilter` takes means the same here, but that Actix's lines about what clients send, which anyone can write, are left out
//! unless a directive names `actix_http` or all targets are let through at debug. Three things are added, because each of them silences every line there
//! without a word:
//! - blanks around a directive are ignored;
//! - a filter without directives is [`DEFAULT_FILTER`];
//! - what can hardly be meant as a target is refused: a misspelled level, a number above 5, a wildcard, blanks or
//!   separators within a directive.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};

use crate::root_span::ROOT_SPAN_TARGET;

/// The filter where none is given, or an empty one.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// Where Actix writes a line of level `error` for whatever a client sends that is no HTTP.
const NOISE_OF_CLIENTS: &str = "actix_http::h1::dispatcher";

const EXPECTED: &str = "write LEVEL, TARGET or TARGET=LEVEL, separated by commas; a level is off, error, warn, info, \
                        debug or trace, or a number from 0 to 5";

/// Levels of other systems, and what they are called here.
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

/// What a filter lets through. `Targets` knows no spans, and takes no lock when one is entered.
#[derive(Debug)]
pub(crate) enum LogFilter {
    Targets(Box<Targets>),
    Spans(Box<EnvFilter>),
}

/// Checks a log filter without using it.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn check_log_filter(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Reads a filter. It always lets a request's root span through: without it lines lose their request id.
pub(crate) fn parse(text: &str) -> Result<LogFilter, String> {
    let mut directives = split(text);
    if directives.is_empty() {
        directives = split(DEFAULT_FILTER);
    }
    for directive in &directives {
        check(directive).map_err(|why| format!("{directive:?} is no directive: {why}"))?;
    }
    if directives.iter().any(|directive| directive.contains('[')) {
        return with_spans(&directives).map(|filter| LogFilter::Spans(Box::new(filter)));
    }
    let targets = directives.iter().fold(Targets::new(), |targets, directive| match plain(directive) {
        (Some(target), level) => targets.with_target(target, level),
        (None, level) => targets.with_default(level),
    });
    let targets = if directives.iter().any(|directive| shows_noise(directive)) {
        targets
    } else {
        targets.with_target(NOISE_OF_CLIENTS, LevelFilter::OFF)
    };
    Ok(LogFilter::Targets(Box::new(targets.with_target(ROOT_SPAN_TARGET, LevelFilter::ERROR))))
}

/// Whether a directive asks for what Actix writes about clients.
fn shows_noise(directive: &str) -> bool {
    directive.starts_with("actix_http") || matches!(plain(directive), (None, level) if level >= LevelFilter::DEBUG)
}

/// The directives, without blanks around them and without empty ones. A comma within `[…]` separates fields.
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

/// Target and level of a directive without a span, by the rules of [`Directive`]; no target means all.
fn plain(directive: &str) -> (Option<&str>, LevelFilter) {
    match directive.split_once('=') {
        Some((target, "")) => (Some(target), LevelFilter::TRACE),
        Some((target, level)) => (Some(target), level.parse().unwrap_or(LevelFilter::TRACE)),
        None => match directive.parse() {
            Ok(level) => (None, level),
            Err(_) => (Some(directive), LevelFilter::TRACE),
        },
    }
}

/// Says what is wrong with a directive.
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
    let no_part = |c: char| c.is_whitespace() || c.is_control() || ";|\"'`*?,()<>{}\\".contains(c);
    if let Some(c) = target.chars().find(|c| no_part(*c)) {
        let hint = if c == '*' { " (it takes in all below it without a wildcard)" } else { "" };
        return Err(format!("a target has no {c:?}{hint}; {EXPECTED}"));
    }
    if directive.parse::<Directive>().is_err() {
        return Err(EXPECTED.to_owned());
    }
    if target == directive && directive.parse::<LevelFilter>().is_err() {
        if directive.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unknown_level(directive, None));
        }
        if let Some(meant) = meant_level(directive) {
            return Err(unknown_level(directive, Some(meant)));
        }
    }
    Ok(())
}

fn unknown_level(level: &str, meant: Option<&str>) -> String {
    match meant.or_else(|| meant_level(level)) {
        Some(meant) => {
            format!("unknown level {level:?}, did you mean {meant:?}? For a target of that name write {level}=trace")
        }
        None => format!("unknown level {level:?}; {EXPECTED}"),
    }
}

/// The level that was probably meant: that of another system, or one with a letter wrong.
fn meant_level(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let foreign = FOREIGN_LEVELS.iter().find(|(name, _)| *name == word).map(|(_, meant)| *meant);
    let one_wrong = || LEVELS.into_iter().find(|level| level.len() > 3 && is_one_edit_away(&word, level));
    foreign.or_else(one_wrong)
}

/// Whether one letter more, less or other, or two neighbours swapped, make `word` a level.
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

/// A filter that knows spans. A directive with several fields can't be read from a list, so it is added by itself.
fn with_spans(directives: &[&str]) -> Result<EnvFilter, String> {
    let (single, listed): (Vec<&str>, Vec<&str>) = directives.iter().partition(|directive| directive.contains(','));
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    let filter = filter.parse(listed.join(",")).map_err(|error| error.to_string())?;
    let root_span = format!("{ROOT_SPAN_TARGET}=error");
    let noise = format!("{NOISE_OF_CLIENTS}=off");
    let noise = (!directives.iter().any(|directive| shows_noise(directive))).then_some(noise.as_str());
    single.into_iter().chain(noise).chain([root_span.as_str()]).try_fold(filter, |filter, directive| {
        directive.parse().map(|directive| filter.add_directive(directive)).map_err(|_| EXPECTED.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spans_in_the_filter_need_the_filter_that_knows_them() {
        for (text, plain) in [("info", true), ("warn,a::b=trace,c=off", true), ("a", true), ("[{id=7}]=debug,a", false)]
        {
            assert_eq!(matches!(parse(text), Ok(LogFilter::Targets(_))), plain, "{text}");
        }
    }

    #[test]
    fn what_actix_says_of_clients_is_shown_to_who_asks_for_it() {
        for (text, shown) in [
            ("", false),
            ("info", false),
            ("warn,backend=trace", false),
            ("debug", true),
            ("info,actix_http=error", true),
            ("actix_http::h1=warn", true),
        ] {
            let Ok(LogFilter::Targets(targets)) = parse(text) else { panic!("{text}") };
            assert_eq!(targets.would_enable(NOISE_OF_CLIENTS, &tracing::Level::ERROR), shown, "{text}");
        }
    }

    #[test]
    fn a_misspelled_level_is_not_a_target_and_a_target_is() {
        for (word, meant) in [
            ("inof", "info"),
            ("infos", "info"),
            ("nfo", "info"),
            ("wern", "warn"),
            ("Warning", "warn"),
            ("eror", "error"),
        ] {
            assert_eq!(meant_level(word), Some(meant), "{word}");
        }
        for word in ["backend", "actix_server", "information_desk", "in", "access", "ofx"] {
            assert_eq!(meant_level(word), None, "{word}");
        }
        assert!(check_log_filter("trade=debug").is_ok() && check_log_filter("warning=trace").is_ok());
    }
}
