//! The embedded store's file: its tables, their version in `PRAGMA user_version`, and [`APPLICATION`] in
//! `PRAGMA application_id`, which tells a store from any other database.
//!
//! `logs` has one row a line. `time` is in microseconds since the Unix epoch, `document` is the line itself, and the
//! columns between repeat what is searched by. A line is its `source` and `offset`, and these are unique; `sources` has
//! the generation's name for each source. `logs_text` is the full-text index over messages; it holds no text of its
//! own. `lines` is for people, to be read with any SQLite tool: `SELECT timestamp, level, message FROM lines`.
//!
//! Every index costs each write, so there are three: by request, by project and by time, and a line's identity.

use std::path::Path;

use rusqlite::Connection;

use crate::error::OpenError;

/// The version of the tables below.
pub(crate) const VERSION: i64 = 1;

/// What is said of somebody else's tables.
const FOREIGN: &str = "it is another program's database; give the store a file of its own";

/// "obsv" in ASCII.
pub(crate) const APPLICATION: i64 = 0x6f62_7376;

const TABLES: &str = r#"
CREATE TABLE sources (
    id         INTEGER PRIMARY KEY,
    generation TEXT    NOT NULL UNIQUE
) STRICT;
CREATE TABLE logs (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources (id),
    "offset"   INTEGER NOT NULL,
    service    TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    request_id TEXT,
    project_id TEXT,
    document   TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX logs_by_source ON logs (source, "offset");
CREATE INDEX logs_by_request ON logs (request_id, time) WHERE request_id IS NOT NULL;
CREATE INDEX logs_by_project ON logs (project_id, time) WHERE project_id IS NOT NULL;
CREATE INDEX logs_by_time ON logs (time);
CREATE VIEW lines AS
SELECT logs.id AS id, document ->> '$.timestamp' AS timestamp, service, level, document ->> '$.message' AS message,
       request_id, project_id, generation, "offset", document
FROM logs JOIN sources ON sources.id = source;
CREATE VIRTUAL TABLE logs_text USING fts5 (
    message, content='lines', content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 0'
);
PRAGMA application_id = 0x6f627376;
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
    /// Somebody else's tables.
    Foreign,
}

impl Found {
    /// Whether the file at `path`, where this was found, can be used as a store.
    pub(crate) fn usable(self, path: &Path) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            Self::Empty | Self::Current => Ok(()),
            Self::Newer(found) => Err(OpenError::NewerSchema { path, found, known: VERSION }),
            Self::Foreign => Err(OpenError::File { path, reason: FOREIGN.to_owned() }),
        }
    }
}

/// Looks at what is there. It is one statement, so that it sees one state of the file.
pub(crate) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let marks = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
                 FROM pragma_application_id, pragma_user_version";
    let mut statement = connection.prepare_cached(marks)?;
    statement.query_row([], |row| {
        Ok(match (row.get(0)?, row.get(1)?, row.get(2)?) {
            (APPLICATION, VERSION, _) => Found::Current,
            (APPLICATION, other, _) => Found::Newer(other),
            (0, 0, 0) => Found::Empty,
            (_, _, _) => Found::Foreign,
        })
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

    #[test]
    fn other_databases_are_told_apart() {
        for theirs in ["CREATE TABLE accounts (name TEXT)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"] {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(theirs).unwrap();
            assert_eq!(make(&mut connection).unwrap(), Found::Foreign, "{theirs}");
        }
    }
}
