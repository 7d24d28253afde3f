//! Deletes the oldest lines: those beyond the maximum age, and as many as the file is too large by.
//!
//! Lines are deleted in order of arrival, a whole run at a time. First the run is deleted, and searches no longer find
//! its lines; then its terms, [`STEP_BLOCKS`] in each step, and its rows, [`STEP_LINES`] in each step. The oldest data
//! is rarely cached, so a reader [reads](read_ahead) what the next step needs from the disk before the step blocks the
//! writer. A step is not synced: if a power loss reverts it, it is repeated. The newest lines, fewer than a run, are
//! kept. Deleted rows are recorded in `retired`, which proves that missing lines of a source were deleted here.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::sqlite::ids;
use crate::sqlite::merge;
use crate::sqlite::runs;
use crate::sqlite::sizes::Sizes;
use crate::timestamp::Timestamp;

/// Number of rows that one step deletes.
const STEP_LINES: i64 = 500;

/// Number of term blocks that one step deletes.
const STEP_BLOCKS: i64 = 250;

/// Number of free pages that one step returns to the file system.
const STEP_PAGES: i64 = 250;

/// Free pages are returned if more than one page in this many is free; the others are kept for new lines.
const FREE_PART: i64 = 4;

/// Without `NOT INDEXED`, SQLite scans the whole index of sources, because it has the order of the grouping.
const RECORD: &str = r#"
INSERT INTO retired (source, lines, bytes, first, last)
SELECT source, count(*), sum(length), min("offset"), max("offset") FROM logs NOT INDEXED WHERE id <= ?1 GROUP BY source
ON CONFLICT (source) DO UPDATE SET lines = lines + excluded.lines, bytes = bytes + excluded.bytes,
    first = min(first, excluded.first), last = max(last, excluded.last)
"#;

const SUM: &str = "SELECT count(*), coalesce(sum(length), 0) FROM logs WHERE id <= ?1";

const DELETE: &str = "DELETE FROM logs WHERE id <= ?1";

const READ_ROWS: &str = r#"SELECT source, "offset", document FROM logs WHERE id <= ?1"#;

const READ_IDENTITY: &str =
    r#"SELECT count(*) FROM logs INDEXED BY logs_by_source WHERE source = ?1 AND "offset" = ?2"#;

/// Retention limits. Without limits, everything is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Maximum age. Lines that are older by their own time are deleted. Times in the future are ignored.
    pub age: Option<Duration>,
    /// Maximum size of the file in bytes, above which the oldest lines are deleted. The WAL is not included; it takes
    /// up to 16 MiB plus the size of one batch.
    pub bytes: Option<u64>,
}

/// The result of one step of retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionStep {
    /// Number of deleted lines.
    pub lines: u64,
    /// Sum of their lengths at their source, in bytes.
    pub bytes: u64,
    /// If there is more to do: how long to let writes proceed before the next step. It is as long as the step blocked
    /// them.
    pub next_after: Option<Duration>,
}

/// The next thing to do.
enum Step {
    /// Delete rows up to this id.
    Rows(i64),
    /// Delete terms of deleted runs.
    Terms,
    /// Delete the oldest run, with this first line and number of lines.
    Run(i64, i64),
}

impl Step {
    fn next(connection: &Connection, policy: &RetentionPolicy, now: Timestamp) -> rusqlite::Result<Option<Self>> {
        let through: i64 = connection.query_row("SELECT through FROM removed", [], |row| row.get(0))?;
        let first: Option<i64> = connection.query_row("SELECT min(id) FROM logs", [], |row| row.get(0))?;
        if let Some(first) = first.filter(|first| *first <= through) {
            return Ok(Some(Self::Rows(through.min(first.saturating_add(STEP_LINES - 1)))));
        }
        if merge::stale_range(connection)?.is_some() {
            return Ok(Some(Self::Terms));
        }
        let oldest = "SELECT first, lines FROM runs INDEXED BY runs_directory ORDER BY first LIMIT 1";
        let oldest =
            connection.prepare_cached(oldest)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((first, lines)): Option<(i64, i64)> = oldest else { return Ok(None) };
        let is_due = is_too_large(connection, policy)? || is_too_old(connection, first, policy, now)?;
        Ok(is_due.then_some(Self::Run(first, lines)))
    }
}

/// Reads what the next step needs, so that it is in the page cache.
pub(crate) fn read_ahead(connection: &Connection, policy: &RetentionPolicy, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    match Step::next(&transaction, policy, now)? {
        Some(Step::Rows(last)) => read_rows(&transaction, last),
        Some(Step::Terms) => merge::read_stale(&transaction, STEP_BLOCKS),
        Some(Step::Run(first, lines)) => {
            runs::durations(&transaction, first)?;
            ids::read(&transaction, first, first + lines, Sizes::read(&transaction)?)
        }
        None => Ok(()),
    }
}

/// Runs one step.
pub(crate) fn step(
    connection: &mut Connection,
    policy: &RetentionPolicy,
    now: Timestamp,
) -> rusqlite::Result<RetentionStep> {
    let started = Instant::now();
    let (lines, bytes, is_more) = run_step(connection, policy, now)?;
    Ok(RetentionStep { lines, bytes, next_after: is_more.then(|| started.elapsed()) })
}

/// Deletes lines. Returns their number, the sum of their lengths, and whether there is more to do.
fn run_step(
    connection: &mut Connection,
    policy: &RetentionPolicy,
    now: Timestamp,
) -> rusqlite::Result<(u64, u64, bool)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut lines, mut bytes) = (0, 0);
    match Step::next(&transaction, policy, now)? {
        Some(Step::Rows(last)) => (lines, bytes) = delete_rows(&transaction, last)?,
        Some(Step::Terms) => drop(merge::clear(&transaction, STEP_BLOCKS)?),
        Some(Step::Run(first, lines)) => delete_run(&transaction, first, lines)?,
        None => {
            drop(transaction);
            return Ok((0, 0, shrink_file(connection)?));
        }
    }
    transaction.commit()?;
    Ok((lines, bytes, true))
}

fn read_rows(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    let mut rows = connection.prepare_cached(READ_ROWS)?;
    let mut identity = connection.prepare_cached(READ_IDENTITY)?;
    let mut rows = rows.query([last])?;
    while let Some(row) = rows.next()? {
        row.get_ref(2)?;
        identity.query_row([row.get::<_, i64>(0)?, row.get(1)?], |_| Ok(()))?;
    }
    Ok(())
}

/// Deletes rows of deleted runs.
fn delete_rows(connection: &Connection, last: i64) -> rusqlite::Result<(u64, u64)> {
    connection.prepare_cached(RECORD)?.execute([last])?;
    let (lines, bytes): (i64, i64) =
        connection.prepare_cached(SUM)?.query_row([last], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.prepare_cached(DELETE)?.execute([last])?;
    connection
        .prepare_cached("UPDATE removed SET lines = lines + ?1, bytes = bytes + ?2")?
        .execute(params![lines, bytes])?;
    Ok((lines.cast_unsigned(), bytes.cast_unsigned()))
}

/// Deletes a run; its terms and rows are deleted by later steps.
fn delete_run(connection: &Connection, first: i64, lines: i64) -> rusqlite::Result<()> {
    let sizes = Sizes::read(connection)?;
    runs::remove(connection, first..first + lines)?;
    runs::discard_merge(connection, first, sizes)?;
    ids::remove(connection, first, first + lines)?;
    ids::remove_group(connection, first + lines, sizes)?;
    connection.prepare_cached("UPDATE removed SET through = ?1")?.execute([first + lines - 1])?;
    Ok(())
}

fn is_too_large(connection: &Connection, policy: &RetentionPolicy) -> rusqlite::Result<bool> {
    let Some(most) = policy.bytes else { return Ok(false) };
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    let bytes = pages.saturating_mul(pragma(connection, "page_size")?);
    Ok(u64::try_from(bytes).is_ok_and(|bytes| bytes > most))
}

/// Whether all lines of a run are too old, apart from those with times in the future.
fn is_too_old(connection: &Connection, first: i64, policy: &RetentionPolicy, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(age) = policy.age else { return Ok(false) };
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let oldest_kept = now.unix_micros().saturating_sub(age);
    let times = runs::times(connection, first)?;
    let latest = times.into_iter().filter(|time| *time <= now.unix_micros()).max();
    Ok(latest.is_some_and(|latest| latest < oldest_kept))
}

/// Returns free pages to the file system if there are many. Returns whether there are more. Files created by an earlier
/// version keep them for reuse.
fn shrink_file(connection: &Connection) -> rusqlite::Result<bool> {
    const INCREMENTAL: i64 = 2;
    let free = pragma(connection, "freelist_count")?;
    let is_many = free > STEP_PAGES && free > pragma(connection, "page_count")? / FREE_PART;
    if !is_many || pragma(connection, "auto_vacuum")? != INCREMENTAL {
        return Ok(false);
    }
    let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;

    #[test]
    fn a_step_scans_no_more_rows_than_it_deletes() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        for statement in [RECORD, SUM, DELETE, READ_ROWS, READ_IDENTITY] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let count = plan.parameter_count();
            let parts =
                plan.query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get::<_, String>(3)).unwrap();
            let parts: Vec<_> = parts.map(Result::unwrap).filter(|part| part.contains("logs")).collect();
            assert!(
                !parts.is_empty() && parts.iter().all(|part| part.starts_with("SEARCH logs")),
                "{statement}: {parts:?}"
            );
        }
    }
}
