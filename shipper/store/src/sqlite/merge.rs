//! Merges small runs into large ones, in small steps so that no write is delayed for long.
//!
//! Once all small runs of a large one exist, their terms are merged in order, under a key that no run uses yet. Each
//! [`step`] continues after the last term written, so that the progress is part of the file, and the merge can be
//! interrupted anywhere. The last step replaces the small runs by the large one. Their terms are recorded in `stale`,
//! and deleted by later steps.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::bits;
use crate::sqlite::ids;
use crate::sqlite::runs::{self, Run};
use crate::sqlite::sizes::Sizes;
use crate::sqlite::terms::{self, BlockWriter, TermReader};

/// Approximate number of steps in which a large run is merged. [`TURNS`] leaves room for more than half as many again
/// before the next large run is complete.
const STEPS: i64 = 10;

/// Number of times a step is run while the lines of a large run arrive.
const TURNS: i64 = 16;

/// Number of term blocks that one step deletes.
const STALE_BLOCKS: i64 = 512;

/// Whether a step is due after the small run that ends here.
pub(crate) fn is_due(end: i64, sizes: Sizes) -> bool {
    end / sizes.small % (sizes.small_per_large() / TURNS).max(1) == 0
}

/// Runs one step. Returns whether there was anything to do.
pub(crate) fn step(connection: &Connection, sizes: Sizes) -> rusqlite::Result<bool> {
    Ok(clear(connection, STALE_BLOCKS)? || merge(connection, sizes)? || ids::group_next(connection, sizes)?)
}

/// Returns a range of keys of deleted runs whose terms still exist, end exclusive.
pub(crate) fn stale_range(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    let stale = r#"SELECT first, "end" FROM stale LIMIT 1"#;
    connection.prepare_cached(stale)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Reads the blocks that [`clear`] deletes next.
pub(crate) fn read_stale(connection: &Connection, blocks: i64) -> rusqlite::Result<()> {
    let Some((first, end)) = stale_range(connection)? else { return Ok(()) };
    let mut data = connection.prepare_cached("SELECT data FROM terms WHERE run >= ?1 AND run < ?2 LIMIT ?3")?;
    let mut data = data.query([first, end, blocks])?;
    while let Some(row) = data.next()? {
        row.get_ref(0)?;
    }
    Ok(())
}

/// Deletes some terms of deleted runs. Returns whether there were any.
pub(crate) fn clear(connection: &Connection, blocks: i64) -> rusqlite::Result<bool> {
    let Some((first, end)) = stale_range(connection)? else { return Ok(false) };
    let delete = "DELETE FROM terms WHERE rowid IN (SELECT rowid FROM terms WHERE run >= ?1 AND run < ?2 LIMIT ?3)";
    let deleted = connection.prepare_cached(delete)?.execute(params![first, end, blocks])?;
    if i64::try_from(deleted).unwrap_or(i64::MAX) < blocks {
        connection.prepare_cached("DELETE FROM stale WHERE first = ?1")?.execute([first])?;
    }
    Ok(true)
}

/// Returns the first line's id of the oldest large run whose small runs are complete.
fn next_due(connection: &Connection, sizes: Sizes) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT first / ?1 * ?1 FROM runs INDEXED BY runs_directory WHERE lines = ?2 AND ?2 < ?1
                  GROUP BY 1 HAVING count(*) = ?3 ORDER BY 1 LIMIT 1";
    let mut statement = connection.prepare_cached(select)?;
    statement.query_row(params![sizes.large, sizes.small, sizes.small_per_large()], |row| row.get(0)).optional()
}

/// Merges some terms of a large run. Returns whether there was a run to merge.
fn merge(connection: &Connection, sizes: Sizes) -> rusqlite::Result<bool> {
    let Some(first) = next_due(connection, sizes)? else { return Ok(false) };
    let (end, key) = (first + sizes.large, runs::merged_key(first));
    let after = terms::last(connection, key)?;
    let blocks = "SELECT count(*) FROM terms WHERE run >= ?1 AND run < ?2";
    let blocks: i64 = connection.prepare_cached(blocks)?.query_row([first, end], |row| row.get(0))?;
    let mut left = blocks / STEPS + 1;

    let mut cursors = BinaryHeap::new();
    for run in runs::infos(connection, first..end)? {
        let base = u16::try_from(run.first - first).unwrap_or(u16::MAX);
        let reader = TermReader::after(connection, run.terms, after.as_deref())?;
        cursors.extend(reader.map(|reader| MergeCursor { reader, base, lines: run.lines }));
    }
    let mut writer = BlockWriter::new(connection, key);
    let (mut term, mut indices, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    while left > 0
        && let Some(cursor) = cursors.peek()
    {
        term.clear();
        term.extend_from_slice(cursor.reader.term());
        indices.clear();
        while let Some(mut cursor) = cursors.peek_mut()
            && cursor.reader.term() == term
        {
            cursor.add_to(&mut indices);
            let read = cursor.reader.blocks();
            if !cursor.reader.advance(connection)? {
                drop(PeekMut::pop(cursor));
            } else if cursor.reader.blocks() > read {
                left -= 1;
            }
        }
        bytes.clear();
        bits::encode(&mut bytes, &indices, usize::try_from(sizes.large).unwrap_or(bits::RUN_MAX));
        writer.push(&term, &bytes)?;
    }
    writer.finish()?;
    if cursors.is_empty() {
        replace_small_runs(connection, first..end, key)?;
    }
    Ok(true)
}

/// Replaces the small runs by the large run, whose terms are complete.
fn replace_small_runs(connection: &Connection, lines: Range<i64>, key: i64) -> rusqlite::Result<()> {
    let (mut times, mut durations) = (Vec::new(), Vec::new());
    for run in runs::infos(connection, lines.clone())? {
        let base = u16::try_from(run.first - lines.start).unwrap_or(u16::MAX);
        times.extend(runs::times(connection, run.first)?);
        let own = runs::durations(connection, run.first)?;
        durations.extend(own.into_iter().map(|(index, value)| (base + index, value)));
    }
    runs::remove(connection, lines.clone())?;
    runs::put(connection, &Run { first: lines.start, times: &times, durations: &durations }, Some(key))?;
    ids::remove(connection, lines.start, lines.end)?;
    ids::put_large(connection, lines.start, key)
}

/// A small run's terms, and the index of its first line in the large run. The smallest term comes first, and the
/// earliest run among equal ones. The order is reversed, because a heap returns the greatest element.
struct MergeCursor {
    reader: TermReader,
    base: u16,
    lines: usize,
}

impl MergeCursor {
    fn add_to(&self, indices: &mut Vec<u16>) {
        bits::each(self.reader.set(), self.lines, |index| {
            indices.push(self.base + u16::try_from(index).unwrap_or(0));
        });
    }
}

impl Ord for MergeCursor {
    fn cmp(&self, other: &Self) -> Ordering {
        other.reader.term().cmp(self.reader.term()).then(other.base.cmp(&self.base))
    }
}

impl PartialOrd for MergeCursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MergeCursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MergeCursor {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sqlite::line::Line;
    use crate::sqlite::schema;
    use crate::sqlite::tail::Tail;

    const SIZES: Sizes = Sizes { small: 16, large: 256, group: 1_024 };

    /// Returns each term of all runs with the ids of its lines.
    fn all_terms(connection: &Connection) -> BTreeMap<Vec<u8>, Vec<i64>> {
        let mut all = BTreeMap::<Vec<u8>, Vec<i64>>::new();
        for run in runs::infos(connection, 0..i64::MAX).unwrap() {
            let add = |term: &[u8], set: &[u8]| {
                let ids = all.entry(term.to_vec()).or_default();
                bits::each(set, run.lines, |index| ids.push(run.first + i64::try_from(index).unwrap()));
            };
            terms::each_with_prefix(connection, run.terms, &[], add).unwrap();
        }
        all
    }

    fn count(connection: &Connection, of: &str) -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
    }

    /// Creates more lines than a large run, each with many words, in small runs.
    fn filled() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let mut tail = Tail::read(&connection, 0).unwrap();
        for line in 0..SIZES.large + SIZES.small {
            let words: Vec<_> = (0..60).map(|word| format!("word{}", (line * 7 + word * 13) % 1_500)).collect();
            let document = format!(
                r#"{{"timestamp":"2026-11-23T18:51:20.123Z","service":"s{}","level":"info","message":"{}","request_id":"r-{}","project_id":null,"duration_ms":{line}}}"#,
                line % 3,
                words.join(" "),
                line / 2
            );
            tail.add(&Line::from_stored(line * 1_000, &document), &document);
            if tail.is_full(SIZES.small) {
                tail.seal(&connection).unwrap();
            }
        }
        connection
    }

    #[test]
    fn a_large_run_is_merged_in_steps_and_invisible_until_complete() {
        let mut connection = filled();
        let expected = all_terms(&connection);
        assert_eq!(count(&connection, "runs"), 17);
        let (mut steps, mut tries) = (0, 0);
        loop {
            tries += 1;
            let transaction = connection.transaction().unwrap();
            let more = step(&transaction, SIZES).unwrap();
            assert_eq!(all_terms(&transaction), expected, "step {steps}");
            // Some steps are rolled back, as with a full disk.
            if tries % 3 == 1 {
                continue;
            }
            transaction.commit().unwrap();
            if !more {
                break;
            }
            steps += 1;
            assert!(steps < 100);
        }
        assert!(steps > 3, "{steps}");
        let infos = runs::infos(&connection, 0..i64::MAX).unwrap();
        let lines: Vec<_> = infos.iter().map(|run| (run.first, run.lines)).collect();
        assert_eq!(lines, [(0, 256), (256, 16)]);
        assert_eq!(count(&connection, "terms WHERE run >= 0 AND run < 256") + count(&connection, "stale"), 0);
        let times = runs::times(&connection, 0).unwrap();
        assert_eq!(times, (0..256).map(|line| line * 1_000).collect::<Vec<_>>());
        assert_eq!(runs::durations(&connection, 0).unwrap()[200], (200, 200.0));
        assert_eq!((infos[0].earliest, infos[0].latest), (0, 255_000));
    }

    #[test]
    fn removing_a_small_run_discards_its_unfinished_merge() {
        let connection = filled();
        assert!(step(&connection, SIZES).unwrap());
        assert!(count(&connection, "terms WHERE run < 0") > 0);
        runs::remove(&connection, 0..16).unwrap();
        runs::discard_merge(&connection, 0, SIZES).unwrap();
        while step(&connection, SIZES).unwrap() {}
        assert_eq!(count(&connection, "terms WHERE run < 16") + count(&connection, "stale"), 0);
        assert_eq!(count(&connection, "runs"), 16);
    }

    #[test]
    fn stale_terms_are_deleted_completely() {
        for blocks in [1, 2, 3] {
            let connection = filled();
            runs::remove(&connection, 0..16).unwrap();
            let there = count(&connection, "terms WHERE run = 0");
            assert!(there > 0 && count(&connection, "stale") == 1);
            let mut steps = 0;
            while clear(&connection, blocks).unwrap() {
                steps += 1;
            }
            assert_eq!(count(&connection, "terms WHERE run = 0") + count(&connection, "stale"), 0, "{blocks} a step");
            assert!(steps >= there / blocks);
        }
    }
}
