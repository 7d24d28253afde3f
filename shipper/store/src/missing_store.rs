//! Why an embedded store is missing: not created yet, or removed.

use std::fmt;
use std::path::PathBuf;

/// An embedded store that does not exist at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingStore {
    /// Path of the store's file.
    pub path: PathBuf,
    /// The reason.
    pub kind: MissingKind,
}

/// Why an embedded store is missing. `Display` says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKind {
    /// The file does not exist or is empty. No store was read since the program started; the directory exists.
    NotCreated,
    /// The directory does not exist. The file did not exist since the program started.
    NoFolder,
    /// The path is, or contains, a symbolic link into a directory that does not exist. The shipper can't create that
    /// one.
    BrokenLink,
    /// The file was read before and no longer exists.
    Deleted,
    /// The file was read before and is now empty.
    Emptied,
}

impl MissingKind {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::NotCreated, Self::NoFolder, Self::BrokenLink, Self::Deleted, Self::Emptied];

    /// Returns its name in API responses and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCreated => "no_store_yet",
            Self::NoFolder => "no_store_folder",
            Self::BrokenLink => "store_link_broken",
            Self::Deleted => "store_missing",
            Self::Emptied => "store_emptied",
        }
    }
}

/// The message for API clients, without the path.
impl fmt::Display for MissingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotCreated => "no store yet: its file does not exist or is empty; the shipper creates it when it starts",
            Self::NoFolder => {
                "no store yet: its directory does not exist; the shipper creates it when it starts, unless the path is wrong"
            }
            Self::BrokenLink => {
                "no store: its path is a link into a directory that does not exist, which the shipper does not create; \
                 create the directory, or remove the link"
            }
            Self::Emptied => {
                "the store is empty: its file was truncated or replaced by an empty one; a running shipper creates a new \
                 store in it"
            }
            Self::Deleted => {
                "the store is missing: its file was deleted or moved; a running shipper creates a new one"
            }
        })
    }
}
