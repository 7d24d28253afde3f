//! Upgrades a file of an older version when it is opened for writing.
//!
//! The first step creates the new tables; from then on, the file has the new version. Lines of version 1 are moved from
//! `logs_v1`, [`STEP_LINES`] in each transaction, and are searchable once they have been moved. For version 2, the
//! [ids](crate::sqlite::ids) of each run are recorded, one run in each transaction. An interrupted upgrade continues
//! where it stopped.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::sqlite::ids;
use crate::sqlite::line::Line;
use crate::sqlite::runs;
use crate::sqlite::schema::{self, SchemaState, TABLES_2, TABLES_3};
use crate::sqlite::sizes::Sizes;
use crate::sqlite::tail::Tail;
use crate::sqlite::write::{current_tail, seal};

/// Number of lines moved in one transaction.
const STEP_LINES: i64 = 10_000;

/// Removes the tables of version 1 except for its lines and sources.
const DROP_VERSION_1: &str = "
DROP VIEW lines;
DROP TABLE logs_text;
DROP INDEX logs_by_request;
DROP INDEX logs_by_project;
DROP INDEX logs_by_time;
DROP INDEX logs_by_source;
ALTER TABLE logs RENAME TO logs_v1;
";

/// Upgrades the file if it has an older version.
pub(crate) fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let SchemaState::Old(version) = schema::inspect(&transaction)? {
        if version == 1 {
            transaction.execute_batch(DROP_VERSION_1)?;
            transaction.execute_batch(TABLES_2)?;
        }
        transaction.execute_batch(TABLES_3)?;
    }
    if schema::inspect(&transaction)? != SchemaState::Current {
        return Ok(());
    }
    let pending = "SELECT count(*) FROM sqlite_schema WHERE name = 'logs_v1'";
    let pending: i64 = transaction.query_row(pending, [], |row| row.get(0))?;
    transaction.commit()?;
    let (mut tail, mut more) = (None, pending > 0);
    while more {
        let (moved, has_more) = move_lines(connection, tail.take())?;
        (tail, more) = (Some(moved), has_more);
    }
    record_ids(connection)
}

/// Records the ids of runs where they are missing, which are the first ones.
fn record_ids(connection: &mut Connection) -> rusqlite::Result<()> {
    let sizes = Sizes::read(connection)?;
    let all = runs::infos(connection, 0..i64::MAX)?;
    for run in all.iter().filter(|run| run.terms == run.first) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !ids::are_recorded(&transaction, run.first, sizes)? {
            if run.is_of(sizes.large) {
                ids::put_large(&transaction, run.first, run.terms)?;
            } else {
                ids::put_small_from_terms(&transaction, run.first, run.terms)?;
            }
        }
        transaction.commit()?;
    }
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let more = ids::group_next(&transaction, sizes)?;
        transaction.commit()?;
        if !more {
            return Ok(());
        }
    }
}

/// Moves some lines. Returns whether there are more.
fn move_lines(connection: &mut Connection, tail: Option<Tail>) -> rusqlite::Result<(Tail, bool)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut tail, sizes) = (current_tail(&transaction, tail)?, Sizes::read(&transaction)?);
    let mut last = None;
    {
        let select = r#"SELECT id, time, source, "offset", coalesce(document ->> '$.origin.length', 0), document
                        FROM logs_v1 ORDER BY id LIMIT ?1"#;
        let insert =
            r#"INSERT INTO logs (id, time, source, "offset", length, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#;
        let (mut select, mut insert) = (transaction.prepare_cached(select)?, transaction.prepare_cached(insert)?);
        let mut rows = select.query([STEP_LINES])?;
        while let Some(row) = rows.next()? {
            last = Some(row.get::<_, i64>(0)?);
            let (time, source, offset): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let document = row.get_ref(5)?.as_str()?;
            // A document of another program may contain anything there.
            let length = row.get_ref(4)?.as_i64().unwrap_or(0);
            insert.execute(params![tail.next(), time, source, offset, length, document])?;
            tail.add(&Line::from_stored(time, document), document);
            seal(&transaction, &mut tail, sizes)?;
        }
    }
    match last {
        Some(last) => drop(transaction.execute("DELETE FROM logs_v1 WHERE id <= ?1", [last])?),
        None => transaction.execute_batch("DROP TABLE logs_v1")?,
    }
    transaction.commit()?;
    Ok((tail, last.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Field;
    use crate::sqlite::terms::{self, BlockWriter};

    /// The tables of version 1.
    pub(crate) const VERSION_1: &str = include_str!("../../tests/lines/version_1.sql");

    /// The tables of version 2.
    const VERSION_2: &str = include_str!("../../tests/lines/version_2.sql");

    fn old(lines: i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        connection.execute("INSERT INTO sources (id, generation) VALUES (7, 'g')", []).unwrap();
        for line in 0..lines {
            let insert = r#"INSERT INTO logs (time, source, "offset", service, level, document)
                            VALUES (?1, 7, ?1, 's', 'info', ?2)"#;
            let document = format!(r#"{{"message":"line {line}","service":"s","origin":{{"length":9}}}}"#);
            connection.execute(insert, params![line, document]).unwrap();
        }
        connection
    }

    fn count(connection: &Connection, of: &str) -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn lines_of_version_1_are_moved_and_indexed() {
        let mut connection = old(2_500);
        assert_eq!(schema::inspect(&connection).unwrap(), SchemaState::Old(1));
        upgrade(&mut connection).unwrap();
        assert_eq!(schema::inspect(&connection).unwrap(), SchemaState::Current);
        assert_eq!((count(&connection, "logs"), count(&connection, "runs")), (2_500, 2));
        assert_eq!(count(&connection, "sqlite_schema WHERE name LIKE '%v1%' OR name LIKE 'logs_text%'"), 0);
        assert_eq!(count(&connection, "logs WHERE length = 9 AND time = id"), 2_500);
        upgrade(&mut connection).unwrap();
        assert_eq!(count(&connection, "logs"), 2_500);
    }

    #[test]
    fn an_interrupted_upgrade_continues() {
        let mut connection = old(25_000);
        let transaction = connection.transaction().unwrap();
        transaction.execute_batch(DROP_VERSION_1).unwrap();
        transaction.execute_batch(TABLES_2).unwrap();
        transaction.execute_batch(TABLES_3).unwrap();
        transaction.commit().unwrap();
        assert!(move_lines(&mut connection, None).unwrap().1);
        assert_eq!((count(&connection, "logs"), count(&connection, "logs_v1")), (10_000, 15_000));
        upgrade(&mut connection).unwrap();
        assert_eq!((count(&connection, "logs"), count(&connection, "runs")), (25_000, 24));
        assert_eq!(count(&connection, "sqlite_schema WHERE name = 'logs_v1'"), 0);
    }

    fn id(number: i64) -> Vec<u8> {
        terms::term(Field::RequestId.code(), &format!("r-{number}"))
    }

    #[test]
    fn ids_of_version_2_are_recorded() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(VERSION_2).unwrap();
        // Enough large runs for a group, and a small one.
        let runs: Vec<(i64, i64)> = (0..16).map(|run| (run * 65_536, 65_536)).chain([(1_048_576, 1_024)]).collect();
        for (first, lines) in &runs {
            let mut writer = BlockWriter::new(&connection, *first);
            let mut terms: Vec<_> = (*first..first + 400).map(id).collect();
            terms.sort();
            for term in terms {
                writer.push(&term, &[4, 1]).unwrap();
            }
            writer.finish().unwrap();
            let insert = "INSERT INTO runs (first, lines, earliest, latest, times, durations)
                          VALUES (?1, ?2, 1, 2, x'', x'')";
            connection.execute(insert, [first, lines]).unwrap();
        }
        assert_eq!(schema::inspect(&connection).unwrap(), SchemaState::Old(2));
        upgrade(&mut connection).unwrap();
        assert_eq!(schema::inspect(&connection).unwrap(), SchemaState::Current);
        let infos = runs::infos(&connection, 0..i64::MAX).unwrap();
        assert_eq!(infos.iter().map(|run| (run.first, run.is_of(65_536))).collect::<Vec<_>>(), {
            runs.iter().map(|(first, lines)| (*first, *lines == 65_536)).collect::<Vec<_>>()
        });
        let sizes = Sizes::read(&connection).unwrap();
        for (place, (first, _)) in runs.iter().enumerate() {
            let may = ids::may_have(&connection, sizes, &infos, &[id(first + 7)]).unwrap();
            assert_eq!(may.iter().position(|may| *may), Some(place));
            assert_eq!(may.iter().filter(|may| **may).count(), 1);
            assert!(terms::find(&connection, infos[place].terms, &id(first + 7)).unwrap().is_some());
        }
        assert_eq!(count(&connection, "ids"), 256 + 1, "a group and a small run");
        upgrade(&mut connection).unwrap();
        assert_eq!(count(&connection, "ids"), 256 + 1);
    }
}
