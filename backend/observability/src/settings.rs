//! Settings, read from the environment or built in code, and their validation. Nothing is started here.

use std::collections::HashSet;
use std::net::SocketAddr;

use thiserror::Error;

use crate::ids::is_valid_id;
use crate::log_filter::{self, DEFAULT_FILTER, LogFilter};

/// Default of `METRICS_LABEL_SETS`: maximum number of label sets of the three request metrics together.
pub const DEFAULT_LABEL_SETS: usize = 2_000;

/// Size of the log buffer in bytes. A line that does not fit is dropped and counted.
pub const DEFAULT_LOG_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Default of `ACCESS_LOG_EXCLUDE`: endpoints that write no access line.
pub const DEFAULT_ACCESS_LOG_EXCLUDE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, as described by the log record contract.
    Json,
    /// The unmodified format of `tracing-bunyan-formatter`.
    Bunyan,
}

/// Destination of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output, which a log shipper reads.
    Stdout,
    /// Standard error, for programs that use standard output for something else.
    Stderr,
}

/// All settings of the library.
#[derive(Clone, Debug)]
pub struct ObservabilitySettings {
    /// Value of `service` in log lines and metrics: 1–128 characters, no control characters.
    pub service: String,
    /// Format of the log lines.
    pub log_format: LogFormat,
    /// Destination of the log lines. It cannot be set from the environment.
    pub log_target: LogTarget,
    /// Log filter in the syntax of [`EnvFilter`](tracing_subscriber::EnvFilter). Blank means the default, `info`.
    pub log_filter: String,
    /// Size of the log buffer in bytes. Lines that do not fit are dropped and counted.
    pub log_buffer_bytes: usize,
    /// Whether to keep a caller's `X-Request-Id` and `traceparent`. If false, every request gets a new id and belongs
    /// to no trace.
    pub trust_request_id: bool,
    /// Whether outgoing requests carry the `baggage` header of the current request.
    pub forward_baggage: bool,
    /// Projects whose `project_id` label is folded last when the label sets run out.
    pub known_projects: HashSet<String>,
    /// Maximum number of label sets of the three request metrics together, 8–100,000.
    pub label_sets: usize,
    /// Address that serves `/metrics` instead of the service's own port.
    pub admin_listen: Option<SocketAddr>,
    /// Endpoints (route patterns) that write no access line. Their requests are still counted.
    pub access_log_exclude: HashSet<String>,
}

/// An environment variable that the library reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// One line: its effect, format and default.
    pub help: &'static str,
}

/// A setting with an invalid value.
#[derive(Debug, Error)]
#[error("{name}={value:?}: {expected}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    expected: String,
}

impl SettingsError {
    fn new(name: &'static str, value: &str, expected: impl Into<String>) -> Self {
        let value = value.chars().take(200).collect();
        Self { name, value, expected: expected.into() }
    }

    /// Name of the variable with the invalid value.
    pub fn variable(&self) -> &'static str {
        self.name
    }

    /// The expected value, or the reason why the value is invalid.
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl ObservabilitySettings {
    /// Every variable that [`from_env`](Self::from_env) reads, so that a service can reject unknown ones.
    pub const VARIABLES: &'static [Variable] = &[
        Variable {
            name: "SERVICE_NAME",
            help: "value of `service` in log lines and metrics (default: the program's name)",
        },
        Variable { name: "LOG_FORMAT", help: "log format: json (default) or bunyan" },
        Variable { name: "RUST_LOG", help: "log filter, for example warn,my_service=debug (default info)" },
        Variable {
            name: "TRUST_REQUEST_ID",
            help: "0 ignores the callers' X-Request-Id and traceparent and gives every request a new id, for services \
                   exposed to the internet (default 1)",
        },
        Variable {
            name: "FORWARD_BAGGAGE",
            help: "1 forwards the baggage header of a request to outgoing requests (default 0)",
        },
        Variable {
            name: "METRICS_PROJECTS",
            help: "comma-separated projects whose project_id label is folded last (default none)",
        },
        Variable {
            name: "METRICS_LABEL_SETS",
            help: "maximum number of label sets of request metrics, 8-100000 (default 2000)",
        },
        Variable {
            name: "ADMIN_LISTEN",
            help: "address:port that serves /metrics instead of the service's port (default none)",
        },
        Variable {
            name: "ACCESS_LOG_EXCLUDE",
            help: "comma-separated endpoints without access lines (default /healthz,/readyz,/metrics)",
        },
    ];

    /// Default settings for a service of this name.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            log_format: LogFormat::Json,
            log_target: LogTarget::Stdout,
            log_filter: DEFAULT_FILTER.to_owned(),
            log_buffer_bytes: DEFAULT_LOG_BUFFER_BYTES,
            trust_request_id: true,
            forward_baggage: false,
            known_projects: HashSet::new(),
            label_sets: DEFAULT_LABEL_SETS,
            admin_listen: None,
            access_log_exclude: DEFAULT_ACCESS_LOG_EXCLUDE.map(str::to_owned).into(),
        }
    }

    /// Default settings, overridden by environment variables.
    ///
    /// # Errors
    /// Returns an error if a variable is malformed or not UTF-8.
    pub fn from_env(service: &str) -> Result<Self, SettingsError> {
        for Variable { name, .. } in Self::VARIABLES {
            if let Err(std::env::VarError::NotUnicode(value)) = std::env::var(name) {
                return Err(SettingsError::new(name, &value.to_string_lossy(), "not valid UTF-8"));
            }
        }
        Self::from_lookup(service, |name| std::env::var(name).ok())
    }

    /// Like [`from_env`](Self::from_env), with variables supplied by `lookup`.
    ///
    /// # Errors
    /// Returns an error if a value is malformed.
    pub fn from_lookup(service: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut settings = Self::new(service);
        if let Some(value) = lookup("SERVICE_NAME") {
            settings.service = value;
        }
        if let Some(value) = lookup("LOG_FORMAT") {
            settings.log_format = match value.as_str() {
                "json" => LogFormat::Json,
                "bunyan" => LogFormat::Bunyan,
                _ => return Err(SettingsError::new("LOG_FORMAT", &value, "expected json or bunyan")),
            };
        }
        if let Some(value) = lookup("RUST_LOG").filter(|value| !value.trim().is_empty()) {
            settings.log_filter = value;
        }
        for (name, setting) in
            [("TRUST_REQUEST_ID", &mut settings.trust_request_id), ("FORWARD_BAGGAGE", &mut settings.forward_baggage)]
        {
            match lookup(name).as_deref() {
                None | Some("") => {}
                Some("0") => *setting = false,
                Some("1") => *setting = true,
                Some(other) => return Err(SettingsError::new(name, other, "expected 0 or 1")),
            }
        }
        if let Some(value) = lookup("METRICS_PROJECTS") {
            settings.known_projects = list(&value);
            if let Some(project) = settings.known_projects.iter().find(|project| !is_valid_id(project.as_bytes())) {
                let expected = "expected comma-separated ids of 1 to 128 characters A-Z a-z 0-9 . _ - : / + =";
                return Err(SettingsError::new("METRICS_PROJECTS", project, expected));
            }
        }
        if let Some(value) = lookup("METRICS_LABEL_SETS") {
            let parsed = value.parse();
            settings.label_sets = parsed
                .map_err(|_| SettingsError::new("METRICS_LABEL_SETS", &value, "expected a number from 8 to 100000"))?;
        }
        if let Some(value) = lookup("ADMIN_LISTEN").filter(|value| !value.is_empty()) {
            let parsed = value.parse();
            settings.admin_listen = Some(parsed.map_err(|_| {
                SettingsError::new(
                    "ADMIN_LISTEN",
                    &value,
                    "expected an IP address and port, for example 127.0.0.1:9100",
                )
            })?);
        }
        if let Some(value) = lookup("ACCESS_LOG_EXCLUDE") {
            settings.access_log_exclude = list(&value);
        }
        settings.check()?;
        Ok(settings)
    }

    /// Validates the settings, also those built in code.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let length = self.service.chars().count();
        if length == 0 || length > 128 || self.service.chars().any(char::is_control) {
            let expected = "expected 1 to 128 characters without control characters";
            return Err(SettingsError::new("SERVICE_NAME", &self.service, expected));
        }
        if !(8..=100_000).contains(&self.label_sets) {
            let expected = "expected a number from 8 to 100000";
            return Err(SettingsError::new("METRICS_LABEL_SETS", &self.label_sets.to_string(), expected));
        }
        self.filter().map(drop)
    }

    /// Parses the log filter.
    pub(crate) fn filter(&self) -> Result<LogFilter, SettingsError> {
        log_filter::parse(&self.log_filter).map_err(|why| SettingsError::new("RUST_LOG", &self.log_filter, why))
    }
}

fn list(value: &str) -> HashSet<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ObservabilitySettings, SettingsError> {
        ObservabilitySettings::from_lookup("svc", |name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_malformed_value_is_rejected_with_the_variables_name() {
        for (name, value) in [
            ("SERVICE_NAME", ""),
            ("SERVICE_NAME", "a\nb"),
            ("LOG_FORMAT", "JSON"),
            ("RUST_LOG", "info,=,x=loud"),
            ("TRUST_REQUEST_ID", "yes"),
            ("FORWARD_BAGGAGE", "on"),
            ("METRICS_PROJECTS", "a,b c"),
            ("METRICS_LABEL_SETS", "7"),
            ("METRICS_LABEL_SETS", "many"),
            ("ADMIN_LISTEN", "9100"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert_eq!(error.variable(), name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn lists_are_comma_separated() {
        let settings = read(&[("METRICS_PROJECTS", "a, b,,"), ("ACCESS_LOG_EXCLUDE", "")]).expect("valid");
        assert_eq!(settings.known_projects, HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(settings.access_log_exclude.is_empty());
    }
}
