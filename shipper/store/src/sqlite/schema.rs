//! The file format of the embedded store. The version is in `PRAGMA user_version`, and [`APPLICATION`] in `PRAGMA
//! application_id` distinguishes stores from other databases.
//!
//! `logs` has one row for each line, in order of arrival: `id` increases by one. `time` is in microseconds since the
//! Unix epoch, and `document` is the line. `source` and `offset` identify a line and are unique. `sources` maps each
//! source to its generation. `length` is the line's length at its source, including the newline. The view `lines` is
//! for use with SQLite tools: `SELECT timestamp, level, message FROM lines`.
//!
//! The index consists of [runs](crate::sqlite::runs) of lines: `runs` and `terms`. The newest lines, fewer than a run,
//! are not indexed. `sizes` holds the lengths of runs, and `ids` maps [request ids](crate::sqlite::ids) to runs.
//! `stale` lists terms of removed runs, as ranges of keys. `retired` (one row for each source) and `removed` (the
//! total) record what [retention](crate::sqlite::retention) has deleted.
//!
//! [`fields`](crate::sqlite::fields) describes the index of user-named fields.

use std::path::Path;

use rusqlite::Connection;

use crate::error::OpenError;

/// Version of the tables below.
pub(crate) const VERSION: i64 = 3;

/// The oldest version that is [upgraded](crate::sqlite::migrate) when it is opened for writing.
const OLDEST: i64 = 1;

/// The reason for rejecting a database of another program.
const FOREIGN: &str = "it is a database of another program: use another file for the store";

/// "obsv" in ASCII.
pub(crate) const APPLICATION: i64 = 0x6f62_7376;

/// Tables of version 2, in addition to `sources`, which version 1 already has.
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

/// Additions of version 3. `terms` is the key of a run's terms if it is not the id of its first line.
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

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// An empty database.
    Empty,
    /// Tables of the current version.
    Current,
    /// Tables of this older version.
    Old(i64),
    /// Tables of an unknown version.
    Newer(i64),
    /// Tables of another program.
    Foreign,
}

impl SchemaState {
    /// Returns why the file can't be used as a store, without its path.
    pub(crate) fn rejection(self) -> Option<String> {
        match self {
            Self::Empty | Self::Current | Self::Old(_) => None,
            Self::Newer(found) => {
                Some(format!("its schema version {found} is newer than this program's {VERSION}: use a newer version"))
            }
            Self::Foreign => Some(FOREIGN.to_owned()),
        }
    }

    /// Checks that the file at `path` can be used as a store.
    pub(crate) fn check_usable(self, path: &Path) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            Self::Empty | Self::Current | Self::Old(_) => Ok(()),
            Self::Newer(found) => Err(OpenError::NewerSchema { path, found, known: VERSION }),
            Self::Foreign => Err(OpenError::File { path, reason: FOREIGN.to_owned() }),
        }
    }
}

/// Determines the content of a file, in one statement so that it reads a consistent state.
pub(crate) fn inspect(connection: &Connection) -> rusqlite::Result<SchemaState> {
    let marks = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
                 FROM pragma_application_id, pragma_user_version";
    let mut statement = connection.prepare_cached(marks)?;
    statement.query_row([], |row| {
        Ok(match (row.get(0)?, row.get(1)?, row.get(2)?) {
            (APPLICATION, VERSION, _) => SchemaState::Current,
            (APPLICATION, version @ OLDEST..VERSION, _) => SchemaState::Old(version),
            (APPLICATION, other, _) => SchemaState::Newer(other),
            (0, 0, 0) => SchemaState::Empty,
            (_, _, _) => SchemaState::Foreign,
        })
    })
}

/// Creates the tables in an empty file. Safe if two programs try at once.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<SchemaState> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut found = inspect(&transaction)?;
    if found == SchemaState::Empty {
        transaction.execute_batch(SOURCES)?;
        transaction.execute_batch(TABLES_2)?;
        transaction.execute_batch(TABLES_3)?;
        found = SchemaState::Current;
    }
    transaction.commit()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_created_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(inspect(&connection).unwrap(), SchemaState::Empty);
        assert_eq!(create(&mut connection).unwrap(), SchemaState::Current);
        assert_eq!(create(&mut connection).unwrap(), SchemaState::Current);
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert_eq!(create(&mut connection).unwrap(), SchemaState::Newer(VERSION + 1));
    }

    #[test]
    fn other_databases_are_recognised() {
        for theirs in ["CREATE TABLE accounts (name TEXT)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"] {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(theirs).unwrap();
            assert_eq!(create(&mut connection).unwrap(), SchemaState::Foreign, "{theirs}");
        }
    }
}
