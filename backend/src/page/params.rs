//! What a page of lines is asked for: the text of a query and, beside it, single values and a time range. Search, tail and
//! overview share it, so that a link from one leads to the same lines in another.

use std::time::Duration;

use serde::Deserialize;
use store::{Field, Filter, Level, NamedFields, Timestamp};

use crate::page::encode;
use crate::problem::Problem;

/// A longer query is refused.
pub const QUERY_MAX_BYTES: usize = 1_024;

/// The ranges that pages offer: as an address has them, as people read them, and how long they are.
pub const RANGES: [(&str, &str, Duration); 6] = [
    ("15m", "15 minutes", Duration::from_secs(900)),
    ("1h", "1 hour", Duration::from_secs(3_600)),
    ("6h", "6 hours", Duration::from_secs(6 * 3_600)),
    ("24h", "24 hours", Duration::from_secs(24 * 3_600)),
    ("7d", "7 days", Duration::from_secs(7 * 24 * 3_600)),
    ("30d", "30 days", Duration::from_secs(30 * 24 * 3_600)),
];

/// The range unless another is asked for.
const DEFAULT_RANGE: &str = "24h";

const MINUTE_MS: i64 = 60_000;

/// Stands for all of time.
const ALL: &str = "all";

/// What is asked for. What is empty asks for nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The query, in the store's language; an id opens its story instead.
    pub q: String,
    /// This level, or with `+` this level and worse.
    pub level: String,
    /// The service.
    pub service: String,
    /// The project.
    pub project: String,
    /// The endpoint.
    pub endpoint: String,
    /// The status: `404`, or `5xx`.
    pub status: String,
    /// Not before this time, in UTC.
    pub from: String,
    /// Before this time, in UTC.
    pub to: String,
    /// One of [`RANGES`], or `all`; counts where there is neither `from` nor `to`.
    pub last: String,
    /// Where the page before ended.
    pub cursor: String,
    /// Where the page after begins, for one that goes before it.
    pub before: String,
    /// `1` where an id is not to open its story.
    pub words: String,
}

/// A time range that is fixed.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl Times {
    /// What of it lies within a piece that begins at `start`: pieces begin at whole multiples of their length, and the first
    /// and the last of a range reach beyond it.
    #[must_use]
    pub fn piece(&self, start: Timestamp, length_ms: i64) -> Self {
        let end = Timestamp::from_unix_ms(start.unix_ms().saturating_add(length_ms));
        let (from, to) = (self.from.map_or(start, |from| from.max(start)), self.to.map_or(end, |to| to.min(end)));
        Self { from: Some(from), to: Some(to) }
    }
}

impl Params {
    /// The query's own text, if it has any.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        Some(self.q.trim()).filter(|text| !text.is_empty())
    }

    /// What all of it asks for, of a store that has these fields beside its own.
    ///
    /// # Errors
    /// Which part is wrong, where, and what would be right.
    pub fn filter(&self, fields: &NamedFields) -> Result<Filter, Problem> {
        let mut filters = Vec::new();
        if let Some(text) = self.text() {
            if text.len() > QUERY_MAX_BYTES {
                return Err(Problem::bad_request(format!("a query has at most {QUERY_MAX_BYTES} bytes")));
            }
            filters.push(Filter::parse(text, fields).map_err(|error| Problem::bad_request(error.to_string()))?);
        }
        if !self.level.is_empty() {
            let (name, worse) = match self.level.strip_suffix('+') {
                Some(name) => (name, true),
                None => (self.level.as_str(), false),
            };
            let level: Level =
                name.parse().map_err(|error: store::level::ParseLevelError| Problem::bad_request(error.to_string()))?;
            filters.push(Filter::levels(
                Level::ALL.into_iter().filter(|other| *other == level || worse && *other > level),
            ));
        }
        for (field, value) in
            [(Field::Service, &self.service), (Field::ProjectId, &self.project), (Field::Endpoint, &self.endpoint)]
        {
            if !value.is_empty() {
                filters.push(Filter::is(field, value.as_str()));
            }
        }
        if !self.status.is_empty() {
            let is_status = |byte: u8| byte.is_ascii_digit() || byte == b'x';
            let wrong = || Problem::bad_request("a status is a number such as 404, or a class such as 5xx");
            if self.status.len() != 3 || !self.status.bytes().all(is_status) {
                return Err(wrong());
            }
            filters.push(format!("status:{}", self.status).parse().map_err(|_| wrong())?);
        }
        Ok(Filter::All(filters))
    }

    /// The time range, fixed as of `now`. One that goes back from now begins with a whole minute, so that links that are
    /// fixed by it stay the same for a while, and the first piece of a picture is a whole one.
    ///
    /// # Errors
    /// Which time can't be read and where, or that the range ends before it begins.
    pub fn times(&self, now: Timestamp) -> Result<Times, Problem> {
        let (from, to) = crate::ask::parse_range(Some(&self.from), Some(&self.to))?;
        if from.is_some() || to.is_some() || self.last == ALL {
            return Ok(Times { from, to });
        }
        let (_, _, length) = self.range().ok_or_else(|| {
            let names: Vec<_> = RANGES.iter().map(|(name, ..)| *name).collect();
            Problem::bad_request(format!("last is one of {}, {ALL}", names.join(", ")))
        })?;
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let from = (now.unix_ms() - length).div_euclid(MINUTE_MS) * MINUTE_MS;
        Ok(Times { from: Some(Timestamp::from_unix_ms(from)), to: None })
    }

    /// The range that is asked for, where it is one of [`RANGES`].
    #[must_use]
    pub fn range(&self) -> Option<(&'static str, &'static str, Duration)> {
        let name = if self.last.is_empty() { DEFAULT_RANGE } else { &self.last };
        RANGES.into_iter().find(|(known, ..)| *known == name)
    }

    /// Which range the page marks as chosen: none where times are given.
    #[must_use]
    pub fn chosen(&self) -> &str {
        match (self.from.is_empty() && self.to.is_empty(), self.last.is_empty()) {
            (false, _) => "",
            (true, true) => DEFAULT_RANGE,
            (true, false) => &self.last,
        }
    }

    /// The same with another value, from the begin of its lines. An empty value takes it away.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut params = Self { cursor: String::new(), before: String::new(), ..self.clone() };
        let place = match name {
            "q" => &mut params.q,
            "level" => &mut params.level,
            "service" => &mut params.service,
            "project" => &mut params.project,
            "endpoint" => &mut params.endpoint,
            "status" => &mut params.status,
            "last" => {
                (params.from, params.to) = (String::new(), String::new());
                &mut params.last
            }
            "cursor" => &mut params.cursor,
            "before" => &mut params.before,
            _ => return params,
        };
        value.clone_into(place);
        params
    }

    /// The same with a fixed time range.
    #[must_use]
    pub fn within(&self, Times { from, to }: Times) -> Self {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let last = if from.is_none() && to.is_none() { ALL.to_owned() } else { String::new() };
        Self { from: text(from), to: text(to), last, cursor: String::new(), before: String::new(), ..self.clone() }
    }

    /// The same of any time, from the begin of its lines: what a tail follows.
    #[must_use]
    pub fn timeless(&self) -> Self {
        let Self { q, level, service, project, endpoint, status, .. } = self.clone();
        Self { q, level, service, project, endpoint, status, ..Self::default() }
    }

    /// The address of a page with this.
    #[must_use]
    pub fn href(&self, path: &str) -> String {
        let pairs: Vec<_> = self
            .pairs()
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    fn pairs(&self) -> [(&'static str, &str); 12] {
        [
            ("q", &self.q),
            ("level", &self.level),
            ("service", &self.service),
            ("project", &self.project),
            ("endpoint", &self.endpoint),
            ("status", &self.status),
            ("from", &self.from),
            ("to", &self.to),
            ("last", &self.last),
            ("words", &self.words),
            ("cursor", &self.cursor),
            ("before", &self.before),
        ]
    }

    /// What narrows the lines, each with a link that takes it away.
    #[must_use]
    pub fn chips(&self, path: &str) -> Vec<(String, String)> {
        let mut chips: Vec<_> = ["level", "service", "project", "endpoint", "status"]
            .into_iter()
            .zip([&self.level, &self.service, &self.project, &self.endpoint, &self.status])
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (format!("{name}: {value}"), self.with(name, "").href(path)))
            .collect();
        if !self.from.is_empty() || !self.to.is_empty() {
            let side = |text: &str, open: &str| if text.is_empty() { open.to_owned() } else { text.to_owned() };
            let words = format!("{} to {}", side(&self.from, "first line"), side(&self.to, "now"));
            chips.push((words, self.with("last", "").href(path)));
        }
        chips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_becomes_a_filter_or_is_refused_with_its_place() {
        let params = Params { q: "paid".into(), level: "warn+".into(), status: "5xx".into(), ..Params::default() };
        let Filter::All(filters) = params.filter(&NamedFields::default()).unwrap() else { panic!() };
        assert_eq!(filters.len(), 3);
        assert_eq!(filters[1], Filter::levels([Level::Warn, Level::Error]));
        for params in [
            Params { q: "level:".into(), ..Params::default() },
            Params { level: "loud".into(), ..Params::default() },
            Params { status: "5".into(), ..Params::default() },
            Params { status: "x:1".into(), ..Params::default() },
        ] {
            assert!(params.filter(&NamedFields::default()).is_err(), "{params:?}");
        }
        assert_eq!(Params::default().filter(&NamedFields::default()).unwrap(), Filter::EVERY);
    }

    #[test]
    fn a_range_is_one_that_is_offered_or_two_times() {
        let now = Timestamp::from_unix_ms(10_000_000_000);
        let of = |from: &str, to: &str, last: &str| {
            Params { from: from.into(), to: to.into(), last: last.into(), ..Params::default() }.times(now)
        };
        assert_eq!(of("2026-11-24", "", "").unwrap().from, Timestamp::parse(b"2026-11-24T00:00:00Z"));
        // A quarter of an hour, and what is missing to a whole minute.
        assert_eq!(of("", "", "15m").unwrap().from, Some(Timestamp::from_unix_ms(10_000_000_000 - 900_000 - 40_000)));
        assert!(of("", "", "all").unwrap().from.is_none());
        for (from, to, last) in
            [("soon", "", ""), ("", "2026-13-01", ""), ("2026-11-24", "2026-11-23", ""), ("", "", "2y")]
        {
            assert!(of(from, to, last).is_err(), "{from} {to} {last}");
        }
    }

    #[test]
    fn an_address_says_it_all_and_nothing_in_it_leaves_its_place() {
        let params = Params { q: "a&b=\"c\"".into(), cursor: "x".into(), ..Params::default() };
        assert_eq!(params.href("/search"), "/search?q=a%26b%3D%22c%22&cursor=x");
        assert_eq!(params.with("service", "s").href("/search"), "/search?q=a%26b%3D%22c%22&service=s");
        assert_eq!(Params::default().href("/search"), "/search");
        assert_eq!(
            Params { level: "warn".into(), ..Params::default() }.chips("/tail"),
            [("level: warn".into(), "/tail".into())]
        );
    }
}
