//! Lengths of runs. They are stored in the file, so that every program uses the same.

use rusqlite::{Connection, ffi};

use crate::sqlite::bits::RUN_MAX;

/// Maximum number of large runs in a group, since their numbers have four bits.
const GROUP_MAX: i64 = 16;

/// Number of lines in each kind of run. The id of a run's first line is a multiple of the run's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Lines in a small run. Lines newer than the last run are scanned one by one, so it is short.
    pub(crate) small: i64,
    /// Lines in a large run.
    pub(crate) large: i64,
    /// Lines in a group of large runs, whose request ids are [looked up](crate::sqlite::ids) together.
    pub(crate) group: i64,
}

impl Sizes {
    /// Reads the sizes from the file.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sizes = connection
            .prepare_cached(r#"SELECT small, large, "group" FROM sizes"#)?
            .query_row([], |row| Ok(Self { small: row.get(0)?, large: row.get(1)?, group: row.get(2)? }))?;
        let whole = |part: i64, of: i64| part > 0 && of >= part && of % part == 0;
        let longest = i64::try_from(RUN_MAX).unwrap_or(i64::MAX);
        if whole(sizes.small, sizes.large)
            && whole(sizes.large, sizes.group)
            && sizes.large <= longest
            && sizes.group / sizes.large <= GROUP_MAX
        {
            return Ok(sizes);
        }
        Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CORRUPT),
            Some("invalid sizes of runs in the file".to_owned()),
        ))
    }

    /// Returns the number of small runs in a large one.
    pub(crate) fn small_per_large(self) -> i64 {
        self.large / self.small
    }
}
