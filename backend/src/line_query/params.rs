//! The values of the parameters that choose lines, and links that carry them.

use crate::line_query::param::Param;
use crate::line_query::range::{ALL_TIME, TimeRange};
use crate::paths::encode;

/// The values of the parameters that choose lines, as a URL has them. An empty value is the same as an absent one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineParams([String; Param::ALL.len()]);

/// The same without a time range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterParams(pub LineParams);

impl LineParams {
    /// The value of a parameter, empty if it is absent.
    #[must_use]
    pub fn get(&self, param: Param) -> &str {
        &self.0[param as usize]
    }

    /// The value of a parameter, if it is present.
    #[must_use]
    pub fn given(&self, param: Param) -> Option<&str> {
        Some(self.get(param)).filter(|value| !value.is_empty())
    }

    /// A copy with another value; an empty one removes the parameter. [`Param::Last`] replaces `from` and `to`.
    #[must_use]
    pub fn with(&self, param: Param, value: &str) -> Self {
        let mut params = self.clone();
        if param == Param::Last {
            params.0[Param::From as usize].clear();
            params.0[Param::To as usize].clear();
        }
        value.trim().clone_into(&mut params.0[param as usize]);
        params
    }

    /// A copy with this time range unless one is given.
    #[must_use]
    pub fn or_last(&self, last: &str) -> Self {
        if self.has_range() { self.clone() } else { self.with(Param::Last, last) }
    }

    /// A copy with a fixed time range.
    #[must_use]
    pub fn within(&self, TimeRange { from, to }: TimeRange) -> Self {
        let last = if from.is_none() && to.is_none() { ALL_TIME } else { "" };
        let mut params = self.with(Param::Last, last);
        for (param, time) in [(Param::From, from), (Param::To, to)] {
            params.0[param as usize] = time.map(|time| time.to_string()).unwrap_or_default();
        }
        params
    }

    /// A copy without a time range.
    #[must_use]
    pub fn filters(&self) -> Self {
        self.with(Param::Last, "")
    }

    fn has_range(&self) -> bool {
        [Param::From, Param::To, Param::Last].into_iter().any(|param| self.given(param).is_some())
    }

    /// Sets a value as it was read from a URL.
    pub(super) fn set(&mut self, param: Param, value: &str) {
        value.trim().clone_into(&mut self.0[param as usize]);
    }

    /// A URL with these parameters.
    #[must_use]
    pub fn href(&self, path: &str) -> String {
        self.href_with(path, &[])
    }

    /// A URL with these parameters and some of the route's own.
    #[must_use]
    pub fn href_with(&self, path: &str, own: &[(&str, &str)]) -> String {
        let lines = Param::ALL.into_iter().filter_map(|param| Some((param.name(), self.given(param)?)));
        let pairs: Vec<_> =
            lines.chain(own.iter().copied()).map(|(name, value)| format!("{name}={}", encode(value))).collect();
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    /// The filters that are set, each with a link that removes it.
    #[must_use]
    pub fn chips(&self, path: &str) -> Vec<(String, String)> {
        let removed = |param: Param| self.with(param, "").href(path);
        let filters = Param::FILTERS.into_iter().filter(|param| *param != Param::Query);
        let mut chips: Vec<_> = filters
            .filter_map(|param| Some((format!("{}: {}", param.name(), self.given(param)?), removed(param))))
            .collect();
        let (from, to) = (self.given(Param::From), self.given(Param::To));
        if from.is_some() || to.is_some() {
            let text = format!("{} to {}", from.unwrap_or("first line"), to.unwrap_or("now"));
            chips.push((text, removed(Param::Last)));
        }
        chips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_encode_values_and_omit_empty_ones() {
        let params = LineParams::default().with(Param::Query, " a&b=\"c\" ");
        assert_eq!(params.href("/search"), "/search?query=a%26b%3D%22c%22");
        assert_eq!(params.href_with("/search", &[("cursor", "x")]), "/search?query=a%26b%3D%22c%22&cursor=x");
        assert_eq!(params.with(Param::Service, "s").href("/search"), "/search?query=a%26b%3D%22c%22&service=s");
        assert_eq!(LineParams::default().href("/search"), "/search");
        let params = LineParams::default().with(Param::Level, ">=warn");
        assert_eq!(params.chips("/tail"), [("level: >=warn".into(), "/tail".into())]);
    }

    #[test]
    fn a_time_range_replaces_another() {
        let from = store::Timestamp::parse(b"2026-11-24T10:00:00Z");
        let fixed = LineParams::default().with(Param::Last, "1h").within(TimeRange { from, to: None });
        assert_eq!((fixed.given(Param::Last), fixed.get(Param::From)), (None, "2026-11-24T10:00:00.000000Z"));
        assert_eq!(fixed.with(Param::Last, "6h").href("/"), "/?last=6h");
        assert_eq!(fixed.or_last("24h"), fixed);
        assert_eq!(LineParams::default().or_last("24h").href("/"), "/?last=24h");
        assert_eq!(LineParams::default().within(TimeRange::default()).href("/"), "/?last=all");
    }
}
