//! Facts about a whole request, also if only a part of its lines is shown.

use store::{Level, Timestamp};

use crate::line::{Access, Line};
use crate::page::text::{datetime, span};
use crate::story::steps;

/// A whole request.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of its lines.
    pub lines: u64,
    /// Its access lines.
    pub access_lines: Vec<Line>,
    /// Its start, in microseconds since 1970.
    pub started: Option<i64>,
    /// Times of its first and last line.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The highest level of its lines.
    pub highest: Option<Level>,
    /// The first of its error lines.
    pub error: Option<Line>,
    /// The services that wrote them.
    pub services: Vec<String>,
    /// Their projects.
    pub projects: Vec<String>,
}

impl Summary {
    /// The summary of all lines of a request.
    #[must_use]
    pub fn from_lines(lines: &[Line]) -> Self {
        let distinct = |values: &mut dyn Iterator<Item = &str>| {
            let values: std::collections::BTreeSet<_> = values.map(str::to_owned).collect();
            values.into_iter().collect()
        };
        let times = || lines.iter().filter_map(|line| line.time);
        Self {
            lines: lines.len() as u64,
            access_lines: lines.iter().filter(|line| line.access.is_some()).cloned().collect(),
            started: steps::started(lines),
            times: times().min().zip(times().max()),
            highest: lines.iter().filter_map(|line| line.level).max(),
            error: lines.iter().find(|line| line.level == Some(Level::Error)).cloned(),
            services: distinct(&mut lines.iter().map(|line| line.service.as_str())),
            projects: distinct(&mut lines.iter().filter_map(|line| line.project_id.as_deref())),
        }
    }

    /// The access line that tells how the request ended. Of several, it is that of the outermost service, which took longest.
    #[must_use]
    pub fn end(&self) -> Option<(&Line, &Access)> {
        let ends = self.access_lines.iter().filter_map(|line| Some((line, line.access.as_ref()?)));
        ends.max_by_key(|(_, access)| access.took_us())
    }

    /// Microseconds from its start to its last line.
    #[must_use]
    pub fn length_us(&self) -> Option<i64> {
        self.times.zip(self.started).map(|((_, last), started)| last.unix_micros().saturating_sub(started))
    }

    /// Names and values for a list.
    #[must_use]
    pub fn facts(&self, is_slow: bool) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some((_, access)) = self.end() {
            let slow = if is_slow { ", slower than usual" } else { "" };
            facts.push(("Duration", format!("{}{slow}", duration(access))));
            facts.push(("Outcome", outcome(&access.outcome)));
        } else {
            facts.push(("Outcome", "no access line: still running, or the line is missing".to_owned()));
        }
        if !self.projects.is_empty() {
            facts.push(("Project", self.projects.join(", ")));
        }
        facts.push((if self.services.len() == 1 { "Service" } else { "Services" }, self.services.join(", ")));
        facts.push(("Highest level", self.highest.map_or("none", Level::as_str).to_owned()));
        if let Some(started) = self.started {
            facts.push(("Started", format!("{} UTC", datetime(Timestamp::from_unix_micros(started)))));
        }
        facts
    }
}

/// The outcome of an access line as text; one that the library does not write is shown unchanged.
fn outcome(name: &str) -> String {
    match name {
        "answered" => "Response sent".to_owned(),
        "handler_error" => "Handler error".to_owned(),
        "panic" => "Panic".to_owned(),
        "client_gone" => "Client disconnected".to_owned(),
        "body_cut" => "Response body cut short".to_owned(),
        "body_failed" => "Response body failed".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The duration of a request as text.
#[must_use]
pub fn duration(access: &Access) -> String {
    match (access.took_us(), access.duration_ms) {
        (Some(us), _) => span(us),
        (None, None) => "unknown".to_owned(),
        (None, Some(ms)) => format!("{ms:e} ms according to its access line (implausible)"),
    }
}
