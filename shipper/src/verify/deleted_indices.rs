//! Attributes missing lines to deleted indices. An index life cycle of an engine deletes whole indices of old days and
//! keeps no record of their contents.
//!
//! The index of a line that can still be read is known. If only a sum shows that something is missing, its days are
//! those between the days of the neighbouring lines, or since the source started, or until it ended; if one of these
//! days has no index any more, that index is reported. So a line missing for another reason next to such a day is
//! attributed to the deleted index too, unless it can still be read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use store::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// No index is named for a gap that may span more days than this.
const DAYS_MAX: i64 = 4_000;

/// Maximum number of indices that are counted separately.
const INDICES_MAX: usize = 1_000;

/// The existing indices, and whether older ones are expected to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Indices {
    /// Prefix of their names.
    pub prefix: String,
    /// Indices with documents; `None` for a store without indices.
    pub present: Option<BTreeSet<String>>,
    /// Whether lines of deleted indices do not count as missing.
    pub deletion_is_expected: bool,
}

/// Lines missing because their index was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Number of lines, as far as they could be counted.
    pub lines: u64,
    /// Their length at the source.
    pub bytes: u64,
}

/// Missing lines by deleted index, or by the first and last of the deleted indices.
pub type ByIndex = BTreeMap<String, Amount>;

/// Adds lines of a deleted index.
pub(super) fn add(to: &mut ByIndex, index: String, lines: u64, bytes: u64) {
    let others = || "others".to_owned();
    let index = if to.len() < INDICES_MAX || to.contains_key(&index) { index } else { others() };
    let amount = to.entry(index).or_default();
    amount.lines += lines;
    amount.bytes += bytes;
}

impl Indices {
    /// Whether there is no index of this name, or an empty one.
    #[must_use]
    pub fn is_deleted(&self, name: &str) -> bool {
        self.present.as_ref().is_some_and(|present| !present.contains(name))
    }

    /// The deleted indices of the days between two lines, given the names of their indices. Without a line, the days
    /// from `begun_unix_ms`, or until `ended_unix_ms`. Returns one name, or the first and the last.
    pub(super) fn deleted_between(
        &self,
        lines: (Option<&str>, Option<&str>),
        begun_unix_ms: i64,
        ended_unix_ms: i64,
    ) -> Option<String> {
        let day = |name: Option<&str>| self.day_of(name?);
        let (from, to) = match (day(lines.0), day(lines.1)) {
            (Some(before), Some(after)) => (before.min(after), before.max(after)),
            // Lines may be older than their source, such as logs shipped late. The life cycle has deleted up to the day
            // before the oldest existing index.
            (None, Some(after)) => (begun_unix_ms.min(after - DAY_MS), after),
            (Some(before), None) => (before, ended_unix_ms.max(before)),
            (None, None) => (begun_unix_ms, ended_unix_ms.max(begun_unix_ms)),
        };
        let (from, to) = (from.div_euclid(DAY_MS), to.div_euclid(DAY_MS));
        if to - from > DAYS_MAX {
            return None;
        }
        let name = |day: i64| format!("{}-{}", self.prefix, Timestamp::from_unix_ms(day * DAY_MS).day());
        let deleted: Vec<_> = (from..=to).map(name).filter(|name| self.is_deleted(name)).collect();
        match deleted.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            [first, .., last] => Some(format!("{first} to {last}")),
        }
    }

    /// The start of an index's day.
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
            deletion_is_expected: false,
        };
        let deleted = |before, after| indices.deleted_between((before, after), at("18"), at("25"));
        let [twentieth, third, fourth] = present.each_ref().map(|name| Some(name.as_str()));
        assert_eq!(deleted(twentieth, third).unwrap(), "logs-2026.11.21 to logs-2026.11.22");
        assert_eq!(deleted(third, twentieth), deleted(twentieth, third), "lines may come in any order of their times");
        assert_eq!(deleted(third, fourth), None);
        assert_eq!(deleted(fourth, None).unwrap(), "logs-2026.11.25");
        assert_eq!(deleted(None, twentieth).unwrap(), "logs-2026.11.18 to logs-2026.11.19");
        assert_eq!(indices.deleted_between((None, third), at("25"), at("26")).unwrap(), "logs-2026.11.22");
        assert_eq!(deleted(Some("other-2026.11.23"), third).unwrap(), "logs-2026.11.18 to logs-2026.11.22");
        assert_eq!(
            Indices::default().deleted_between((None, None), at("18"), at("25")),
            None,
            "it has none that could go"
        );
    }
}
