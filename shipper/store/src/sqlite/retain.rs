//! Takes out the oldest lines: those that are older than they need be kept, and as many as the file is too large by.
//!
//! Lines go in the order in which they came, a whole run at a time: first the run, and from then on no search finds them;
//! then its terms, [`STEP_BLOCKS`] a step, and their rows, [`STEP_LINES`] a step, so that a write waits for no longer than one
//! step takes. The newest lines, fewer than a run, stay. Rows that went are told in `retired`, so that it can be proved of a source that
//! what is missing was taken out here.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::sqlite::ids;
use crate::sqlite::merge;
use crate::sqlite::runs;
use crate::sqlite::sizes::Sizes;
use crate::timestamp::Timestamp;

/// Rows that one step takes out.
const STEP_LINES: i64 = 1_000;

/// Blocks of terms that one step takes out.
const STEP_BLOCKS: i64 = 500;

/// Free pages that one step gives back to the file system.
const STEP_PAGES: i64 = 500;

/// Free pages are given back when they are more than one in so many; the rest is for the lines that come.
const FREE_PART: i64 = 4;

/// How much is kept. Without bounds, everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Lines older than this, by their own time, are taken out; those from the future are not counted.
    pub age: Option<Duration>,
    /// The oldest lines are taken out while the file holds more bytes than this. Its log of writes, up to 16 MiB and what
    /// one batch adds, comes on top.
    pub bytes: Option<u64>,
}

/// What one step took out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// How many lines.
    pub lines: u64,
    /// Their lengths at their source together, in bytes.
    pub bytes: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// Does one step; `more` tells whether another is due.
pub(crate) fn step(connection: &mut Connection, keep: &Keep, now: Timestamp) -> rusqlite::Result<Retained> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let retained = match take_rows(&transaction)? {
        Some(retained) => retained,
        None => {
            let more = merge::clear(&transaction, STEP_BLOCKS)? || take_run(&transaction, keep, now)?;
            Retained { more, ..Retained::default() }
        }
    };
    transaction.commit()?;
    if retained.more {
        return Ok(retained);
    }
    Ok(Retained { more: give_back(connection)?, ..retained })
}

/// Takes out rows of the runs that are gone; `None` when there are none left.
fn take_rows(connection: &Connection) -> rusqlite::Result<Option<Retained>> {
    let through: i64 = connection.query_row("SELECT through FROM removed", [], |row| row.get(0))?;
    let first: Option<i64> = connection.query_row("SELECT min(id) FROM logs", [], |row| row.get(0))?;
    let Some(first) = first.filter(|first| *first <= through) else { return Ok(None) };
    let last = through.min(first.saturating_add(STEP_LINES - 1));
    let tell = r#"INSERT INTO retired (source, lines, bytes, first, last)
        SELECT source, count(*), sum(length), min("offset"), max("offset") FROM logs WHERE id <= ?1 GROUP BY source
        ON CONFLICT (source) DO UPDATE SET lines = lines + excluded.lines, bytes = bytes + excluded.bytes,
            first = min(first, excluded.first), last = max(last, excluded.last)"#;
    connection.prepare_cached(tell)?.execute([last])?;
    let sum = "SELECT count(*), coalesce(sum(length), 0) FROM logs WHERE id <= ?1";
    let (lines, bytes): (i64, i64) =
        connection.prepare_cached(sum)?.query_row([last], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.prepare_cached("DELETE FROM logs WHERE id <= ?1")?.execute([last])?;
    connection
        .prepare_cached("UPDATE removed SET lines = lines + ?1, bytes = bytes + ?2")?
        .execute(params![lines, bytes])?;
    Ok(Some(Retained { lines: lines.cast_unsigned(), bytes: bytes.cast_unsigned(), more: true }))
}

/// Takes out the oldest run if it need not be kept; its rows go by and by.
fn take_run(connection: &Connection, keep: &Keep, now: Timestamp) -> rusqlite::Result<bool> {
    let oldest = "SELECT first, lines FROM runs INDEXED BY runs_directory ORDER BY first LIMIT 1";
    let oldest = connection.prepare_cached(oldest)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((first, lines)): Option<(i64, i64)> = oldest else { return Ok(false) };
    if !is_too_large(connection, keep)? && !is_too_old(connection, first, keep, now)? {
        return Ok(false);
    }
    let sizes = Sizes::of(connection)?;
    runs::remove(connection, first..first + lines)?;
    runs::give_up_merge(connection, first, sizes)?;
    ids::remove(connection, first, first + lines)?;
    ids::remove_group(connection, first + lines, sizes)?;
    connection.prepare_cached("UPDATE removed SET through = ?1")?.execute([first + lines - 1])?;
    Ok(true)
}

fn is_too_large(connection: &Connection, keep: &Keep) -> rusqlite::Result<bool> {
    let Some(most) = keep.bytes else { return Ok(false) };
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    let bytes = pages.saturating_mul(pragma(connection, "page_size")?);
    Ok(u64::try_from(bytes).is_ok_and(|bytes| bytes > most))
}

/// Whether all lines of a run are too old, but for those from the future.
fn is_too_old(connection: &Connection, first: i64, keep: &Keep, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(age) = keep.age else { return Ok(false) };
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let oldest_kept = now.unix_micros().saturating_sub(age);
    let times = runs::times(connection, first)?;
    let latest = times.into_iter().filter(|time| *time <= now.unix_micros()).max();
    Ok(latest.is_some_and(|latest| latest < oldest_kept))
}

/// Gives free pages back to the file system, where they are many; whether there are more. A file that an earlier version
/// made keeps them for its own use.
fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
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
