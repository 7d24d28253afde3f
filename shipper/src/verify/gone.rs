//! Which of what is missing went with its index: an engine's life cycle removes the indices of old days whole, and keeps no
//! record of what was in them.
//!
//! Of a line that can still be read its index is known. Where only sums tell that something is missing, its days are those
//! between the days of the lines around it, or since the source began, or until it ended; where one of these has no
//! index any more, that is what is said. So lines that are missing for another reason beside such a day are not told
//! apart from it, unless they can still be read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use store::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Of a gap that may be of more days than this, no index is named.
const DAYS_MAX: i64 = 4_000;

/// Of this many indices what is missing is told apart.
const INDICES_MAX: usize = 1_000;

/// The indices that there are, and whether it is as it must be that older ones are gone.
#[derive(Clone, Debug, Default)]
pub struct Indices {
    /// What their names begin with.
    pub prefix: String,
    /// Those that hold something; `None` of a store without indices.
    pub present: Option<BTreeSet<String>>,
    /// What went with its index is not missing.
    pub removal_is_expected: bool,
}

/// What is missing because its index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Lines, as far as they could be counted.
    pub lines: u64,
    /// Their lengths at their source.
    pub bytes: u64,
}

/// What is missing, by the index, or the first and the last of the indices, that it went with.
pub type WithIndex = BTreeMap<String, Amount>;

/// Adds up what went with an index.
pub(super) fn add(to: &mut WithIndex, index: String, lines: u64, bytes: u64) {
    let others = || "others".to_owned();
    let index = if to.len() < INDICES_MAX || to.contains_key(&index) { index } else { others() };
    let amount = to.entry(index).or_default();
    amount.lines += lines;
    amount.bytes += bytes;
}

impl Indices {
    /// Whether an index of this name is gone, or empty.
    #[must_use]
    pub fn lack(&self, name: &str) -> bool {
        self.present.as_ref().is_some_and(|present| !present.contains(name))
    }

    /// The indices that are gone of the days between two lines, by the names of their indices; without a line, from
    /// `begun_unix_ms`, to `ended_unix_ms`. As one name, or the first and the last.
    pub(super) fn gone_between(
        &self,
        lines: (Option<&str>, Option<&str>),
        begun_unix_ms: i64,
        ended_unix_ms: i64,
    ) -> Option<String> {
        let day = |name: Option<&str>| self.day_of(name?);
        let (from, to) = match (day(lines.0), day(lines.1)) {
            (Some(before), Some(after)) => (before.min(after), before.max(after)),
            // Lines older than their source, such as of logs that are shipped late: the life cycle came as far as the
            // day before those that are there.
            (None, Some(after)) => (begun_unix_ms.min(after - DAY_MS), after),
            (Some(before), None) => (before, ended_unix_ms.max(before)),
            (None, None) => (begun_unix_ms, ended_unix_ms.max(begun_unix_ms)),
        };
        let (from, to) = (from.div_euclid(DAY_MS), to.div_euclid(DAY_MS));
        if to - from > DAYS_MAX {
            return None;
        }
        let name = |day: i64| format!("{}-{}", self.prefix, Timestamp::from_unix_ms(day * DAY_MS).day());
        let gone: Vec<_> = (from..=to).map(name).filter(|name| self.lack(name)).collect();
        match gone.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            [first, .., last] => Some(format!("{first} to {last}")),
        }
    }

    /// The beginning of an index's day.
    fn day_of(&self, name: &str) -> Option<i64> {
        let day = name.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?;
        let time = format!("{}T00:00:00Z", day.replace('.', "-"));
        Some(Timestamp::parse(time.as_bytes())?.unix_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_without_an_index_are_found_around_a_gap() {
        let at = |day: &str| Timestamp::parse(format!("2026-11-{day}T08:00:00Z").as_bytes()).unwrap().unix_ms();
        let present = ["20", "23", "24"].map(|day| format!("logs-2026.11.{day}"));
        let indices = Indices {
            prefix: "logs".to_owned(),
            present: Some(present.clone().into_iter().collect()),
            removal_is_expected: false,
        };
        let gone = |before, after| indices.gone_between((before, after), at("18"), at("25"));
        let [twentieth, third, fourth] = present.each_ref().map(|name| Some(name.as_str()));
        assert_eq!(gone(twentieth, third).unwrap(), "logs-2026.11.21 to logs-2026.11.22");
        assert_eq!(gone(third, twentieth), gone(twentieth, third), "lines may come in any order of their times");
        assert_eq!(gone(third, fourth), None);
        assert_eq!(gone(fourth, None).unwrap(), "logs-2026.11.25");
        assert_eq!(gone(None, twentieth).unwrap(), "logs-2026.11.18 to logs-2026.11.19");
        assert_eq!(indices.gone_between((None, third), at("25"), at("26")).unwrap(), "logs-2026.11.22");
        assert_eq!(gone(Some("other-2026.11.23"), third).unwrap(), "logs-2026.11.18 to logs-2026.11.22");
        assert_eq!(
            Indices::default().gone_between((None, None), at("18"), at("25")),
            None,
            "it has none that could go"
        );
    }
}
