//! The embedded store's file: its tables, their version in `PRAGMA user_version`, and [`APPLICATION`] in
//! `PRAGMA application_id`, which tells a store from any other database.
//!
//! `logs` has one row a line, in order of arrival: `id` grows by one. `time` is in microseconds since the Unix epoch and
//! `document` is the line itself. A line is its `source` and `offset`, and these are unique; `sources` has the
//! generation's name for each source, `length` is the line's at its source, with its newline. `lines` is for people, to
//! be read with any SQLite tool: `SELECT timestamp, level, message FROM lines`.
//!
//! What is searched by is indexed in [runs](crate::sqlite::runs) of lines: `runs` and `terms`. The newest lines, fewer
//! than a run, are in none. `sizes` says how long runs are, and `ids` in which of them a [request id](crate::sqlite::ids) is.
//! `stale` names terms of runs that are gone, from one key to another. What [retention](crate::sqlite::retain) took is told by `retired`, one row a source, and
//! `removed`, in all.
//!
//! What of a line's other members can be searched, say [`fields`](crate::sqlite::fields).

use std::path::Path;

use rusqlite::Connection;

use crate::error::OpenError;

/// The version of the tables below.
pub(crate) const VERSION: i64 = 3;

/// The first of the versions before, whose files are [brought up](crate::sqlite::migrate) to this one when they are opened
/// to write.
const OLDEST: i64 = 1;

/// What is said of somebody else's tables.
const FOREIGN: &str = "it is another program's database; give the store a file of its own";

/// "obsv" in ASCII.
pub(crate) const APPLICATION: i64 = 0x6f62_7376;

/// What version 2 has beside `sources`, which version 1 has as well.
pub(crate) const TABLES_2: &str = r#"
CREATE TABLE logs (
    id         INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources (id),
    "offset"   INTEGER NOT NULL,
    length     INTEGER NOT NULL,
    document   TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX logs_by_source ON logs (source, "offset");
CREATE TABLE runs (
    first     INTEGER PRIMARY KEY,
    lines     INTEGER NOT NULL,
    earliest  INTEGER NOT NULL,
    latest    INTEGER NOT NULL,
    times     BLOB    NOT NULL,
    durations BLOB    NOT NULL
) STRICT;
CREATE TABLE terms (
    run   INTEGER NOT NULL,
    first BLOB    NOT NULL,
    data  BLOB    NOT NULL
) STRICT;
CREATE INDEX terms_by_first ON terms (run, first);
CREATE TABLE retired (
    source INTEGER PRIMARY KEY REFERENCES sources (id),
    lines  INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL
) STRICT;
CREATE TABLE removed (
    through INTEGER NOT NULL,
    lines   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
INSERT INTO removed (through, lines, bytes) VALUES (-1, 0, 0);
CREATE VIEW lines AS
SELECT logs.id AS id, document ->> '$.timestamp' AS timestamp, document ->> '$.service' AS service,
       document ->> '$.level' AS level, document ->> '$.message' AS message, document ->> '$.request_id' AS request_id,
       document ->> '$.project_id' AS project_id, generation, "offset", document
FROM logs JOIN sources ON sources.id = source;
PRAGMA application_id = 0x6f627376;
PRAGMA user_version = 2;
"#;

/// What version 3 adds. `terms` is the key of a run's terms where that is not its first line's id.
pub(crate) const TABLES_3: &str = r#"
ALTER TABLE runs ADD COLUMN terms INTEGER;
CREATE INDEX runs_directory ON runs (first, lines, earliest, latest, terms);
CREATE TABLE ids (
    place        INTEGER PRIMARY KEY,
    fingerprints BLOB    NOT NULL
) STRICT;
CREATE TABLE stale (
    first INTEGER PRIMARY KEY,
    "end" INTEGER NOT NULL
) STRICT;
CREATE TABLE sizes (
    small   INTEGER NOT NULL,
    large   INTEGER NOT NULL,
    "group" INTEGER NOT NULL
) STRICT;
INSERT INTO sizes (small, large, "group") VALUES (1024, 65536, 1048576);
CREATE TABLE fields (
    code  INTEGER PRIMARY KEY,
    name  TEXT    NOT NULL,
    type  TEXT    NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER
) STRICT;
PRAGMA user_version = 3;
"#;

const SOURCES: &str = "CREATE TABLE sources (
    id         INTEGER PRIMARY KEY,
    generation TEXT    NOT NULL UNIQUE
) STRICT;";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// The tables, as known here.
    Current,
    /// The tables of this version, which is an earlier one.
    Old(i64),
    /// Tables of a version that is not known here.
    Newer(i64),
    /// Somebody else's tables.
    Foreign,
}

impl Found {
    /// Why a file where this was found can't be used as a store; without its path.
    pub(crate) fn obstacle(self) -> Option<String> {
        match self {
            Self::Empty | Self::Current | Self::Old(_) => None,
            Self::Newer(found) => Some(format!(
                "its file has schema version {found}, this program knows up to {VERSION}: use a newer version"
            )),
            Self::Foreign => Some(FOREIGN.to_owned()),
        }
    }

    /// Whether the file at `path`, where this was found, can be used as a store.
    pub(crate) fn usable(self, path: &Path) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            Self::Empty | Self::Current | Self::Old(_) => Ok(()),
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
            (APPLICATION, version @ OLDEST..VERSION, _) => Found::Old(version),
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
        transaction.execute_batch(SOURCES)?;
        transaction.execute_batch(TABLES_2)?;
        transaction.execute_batch(TABLES_3)?;
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
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert_eq!(make(&mut connection).unwrap(), Found::Newer(VERSION + 1));
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
