//! The embedded store's file: its tables, and their version in `PRAGMA user_version`.
//!
//! `logs` has one row a line and can be read with any SQLite tool. `time` is in microseconds since the Unix epoch;
//! `timestamp` and `message` are read out of the document, so nothing is kept twice. A line is its `generation` and
//! `offset`, and these are unique. `logs_text` is the full-text index over `message`; it holds no text of its own.

use rusqlite::Connection;

/// The version of the tables below.
pub(crate) const VERSION: i64 = 1;

const TABLES: &str = r#"
CREATE TABLE logs (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    generation TEXT    NOT NULL,
    "offset"   INTEGER NOT NULL,
    service    TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    request_id TEXT,
    project_id TEXT,
    document   TEXT    NOT NULL,
    timestamp  TEXT    AS (document ->> '$.timestamp') VIRTUAL,
    message    TEXT    AS (document ->> '$.message') VIRTUAL,
    UNIQUE (generation, "offset")
) STRICT;
CREATE INDEX logs_by_request ON logs (request_id, time) WHERE request_id IS NOT NULL;
CREATE INDEX logs_by_project ON logs (project_id, time) WHERE project_id IS NOT NULL;
CREATE INDEX logs_by_time ON logs (time);
CREATE VIRTUAL TABLE logs_text USING fts5 (
    message, content='logs', content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 0'
);
PRAGMA user_version = 1;
"#;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// The tables, as known here.
    Current,
    /// Tables of a version that is not known here.
    Newer(i64),
}

/// Looks at the version.
pub(crate) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(match version {
        0 => Found::Empty,
        VERSION => Found::Current,
        other => Found::Newer(other),
    })
}

/// Makes the tables in an empty file; two programs may try at once.
pub(crate) fn make(connection: &mut Connection) -> rusqlite::Result<Found> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut found = look(&transaction)?;
    if found == Found::Empty {
        transaction.execute_batch(TABLES)?;
        found = Found::Current;
    }
    transaction.commit()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_made_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Empty);
        assert_eq!(make(&mut connection).unwrap(), Found::Current);
        assert_eq!(make(&mut connection).unwrap(), Found::Current);
        connection.pragma_update(None, "user_version", 2).unwrap();
        assert_eq!(make(&mut connection).unwrap(), Found::Newer(2));
    }
}
