//! The file of an embedded store, which is deleted, moved or replaced while it is open.
//!
//! A store writes to its open file, and then checks whether its path still leads to that file. If not, it reports that:
//! what went into another file does not count. The next write opens the file at the path, or creates one.

use std::collections::HashSet;

use store::{Cause, CauseKind, LineId, WriteError};

use crate::simulation::random::Random;

/// What is at the store's path.
#[derive(Debug)]
enum Path {
    /// The open file.
    Open,
    /// Nothing: the file was deleted or moved.
    Missing,
    /// Another file, with these lines.
    Other(HashSet<LineId>),
    /// Not even its folder.
    NoFolder,
}

/// The file of an embedded store.
#[derive(Debug)]
pub(in crate::simulation) struct StoreFile {
    random: Random,
    /// It is changed once in this many steps; 0 for never.
    often: u64,
    /// Lines in the file that was opened last.
    lines: HashSet<LineId>,
    is_open: bool,
    path: Path,
    /// An earlier state, which replaces it now and then.
    backup: HashSet<LineId>,
}

impl StoreFile {
    pub(in crate::simulation) fn new(random: Random, often: u64) -> Self {
        let (lines, backup) = (HashSet::new(), HashSet::new());
        Self { random, often, lines, is_open: true, path: Path::Open, backup }
    }

    /// May change the file.
    pub(super) fn change(&mut self) {
        if matches!(self.path, Path::NoFolder) && self.random.one_in(60) {
            self.path = Path::Missing;
        }
        if !matches!(self.path, Path::Open) || !self.random.one_in(self.often) {
            return;
        }
        match self.random.between(0, 4) {
            0 => self.backup.clone_from(&self.lines),
            1 => self.path = Path::Other(self.backup.clone()),
            2 => self.path = Path::NoFolder,
            _ => self.path = Path::Missing,
        }
    }

    /// Stops changes, and restores its folder.
    pub(super) fn calm(&mut self) {
        self.often = 0;
        self.put_folder_back();
    }

    /// Removes it with its folder.
    pub(in crate::simulation) fn take_folder(&mut self) {
        self.path = Path::NoFolder;
    }

    /// Returns whether the store knows that its file is missing.
    pub(in crate::simulation) fn is_lost(&self) -> bool {
        !self.is_open
    }

    /// Restores its folder, without the file.
    pub(in crate::simulation) fn put_folder_back(&mut self) {
        if matches!(self.path, Path::NoFolder) {
            self.path = Path::Missing;
        }
    }

    /// Opens the file at the path, unless one is open.
    pub(super) fn open(&mut self) -> Result<(), WriteError> {
        if self.is_open {
            return Ok(());
        }
        match std::mem::replace(&mut self.path, Path::Open) {
            Path::Open => {}
            Path::Missing => self.lines.clear(),
            Path::Other(lines) => self.lines = lines,
            Path::NoFolder => {
                self.path = Path::NoFolder;
                return Err(WriteError::Refused(Cause::new(0, "no folder").with_kind(CauseKind::FolderMissing)));
            }
        }
        self.is_open = true;
        Ok(())
    }

    /// Returns whether the last write counts: the path still leads to the open file.
    pub(super) fn confirm(&mut self) -> Result<(), WriteError> {
        if matches!(self.path, Path::Open) {
            return Ok(());
        }
        self.is_open = false;
        Err(WriteError::Unavailable(Cause::new(0, "another file").with_kind(CauseKind::FileReplaced)))
    }

    /// Writes a line to the open file; returns whether it is new there.
    pub(super) fn write(&mut self, id: LineId) -> bool {
        self.lines.insert(id)
    }

    /// Returns the lines in the file at the path.
    pub(in crate::simulation) fn into_lines(self) -> HashSet<LineId> {
        match self.path {
            Path::Open => self.lines,
            Path::Missing | Path::NoFolder => HashSet::new(),
            Path::Other(lines) => lines,
        }
    }
}
