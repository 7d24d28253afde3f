//! How long runs are, as the file itself says, so that whoever opens it goes by the same.

use rusqlite::{Connection, ffi};

use crate::sqlite::bits::RUN_MAX;

/// Most large runs that are looked up together: their numbers have four bits.
const GROUP_MAX: i64 = 16;

/// Lines of each kind of run. A run's first line has an id that is a multiple of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Lines of a small run. Newer lines than the last run's are read one by one, so it is short.
    pub(crate) small: i64,
    /// Lines of a large run.
    pub(crate) large: i64,
    /// Lines of a group of large runs, whose request ids are [looked up](crate::sqlite::ids) together.
    pub(crate) group: i64,
}

impl Sizes {
    /// What this file says.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Self> {
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
            Some("the file's sizes of runs are none that it can have".to_owned()),
        ))
    }

    /// The number of small runs in a large one.
    pub(crate) fn smalls(self) -> i64 {
        self.large / self.small
    }
}
