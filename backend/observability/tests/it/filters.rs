//! Log filters mean the same as in [`EnvFilter`], and invalid directives are rejected.

use observability::{Observability, ObservabilitySettings};
use tracing::dispatcher::{Dispatch, with_default};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::Rig;

/// Which of the levels are enabled for two targets, within and outside a span.
fn enabled() -> Vec<bool> {
    macro_rules! at_each_level {
        ($target:literal) => {
            [
                tracing::enabled!(target: $target, tracing::Level::ERROR),
                tracing::enabled!(target: $target, tracing::Level::WARN),
                tracing::enabled!(target: $target, tracing::Level::INFO),
                tracing::enabled!(target: $target, tracing::Level::DEBUG),
                tracing::enabled!(target: $target, tracing::Level::TRACE),
            ]
        };
    }
    let mut enabled = Vec::new();
    for number in [1_u64, 7] {
        enabled.extend(at_each_level!("my_crate::module"));
        enabled.extend(at_each_level!("other"));
        let span = tracing::error_span!(target: "my_crate", "work", number, name = "bc");
        let _entered = span.enter();
        enabled.extend(at_each_level!("my_crate::module"));
        enabled.extend(at_each_level!("other"));
    }
    enabled
}

fn ours(filter: &str) -> Vec<bool> {
    let rig = Rig::with(|settings| settings.log_filter = filter.to_owned());
    with_default(&rig.dispatch, enabled)
}

fn theirs(filter: &str) -> Vec<bool> {
    let filter = EnvFilter::builder().parse(filter).unwrap();
    with_default(&Dispatch::new(tracing_subscriber::Registry::default().with(filter)), enabled)
}

#[test]
fn a_filter_means_the_same_as_in_env_filter() {
    for filter in [
        "info",
        "INFO",
        "Warn",
        "3",
        "0",
        "off",
        "OFF",
        "info,",
        ",info",
        "info,,other=debug",
        "my_crate",
        "my_crate=",
        "my_crate=debug",
        "my_crate=DEBUG",
        "my_crate=4",
        "my_crate::module=trace,other=off",
        "warn,my_crate=trace,my_crate=error",
        "my_crate=off,info",
        "warn,[work]=trace",
        "warn,[work{number=7}]=trace",
        "my_crate[work{number}]=debug",
        "[{number}]=debug",
        "[work]",
        "warn,my_crate[work]=trace,other=info",
        "_private=info,-dash=warn",
    ] {
        assert_eq!(ours(filter), theirs(filter), "{filter}");
    }
}

#[test]
fn blanks_and_empty_directives_change_nothing() {
    for (filter, equivalent) in [
        (" info", "info"),
        ("info ", "info"),
        ("\tinfo\n", "info"),
        ("warn, my_crate=debug", "warn,my_crate=debug"),
        ("warn , my_crate=debug , ,", "warn,my_crate=debug"),
        (",,info,,", "info"),
        (" warn, [work{number=7}]=trace ", "warn,[work{number=7}]=trace"),
        ("", "info"),
        ("  ", "info"),
        (",", "info"),
        (" , ,", "info"),
    ] {
        assert_eq!(ours(filter), theirs(equivalent), "{filter:?}");
    }
}

#[test]
fn a_span_directive_may_have_several_fields() {
    let (one, both) = (ours("warn,[work{number=7}]=trace"), ours("warn,[work{name=bc,number=7}]=trace"));
    assert_eq!(one, both);
    assert_ne!(one, ours("warn"));
}

#[test]
fn an_invalid_directive_is_rejected_and_named() {
    for (filter, directive) in [
        ("info,=", "="),
        ("info,x=loud", "x=loud"),
        ("info,a=b=c", "a=b=c"),
        ("=info", "=info"),
        ("a=9", "a=9"),
        ("7", "7"),
        ("info;a=debug", "info;a=debug"),
        ("info a=debug", "info a=debug"),
        ("info|warn", "info|warn"),
        ("\"info\"", "\"info\""),
        ("'info", "'info"),
        ("*", "*"),
        ("my_crate::*=debug", "my_crate::*=debug"),
        ("info,[work=debug", "[work=debug"),
        ("[work{number=7]=debug", "[work{number=7]=debug"),
        ("[work]debug", "[work]debug"),
        ("inof", "inof"),
        ("warning", "warning"),
        ("a=warning", "a=warning"),
        ("info, dbug", "dbug"),
        ("verbose", "verbose"),
    ] {
        let lookup = |name: &str| (name == "RUST_LOG").then(|| filter.to_owned());
        let Err(error) = ObservabilitySettings::from_lookup("svc", lookup) else { panic!("{filter} was accepted") };
        let text = error.to_string();
        assert_eq!(error.variable(), "RUST_LOG");
        assert!(text.contains(&format!("{directive:?}")), "{filter}: {text}");
        assert!(text.contains("TARGET=LEVEL") || text.contains("level"), "{filter}: no hint on what to write: {text}");
        let mut settings = ObservabilitySettings::new("svc");
        settings.log_filter = filter.to_owned();
        assert!(Observability::detached(settings, Box::new(std::io::sink())).is_err(), "{filter}");
    }
}
