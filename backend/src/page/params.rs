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

    /// The time range, fixed as of `now`.
    ///
    /// # Errors
    /// Which time can't be read.
    pub fn times(&self, now: Timestamp) -> Result<Times, Problem> {
        let (from, to) = (time("from", &self.from)?, time("to", &self.to)?);
        if from.is_some() || to.is_some() || self.last == ALL {
            return Ok(Times { from, to });
        }
        let (_, _, length) = self.range().ok_or_else(|| {
            let names: Vec<_> = RANGES.iter().map(|(name, ..)| *name).collect();
            Problem::bad_request(format!("last is one of {}, {ALL}", names.join(", ")))
        })?;
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        Ok(Times { from: Some(Timestamp::from_unix_ms(now.unix_ms() - length)), to: None })
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
        let mut params = Self { cursor: String::new(), ..self.clone() };
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
            _ => return params,
        };
        value.clone_into(place);
        params
    }

    /// The same with a fixed time range.
    #[must_use]
    pub fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let last = if from.is_none() && to.is_none() { ALL.to_owned() } else { String::new() };
        Self { from: text(from), to: text(to), last, cursor: String::new(), ..self.clone() }
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

    fn pairs(&self) -> [(&'static str, &str); 11] {
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
            let words = format!("{} to {}", side(&self.from, "the first line"), side(&self.to, "now"));
            chips.push((words, self.with("last", "").href(path)));
        }
        chips
    }
}

/// A time as a person or a browser's own field writes it: RFC 3339, or without a zone, which is UTC.
fn time(name: &str, text: &str) -> Result<Option<Timestamp>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = if text.len() == "2026-11-24T10:00".len() { ":00" } else { "" };
    let readings = [text.to_owned(), format!("{text}{seconds}Z"), format!("{text}T00:00:00Z")];
    match readings.iter().find_map(|text| Timestamp::parse(text.as_bytes())) {
        Some(time) => Ok(Some(time)),
        None => Err(Problem::bad_request(format!("{name} is a time such as 2026-11-24T10:00, in UTC"))),
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
    fn times_are_read_as_people_and_browsers_write_them() {
        let now = Timestamp::from_unix_ms(10_000_000_000);
        let of =
            |from: &str, last: &str| Params { from: from.into(), last: last.into(), ..Params::default() }.times(now);
        let expected = Timestamp::parse(b"2026-11-24T10:00:00Z");
        for text in ["2026-11-24T10:00", "2026-11-24T10:00:00", "2026-11-24T10:00:00Z"] {
            assert_eq!(of(text, "").unwrap().from, expected, "{text}");
        }
        assert_eq!(of("2026-11-24", "").unwrap().from, Timestamp::parse(b"2026-11-24T00:00:00Z"));
        assert_eq!(of("", "15m").unwrap().from, Some(Timestamp::from_unix_ms(10_000_000_000 - 900_000)));
        assert!(of("", "all").unwrap().from.is_none() && of("soon", "").is_err() && of("", "2y").is_err());
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
