//! Runs: a fixed number of consecutive lines with an index, their times and their durations.
//!
//! A run is identified by the id of its first line. Once all small runs of a large one exist, they are
//! [merged](crate::sqlite::merge) into it, so that a search examines few; [`Sizes`](crate::sqlite::sizes::Sizes)
//! defines the lengths of both. A run is written sequentially and never changed, which keeps writes cheap.
//!
//! `times` are varints: the distance in microseconds from the previous line's time, starting from 0, in zigzag
//! encoding. `durations` are pairs of varints: the distance from the previous index, and the duration. The duration is
//! `microseconds << 1` if that is exact, or else 1 and the eight bytes of the number.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::bits::{put_varint, take_varint, unzigzag, zigzag};
use crate::sqlite::sizes::Sizes;

/// Durations of this value or more are stored as floating-point numbers.
const EXACT_BELOW_MICROS: f64 = 9_007_199_254_740_992.0;

/// A run to be written.
pub(crate) struct Run<'a> {
    pub(crate) first: i64,
    pub(crate) times: &'a [i64],
    /// Indices and milliseconds.
    pub(crate) durations: &'a [(u16, f64)],
}

/// A run in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunInfo {
    pub(crate) first: i64,
    pub(crate) lines: usize,
    /// Earliest and latest time of the lines.
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Key of the run's terms.
    pub(crate) terms: i64,
}

impl RunInfo {
    /// Whether it has `lines` lines.
    pub(crate) fn is_of(&self, lines: i64) -> bool {
        i64::try_from(self.lines) == Ok(lines)
    }

    /// Returns the id after the last line's.
    pub(crate) fn end(&self) -> i64 {
        self.first + i64::try_from(self.lines).unwrap_or(i64::MAX)
    }
}

/// Returns the key of the terms of a merged large run, which no small run uses.
pub(crate) const fn merged_key(first: i64) -> i64 {
    !first
}

/// Writes a run whose terms are already written. `terms` is their key unless that is the id of its first line.
pub(crate) fn put(connection: &Connection, run: &Run<'_>, terms: Option<i64>) -> rusqlite::Result<()> {
    let (earliest, latest) = (run.times.iter().min(), run.times.iter().max());
    let insert = "INSERT INTO runs (first, lines, earliest, latest, times, durations, terms)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let lines = i64::try_from(run.times.len()).unwrap_or(i64::MAX);
    let (times, durations) = (times_bytes(run.times), durations_bytes(run.durations));
    connection.prepare_cached(insert)?.execute(params![run.first, lines, earliest, latest, times, durations, terms])?;
    Ok(())
}

/// Deletes runs. Their terms are [cleared](crate::sqlite::merge::clear) step by step.
pub(crate) fn remove(connection: &Connection, firsts: Range<i64>) -> rusqlite::Result<()> {
    let mut stale = connection.prepare_cached(
        r#"INSERT INTO stale (first, "end") VALUES (?1, ?2) ON CONFLICT DO UPDATE SET "end" = max("end", excluded."end")"#,
    )?;
    let runs = infos(connection, firsts.clone())?;
    if let Some(last) = runs.iter().rfind(|run| run.terms == run.first) {
        stale.execute([firsts.start, last.first + 1])?;
    }
    for run in runs.iter().filter(|run| run.terms != run.first) {
        stale.execute([run.terms, run.terms + 1])?;
    }
    connection
        .prepare_cached("DELETE FROM runs WHERE first >= ?1 AND first < ?2")?
        .execute(params![firsts.start, firsts.end])?;
    Ok(())
}

/// Marks the terms of an unfinished merge as stale, because one of its small runs is being deleted.
pub(crate) fn discard_merge(connection: &Connection, run: i64, sizes: Sizes) -> rusqlite::Result<()> {
    let key = merged_key(run - run % sizes.large);
    let merged = "SELECT count(*) FROM runs INDEXED BY runs_directory WHERE terms = ?1";
    if connection.prepare_cached(merged)?.query_row([key], |row| row.get::<_, i64>(0))? == 0 {
        let insert = r#"INSERT INTO stale (first, "end") VALUES (?1, ?2) ON CONFLICT DO NOTHING"#;
        connection.prepare_cached(insert)?.execute([key, key + 1])?;
    }
    Ok(())
}

/// Returns the runs whose first line is in a range of ids, in order.
pub(crate) fn infos(connection: &Connection, firsts: Range<i64>) -> rusqlite::Result<Vec<RunInfo>> {
    let select = "SELECT first, lines, earliest, latest, coalesce(terms, first) FROM runs INDEXED BY runs_directory
                  WHERE first >= ?1 AND first < ?2 ORDER BY first";
    let mut statement = connection.prepare_cached(select)?;
    let infos = statement.query_map(params![firsts.start, firsts.end], |row| {
        let lines = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok(RunInfo { first: row.get(0)?, lines, earliest: row.get(2)?, latest: row.get(3)?, terms: row.get(4)? })
    })?;
    infos.collect()
}

/// Returns the id of the first line that is not in a run.
pub(crate) fn end(connection: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT first + lines FROM runs INDEXED BY runs_directory ORDER BY first DESC LIMIT 1";
    let end: Option<i64> = connection.prepare_cached(last)?.query_row([], |row| row.get(0)).optional()?;
    let removed: i64 = connection.prepare_cached("SELECT through + 1 FROM removed")?.query_row([], |row| row.get(0))?;
    Ok(end.unwrap_or(0).max(removed))
}

fn times_bytes(times: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(times.len() * 2);
    let mut last = 0_i64;
    for time in times {
        put_varint(&mut bytes, zigzag(time.wrapping_sub(last)));
        last = *time;
    }
    bytes
}

/// Returns the time of each line of a run, in microseconds since the Unix epoch. Returns nothing if the run was
/// deleted.
pub(crate) fn times(connection: &Connection, first: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached("SELECT times FROM runs WHERE first = ?1")?;
    let times = statement.query_row([first], |row| {
        let mut bytes = row.get_ref(0)?.as_blob()?;
        let (mut times, mut last) = (Vec::with_capacity(bytes.len() / 2), 0_i64);
        while !bytes.is_empty() {
            last = last.wrapping_add(unzigzag(take_varint(&mut bytes)));
            times.push(last);
        }
        Ok(times)
    });
    Ok(times.optional()?.unwrap_or_default())
}

fn durations_bytes(durations: &[(u16, f64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(durations.len() * 4);
    let mut last = 0;
    for (index, value) in durations {
        put_varint(&mut bytes, u64::from(index - last));
        last = *index;
        match micros(*value) {
            Some(micros) => put_varint(&mut bytes, micros << 1),
            None => {
                put_varint(&mut bytes, 1);
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    bytes
}

/// Returns a duration in whole microseconds if the conversion is exact in both directions.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies within")]
fn micros(value: f64) -> Option<u64> {
    let micros = (value * 1_000.0).round();
    let fits = (0.0..EXACT_BELOW_MICROS).contains(&micros);
    (fits && (micros / 1_000.0).to_bits() == value.to_bits()).then_some(micros as u64)
}

/// Returns the durations of a run's lines in milliseconds, with their indices, which do not decrease.
#[expect(clippy::cast_precision_loss, reason = "what micros() took is exact")]
pub(crate) fn durations(connection: &Connection, first: i64) -> rusqlite::Result<Vec<(u16, f64)>> {
    let mut statement = connection.prepare_cached("SELECT durations FROM runs WHERE first = ?1")?;
    let durations = statement.query_row([first], |row| {
        let mut bytes = row.get_ref(0)?.as_blob()?;
        let (mut durations, mut index) = (Vec::with_capacity(bytes.len() / 4), 0_u16);
        while !bytes.is_empty() {
            index = index.wrapping_add(u16::try_from(take_varint(&mut bytes)).unwrap_or(0));
            let value = take_varint(&mut bytes);
            if value & 1 == 0 {
                durations.push((index, (value >> 1) as f64 / 1_000.0));
            } else if let Some((exact, rest)) = bytes.split_first_chunk() {
                durations.push((index, f64::from_le_bytes(*exact)));
                bytes = rest;
            } else {
                break;
            }
        }
        Ok(durations)
    });
    Ok(durations.optional()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_and_durations_round_trip(
            times in prop::collection::vec(any::<i64>(), 1..50),
            values in prop::collection::vec((0..1_000_u16, prop_oneof![0.0..1e9_f64, any::<f64>().prop_filter("finite", |v| v.is_finite()), (0..1_000_000_u32).prop_map(|m| f64::from(m) / 1_000.0)]), 0..50),
        ) {
            let mut connection = Connection::open_in_memory().unwrap();
            crate::sqlite::schema::create(&mut connection).unwrap();
            let mut values = values;
            values.sort_by_key(|(index, _)| *index);
            put(&connection, &Run { first: 0, times: &times, durations: &values }, None).unwrap();
            prop_assert_eq!(super::times(&connection, 0).unwrap(), times);
            prop_assert_eq!(durations(&connection, 0).unwrap(), values);
        }
    }
}
