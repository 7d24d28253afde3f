//! Which files a store is open on, and whether its path still leads to them.
//!
//! SQLite goes on writing to a file that was deleted, moved or replaced, and nothing of that is found by whoever opens the
//! path afterwards. The same holds for the WAL and the shared memory beside it. So after each commit the path must still lead
//! to all three, and the file must still begin as a store does.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disposition::{Cause, CauseKind};
use crate::error::OpenError;
use crate::file_mode::{FileMode, sync_dir};
use crate::sqlite::failure::file_error;

/// Names of the files beside the database end in these.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Where the header of a database has its application's id, after which comes nothing that is looked at here.
const HEADER_BYTES: usize = 72;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A file by its device and inode, and by when it was made, where that is known: an inode is given to another file once its
/// own was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    made: Option<SystemTime>,
}

impl FileId {
    /// The file that a path leads to, by links too; `None` where there is none.
    ///
    /// # Errors
    /// When that can't be seen, such as for want of rights.
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(path) {
            Ok(metadata) => {
                Ok(Some(Self { device: metadata.dev(), inode: metadata.ino(), made: metadata.created().ok() }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file that a path leads to; elsewhere than on Unix one file can't be told from another.
    ///
    /// # Errors
    /// When that can't be seen.
    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        Ok(path.try_exists()?.then_some(Self { device: 0, inode: 0, made: None }))
    }
}

/// The database, its WAL and its shared memory, as a path leads to them at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIds {
    pub(crate) database: FileId,
    beside: [Option<FileId>; 2],
}

impl FileIds {
    /// `None` where there is no database.
    ///
    /// # Errors
    /// When that can't be seen, such as for want of rights.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        let Some(database) = FileId::of(path)? else { return Ok(None) };
        let Some([wal, shm]) = beside(path) else { return Ok(Some(Self { database, beside: [None; 2] })) };
        Ok(Some(Self { database, beside: [FileId::of(&wal)?, FileId::of(&shm)?] }))
    }
}

/// What became of an open store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The path leads nowhere.
    Missing,
    /// The path leads to another file.
    Replaced,
    /// The file is no store any more.
    Overwritten,
    /// The WAL or the shared memory is missing or another.
    WalReplaced,
}

impl Change {
    /// For whoever waits for the store.
    pub(crate) fn cause(self, path: &Path) -> Cause {
        let what = match self {
            Self::Missing => "was deleted or moved",
            Self::Replaced => "was replaced by another",
            Self::Overwritten => "was overwritten",
            Self::WalReplaced => "lost its -wal or -shm file",
        };
        let reason = format!(
            "the store's file {} {what} while it was open; it is opened again, and made where it is missing: `shipper verify` \
             names lines that were stored before and are not in it",
            path.display()
        );
        Cause::new(0, reason).of_kind(CauseKind::FileReplaced)
    }
}

/// The files that a store is open on.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    path: PathBuf,
    beside: [PathBuf; 2],
    ids: FileIds,
    /// Closed after the connections: closing it gives up the locks that this process has on the file.
    header: File,
}

impl OpenFiles {
    /// Whether the path leads elsewhere since the files were opened.
    pub(crate) fn change(&self) -> Option<Change> {
        let Ok(Some(database)) = FileId::of(&self.path) else { return Some(Change::Missing) };
        if database != self.ids.database {
            return Some(Change::Replaced);
        }
        if !is_store(&self.header) {
            return Some(Change::Overwritten);
        }
        let is_other = |place: usize| FileId::of(&self.beside[place]).ok().flatten() != self.ids.beside[place];
        (is_other(0) || is_other(1)).then_some(Change::WalReplaced)
    }

    /// Removes the WAL and the shared memory that are this database's, so that they are not taken for another's.
    pub(crate) fn remove_beside(&self) {
        for (path, id) in self.beside.iter().zip(self.ids.beside) {
            if id.is_some() && FileId::of(path).ok().flatten() == id {
                // Where it can't be removed, the next opening says what is wrong.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A file that is about to be opened as a store.
#[derive(Debug)]
pub(crate) struct Found {
    path: PathBuf,
    database: FileId,
    header: File,
}

impl Found {
    /// The file at a path, made where it is missing, in a folder that is there. What another database of this name left beside
    /// it is removed then.
    pub(crate) fn or_made(path: &Path, mode: FileMode) -> Result<Self, OpenError> {
        let refused = |error: io::Error| file_error(path, &error);
        if FileId::of(path).map_err(refused)?.is_none() {
            let folder = folder(path);
            if !folder.is_dir() {
                return Err(OpenError::NoFolder { path: folder.to_owned() });
            }
            // Without it, the WAL of the one that was deleted would be taken for the new one's.
            for left in beside(path).into_iter().flatten() {
                let _ = std::fs::remove_file(left);
            }
            drop(mode.open_or_create(OpenOptions::new().write(true), path).map_err(refused)?);
            sync_dir(folder).map_err(refused)?;
        }
        let database =
            FileId::of(path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into())).map_err(refused)?;
        Ok(Self { path: path.to_owned(), database, header: File::open(path).map_err(refused)? })
    }

    /// The same once connections are open on it and have read it.
    pub(crate) fn opened(self) -> Result<OpenFiles, OpenError> {
        let Self { path, database, header } = self;
        let moved = || OpenError::Replaced { path: path.clone() };
        let beside = beside(&path).ok_or_else(moved)?;
        let ids = FileIds::of(&path).ok().flatten().filter(|ids| ids.database == database).ok_or_else(moved)?;
        let files = OpenFiles { path: path.clone(), beside, ids, header };
        let is_whole = ids.beside.iter().all(Option::is_some) && files.change().is_none();
        if is_whole { Ok(files) } else { Err(moved()) }
    }
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a path is a link, or leads over one, into a folder that does not exist. What can't be seen is none.
pub(crate) fn is_broken_link(path: &Path) -> bool {
    let mut target = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = std::fs::read_link(&target) else { break };
        target = folder(&target).join(next);
    }
    let is_dangling = |folder: &Path| folder.is_symlink() && folder.try_exists().is_ok_and(|exists| !exists);
    (target != path && !folder(&target).is_dir()) || folder(path).ancestors().any(is_dangling)
}

/// The paths of WAL and shared memory: beside the file itself, also where the path is a link.
fn beside(path: &Path) -> Option<[PathBuf; 2]> {
    let of_missing = || Some(std::fs::canonicalize(folder(path)).ok()?.join(path.file_name()?));
    let itself = std::fs::canonicalize(path).ok().or_else(of_missing)?;
    Some(BESIDE.map(|suffix| {
        let mut name = itself.clone().into_os_string();
        name.push(suffix);
        name.into()
    }))
}

/// Whether an open file begins as a store does. Until its first checkpoint it has no application's id.
#[cfg(unix)]
fn is_store(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut header = [0; HEADER_BYTES];
    let application = crate::sqlite::schema::APPLICATION.to_be_bytes();
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => header.starts_with(MAGIC) && [&application[4..], &[0; 4]].iter().any(|id| header.ends_with(id)),
        // What can't be read at the moment may be one.
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    }
}

#[cfg(not(unix))]
fn is_store(_: &File) -> bool {
    true
}
