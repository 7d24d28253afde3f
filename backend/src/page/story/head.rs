//! What holds of a request as a whole, also where only a part of its lines is at hand.

use store::{Level, Timestamp};

use crate::line::{Access, Line};
use crate::page::story::gather::end;
use crate::page::text::{moment, span};
use crate::story::steps;

/// A request as a whole.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// How many lines it has.
    pub lines: u64,
    /// Its access lines.
    pub ends: Vec<Line>,
    /// When it began, in microseconds since 1970.
    pub began: Option<i64>,
    /// Its first time and its last.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The gravest level of its lines.
    pub worst: Option<Level>,
    /// The first of its errors.
    pub error: Option<Line>,
    /// Who wrote them.
    pub services: Vec<String>,
    /// Of which projects.
    pub projects: Vec<String>,
}

impl Head {
    /// Of all of a request's lines.
    #[must_use]
    pub fn of(lines: &[Line]) -> Self {
        let distinct = |values: &mut dyn Iterator<Item = &str>| {
            let values: std::collections::BTreeSet<_> = values.map(str::to_owned).collect();
            values.into_iter().collect()
        };
        let times = || lines.iter().filter_map(|line| line.time);
        Self {
            lines: lines.len() as u64,
            ends: lines.iter().filter(|line| line.access.is_some()).cloned().collect(),
            began: steps::began(lines),
            times: times().min().zip(times().max()),
            worst: lines.iter().filter_map(|line| line.level).max(),
            error: lines.iter().find(|line| line.level == Some(Level::Error)).cloned(),
            services: distinct(&mut lines.iter().map(|line| line.service.as_str())),
            projects: distinct(&mut lines.iter().filter_map(|line| line.project_id.as_deref())),
        }
    }

    /// From its begin to its last line that is known, in microseconds.
    #[must_use]
    pub fn length_us(&self) -> Option<i64> {
        self.times.zip(self.began).map(|((_, last), began)| last.unix_micros().saturating_sub(began))
    }

    /// A name and what it is, for a list.
    #[must_use]
    pub fn facts(&self, is_slow: bool) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some((_, access)) = end(&self.ends) {
            let slow = if is_slow { ", slower than usual" } else { "" };
            facts.push(("Duration", format!("{}{slow}", took(access))));
            facts.push(("Outcome", outcome(&access.outcome)));
        } else {
            facts.push(("Outcome", "no access line: still running, or the line is missing".to_owned()));
        }
        if !self.projects.is_empty() {
            facts.push(("Project", self.projects.join(", ")));
        }
        facts.push((if self.services.len() == 1 { "Service" } else { "Services" }, self.services.join(", ")));
        facts.push(("Highest level", self.worst.map_or("none", Level::as_str).to_owned()));
        if let Some(began) = self.began {
            facts.push(("Started", format!("{} UTC", moment(Timestamp::from_unix_micros(began)))));
        }
        facts
    }
}

/// The outcome of an access line, in words; one that the library does not write is shown unchanged.
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

/// How long a request took, in words.
#[must_use]
pub fn took(access: &Access) -> String {
    match (access.took_us(), access.duration_ms) {
        (Some(us), _) => span(us),
        (None, None) => "unknown".to_owned(),
        (None, Some(ms)) => format!("{ms:e} ms according to its access line (implausible)"),
    }
}
