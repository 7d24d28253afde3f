//! What an operator may set, from the environment or by hand. It reads and checks; it starts nothing.

use std::collections::HashSet;
use std::net::SocketAddr;

use thiserror::Error;

use crate::context::is_valid_id;
use crate::logs::filter::{self, DEFAULT_FILTER, LogFilter};

/// Label sets the three request metrics may have together, unless `METRICS_LABEL_SETS` says otherwise.
pub const DEFAULT_LABEL_SETS: usize = 2_000;

/// Bytes of log lines held in memory until they are written; what comes beyond is dropped whole and counted.
pub const DEFAULT_LOG_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Endpoints that write no access line unless `ACCESS_LOG_EXCLUDE` says otherwise.
pub const DEFAULT_ACCESS_LOG_EXCLUDE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The contract's record: one JSON object a line.
    Json,
    /// The stock lines of `tracing-bunyan-formatter`.
    Bunyan,
}

/// Where the log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output, what a service's shipper reads.
    Stdout,
    /// Standard error, for programs whose standard output has another use.
    Stderr,
}

/// All settings of the library.
#[derive(Clone, Debug)]
pub struct ObservabilitySettings {
    /// Value of `service` in lines and metrics: 1–128 characters, none of them a control character.
    pub service: String,
    /// Shape of the log lines.
    pub log_format: LogFormat,
    /// Where the log lines go; not settable from the environment.
    pub log_target: LogTarget,
    /// Which events are written, in the syntax of [`EnvFilter`](tracing_subscriber::EnvFilter); blank for the default.
    pub log_filter: String,
    /// Bytes of lines held in memory until they are written; beyond, lines are dropped whole and counted.
    pub log_buffer_bytes: usize,
    /// Whether a caller's `X-Request-Id` and `traceparent` are kept. Without that every request gets an id of its
    /// own, and is in no trace.
    pub trust_request_id: bool,
    /// Whether outgoing requests carry the `baggage` that a request came with.
    pub forward_baggage: bool,
    /// Projects whose `project_id` folds last.
    pub own_projects: HashSet<String>,
    /// Label sets the three request metrics may have together, 8–100,000.
    pub label_sets: usize,
    /// If set, `/metrics` is served there and nowhere else.
    pub admin_listen: Option<SocketAddr>,
    /// Endpoints (route patterns) that write no access line; they are counted all the same.
    pub access_log_exclude: HashSet<String>,
}

/// A variable the library reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does, its form and its default, in a line.
    pub help: &'static str,
}

/// A setting that can't be used.
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

    /// The variable at fault.
    pub fn variable(&self) -> &'static str {
        self.name
    }

    /// What its value has to be, or why it can't be used.
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl ObservabilitySettings {
    /// Every variable [`from_env`](Self::from_env) reads, so that a service can refuse unknown ones.
    pub const VARIABLES: &'static [Variable] = &[
        Variable { name: "SERVICE_NAME", help: "value of `service` in lines and metrics (default: the program's own)" },
        Variable { name: "LOG_FORMAT", help: "json (default) or bunyan" },
        Variable { name: "RUST_LOG", help: "which events are written, such as warn,my_service=debug (default info)" },
        Variable {
            name: "TRUST_REQUEST_ID",
            help: "0 gives every request an id of its own and keeps no caller's X-Request-Id or traceparent, for a service at \
                   the edge (default 1)",
        },
        Variable { name: "FORWARD_BAGGAGE", help: "1 passes a request's baggage header on (default 0)" },
        Variable { name: "METRICS_PROJECTS", help: "projects that keep their own label, by comma (default none)" },
        Variable { name: "METRICS_LABEL_SETS", help: "label sets of request metrics, 8-100000 (default 2000)" },
        Variable { name: "ADMIN_LISTEN", help: "address:port that alone serves /metrics (default: the service's own)" },
        Variable {
            name: "ACCESS_LOG_EXCLUDE",
            help: "endpoints without access line, by comma (default /healthz,/readyz,/metrics)",
        },
    ];

    /// The defaults for a service of this name.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            log_format: LogFormat::Json,
            log_target: LogTarget::Stdout,
            log_filter: DEFAULT_FILTER.to_owned(),
            log_buffer_bytes: DEFAULT_LOG_BUFFER_BYTES,
            trust_request_id: true,
            forward_baggage: false,
            own_projects: HashSet::new(),
            label_sets: DEFAULT_LABEL_SETS,
            admin_listen: None,
            access_log_exclude: DEFAULT_ACCESS_LOG_EXCLUDE.map(str::to_owned).into(),
        }
    }

    /// The defaults, changed by the environment.
    ///
    /// # Errors
    /// A variable that is set but malformed or not UTF-8.
    pub fn from_env(service: &str) -> Result<Self, SettingsError> {
        for Variable { name, .. } in Self::VARIABLES {
            if let Err(std::env::VarError::NotUnicode(value)) = std::env::var(name) {
                return Err(SettingsError::new(name, &value.to_string_lossy(), "is not UTF-8"));
            }
        }
        Self::from_lookup(service, |name| std::env::var(name).ok())
    }

    /// Like [`from_env`](Self::from_env), with the variables from elsewhere.
    ///
    /// # Errors
    /// A malformed value.
    pub fn from_lookup(service: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut settings = Self::new(service);
        if let Some(value) = lookup("SERVICE_NAME") {
            settings.service = value;
        }
        if let Some(value) = lookup("LOG_FORMAT") {
            settings.log_format = match value.as_str() {
                "json" => LogFormat::Json,
                "bunyan" => LogFormat::Bunyan,
                _ => return Err(SettingsError::new("LOG_FORMAT", &value, "must be json or bunyan")),
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
                Some(other) => return Err(SettingsError::new(name, other, "must be 0 or 1")),
            }
        }
        if let Some(value) = lookup("METRICS_PROJECTS") {
            settings.own_projects = list(&value);
            if let Some(project) = settings.own_projects.iter().find(|project| !is_valid_id(project.as_bytes())) {
                let expected = "must be 1 to 128 of A-Z a-z 0-9 . _ - : / + = each, by comma";
                return Err(SettingsError::new("METRICS_PROJECTS", project, expected));
            }
        }
        if let Some(value) = lookup("METRICS_LABEL_SETS") {
            let parsed = value.parse();
            settings.label_sets = parsed
                .map_err(|_| SettingsError::new("METRICS_LABEL_SETS", &value, "must be a number from 8 to 100000"))?;
        }
        if let Some(value) = lookup("ADMIN_LISTEN").filter(|value| !value.is_empty()) {
            let parsed = value.parse();
            settings.admin_listen = Some(parsed.map_err(|_| {
                SettingsError::new("ADMIN_LISTEN", &value, "must be an IP address and port such as 127.0.0.1:9100")
            })?);
        }
        if let Some(value) = lookup("ACCESS_LOG_EXCLUDE") {
            settings.access_log_exclude = list(&value);
        }
        settings.check()?;
        Ok(settings)
    }

    /// Checks what was put together by hand as well.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let length = self.service.chars().count();
        if length == 0 || length > 128 || self.service.chars().any(char::is_control) {
            let expected = "must be 1 to 128 characters, none of them a control character";
            return Err(SettingsError::new("SERVICE_NAME", &self.service, expected));
        }
        if !(8..=100_000).contains(&self.label_sets) {
            let expected = "must be a number from 8 to 100000";
            return Err(SettingsError::new("METRICS_LABEL_SETS", &self.label_sets.to_string(), expected));
        }
        self.filter().map(drop)
    }

    /// The filter of log lines.
    pub(crate) fn filter(&self) -> Result<LogFilter, SettingsError> {
        filter::parse(&self.log_filter).map_err(|why| SettingsError::new("RUST_LOG", &self.log_filter, why))
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
    fn malformed_values_are_refused_by_name() {
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
    fn lists_are_split_by_comma() {
        let settings = read(&[("METRICS_PROJECTS", "a, b,,"), ("ACCESS_LOG_EXCLUDE", "")]).expect("valid");
        assert_eq!(settings.own_projects, HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(settings.access_log_exclude.is_empty());
    }
}
