//! An embedded store that is not at its path: not yet, or not any more.

use std::fmt;
use std::path::PathBuf;

/// Why there is nothing to read at an embedded store's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The store's file.
    pub path: PathBuf,
    /// How it is absent.
    pub kind: AbsenceKind,
}

/// How an embedded store is absent. Shown, it says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsenceKind {
    /// Its file does not exist or is empty, and no store was read since the program started; its folder exists.
    NotCreated,
    /// Its folder does not exist, and its file did not since the program started.
    NoFolder,
    /// Its path is a link, or leads over one, into a folder that does not exist. The shipper can't make that.
    BrokenLink,
    /// Its file was read before and does not exist any more.
    Gone,
    /// Its file was read before and is empty now.
    Emptied,
}

impl AbsenceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NotCreated, Self::NoFolder, Self::BrokenLink, Self::Gone, Self::Emptied];

    /// Its name in answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCreated => "no_store_yet",
            Self::NoFolder => "no_store_folder",
            Self::BrokenLink => "store_link_broken",
            Self::Gone => "store_missing",
            Self::Emptied => "store_emptied",
        }
    }
}

/// For whoever asks the program: without the path.
impl fmt::Display for AbsenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotCreated => "no store yet: its file does not exist or is empty; the shipper makes it when it starts",
            Self::NoFolder => {
                "no store yet: its folder does not exist; the shipper makes it when it starts, or the path is wrong"
            }
            Self::BrokenLink => {
                "no store: its path is a link into a folder that does not exist, which the shipper does not make; make the \
                 folder, or remove the link"
            }
            Self::Emptied => {
                "the store is empty: its file had a store in it, and was emptied or replaced by an empty one; a running \
                 shipper makes a new one in it"
            }
            Self::Gone => {
                "the store is missing: its file was there, and was deleted or moved; a running shipper makes a new one"
            }
        })
    }
}
