//! The file of an embedded store, which somebody deletes, moves or replaces while it is open.
//!
//! A store writes to the file that it has open. Only then it looks whether its path still leads there, and says if not: what
//! went into another file counts for nothing. The next write opens what the path leads to, or makes a file.

use std::collections::HashSet;

use store::{Cause, CauseKind, LineId, WriteError};

use crate::simulation::random::Random;

/// What the store's path leads to.
#[derive(Debug)]
enum Path {
    /// The open file.
    Open,
    /// Nothing: the file was deleted or moved.
    Missing,
    /// Another file, with these lines.
    Other(HashSet<LineId>),
    /// Not even its folder is there.
    NoFolder,
}

/// The file of an embedded store.
#[derive(Debug)]
pub(in crate::simulation) struct StoreFile {
    random: Random,
    /// Once in so many steps something is done to it; 0 for never.
    often: u64,
    /// What is in the file that was opened last.
    lines: HashSet<LineId>,
    is_open: bool,
    path: Path,
    /// What was in it at some time before, and is put in its place now and then.
    backup: HashSet<LineId>,
}

impl StoreFile {
    pub(in crate::simulation) fn new(random: Random, often: u64) -> Self {
        let (lines, backup) = (HashSet::new(), HashSet::new());
        Self { random, often, lines, is_open: true, path: Path::Open, backup }
    }

    /// Somebody does something to it, or not.
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

    /// Nothing more is done to it, and its folder is there.
    pub(super) fn calm(&mut self) {
        self.often = 0;
        self.put_folder_back();
    }

    /// Takes it away with its folder.
    pub(in crate::simulation) fn take_folder(&mut self) {
        self.path = Path::NoFolder;
    }

    /// Whether the store knows that its file is not there any more.
    pub(in crate::simulation) fn is_lost(&self) -> bool {
        !self.is_open
    }

    /// Its folder is there again, without it.
    pub(in crate::simulation) fn put_folder_back(&mut self) {
        if matches!(self.path, Path::NoFolder) {
            self.path = Path::Missing;
        }
    }

    /// Opens what the path leads to, unless a file is open already.
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

    /// Whether what was just written counts: the path still leads to the open file.
    pub(super) fn confirm(&mut self) -> Result<(), WriteError> {
        if matches!(self.path, Path::Open) {
            return Ok(());
        }
        self.is_open = false;
        Err(WriteError::Unavailable(Cause::new(0, "another file").with_kind(CauseKind::FileReplaced)))
    }

    /// Writes a line to the open file; whether it is new there.
    pub(super) fn write(&mut self, id: LineId) -> bool {
        self.lines.insert(id)
    }

    /// What is in the file at the path.
    pub(in crate::simulation) fn into_lines(self) -> HashSet<LineId> {
        match self.path {
            Path::Open => self.lines,
            Path::Missing | Path::NoFolder => HashSet::new(),
            Path::Other(lines) => lines,
        }
    }
}
