//! An embedded store that is not at its path: not yet, or not any more.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why there is nothing to read at an embedded store's path. Shown, it says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The store's file.
    pub path: PathBuf,
    /// How it is absent.
    pub kind: AbsenceKind,
}

/// How an embedded store is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsenceKind {
    /// Its file does not exist, and did not since the program started; its folder does.
    NotCreated,
    /// Its folder does not exist, and its file did not since the program started.
    NoFolder,
    /// Its file was read before and does not exist any more.
    Gone,
}

impl AbsenceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotCreated, Self::NoFolder, Self::Gone];

    /// Its name in answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCreated => "no_store_yet",
            Self::NoFolder => "no_store_folder",
            Self::Gone => "store_missing",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, folder) = (self.path.display(), self.path.parent().unwrap_or(Path::new("")).display());
        match self.kind {
            AbsenceKind::NotCreated => {
                write!(formatter, "no store yet: {path} does not exist; the shipper makes it when it starts")
            }
            AbsenceKind::NoFolder => write!(
                formatter,
                "no store yet: the folder {folder} does not exist; the shipper makes it when it starts, or the path is wrong"
            ),
            AbsenceKind::Gone => write!(
                formatter,
                "the store {path} is missing: it was there, and was deleted or moved; a running shipper makes a new one"
            ),
        }
    }
}
