//! Identifies the open files, and detects whether the path still leads to them.
//!
//! SQLite continues to write to a file that was deleted, moved or replaced, and whoever opens the path afterwards does
//! not see these writes. The same applies to the WAL and the shared memory. After each commit, the path must therefore
//! still lead to all three files, and the file must still have a store's header.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disposition::{Cause, CauseKind};
use crate::error::OpenError;
use crate::file_mode::{FileMode, sync_dir};
use crate::sqlite::failure::file_error;

/// Suffixes of the WAL and the shared memory.
const SIDECAR_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// Length of a database header up to and including the application id; the rest is not examined.
const HEADER_BYTES: usize = 72;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Identity of a file: device, inode, and creation time where available. An inode is reused once its file is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl FileId {
    /// Identifies the file that a path leads to, following links. Returns `None` if there is none.
    ///
    /// # Errors
    /// When the path can't be examined, for example for missing permissions.
    #[cfg(unix)]
    pub(crate) fn from_path(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(path) {
            Ok(metadata) => {
                Ok(Some(Self { device: metadata.dev(), inode: metadata.ino(), created: metadata.created().ok() }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Identifies the file that a path leads to. Files can't be distinguished except on Unix.
    ///
    /// # Errors
    /// When the path can't be examined.
    #[cfg(not(unix))]
    pub(crate) fn from_path(path: &Path) -> io::Result<Option<Self>> {
        Ok(path.try_exists()?.then_some(Self { device: 0, inode: 0, created: None }))
    }
}

/// The database, the WAL and the shared memory that a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIds {
    pub(crate) database: FileId,
    sidecars: [Option<FileId>; 2],
}

impl FileIds {
    /// Returns `None` if there is no database.
    ///
    /// # Errors
    /// When the path can't be examined, for example for missing permissions.
    pub(crate) fn from_path(path: &Path) -> io::Result<Option<Self>> {
        let Some(database) = FileId::from_path(path)? else { return Ok(None) };
        let Some([wal, shm]) = sidecars(path) else { return Ok(Some(Self { database, sidecars: [None; 2] })) };
        Ok(Some(Self { database, sidecars: [FileId::from_path(&wal)?, FileId::from_path(&shm)?] }))
    }
}

/// What happened to the files of an open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The path does not exist.
    Missing,
    /// The path leads to another file.
    Replaced,
    /// The file no longer has a store's header.
    Overwritten,
    /// The WAL or the shared memory is missing or another file.
    WalReplaced,
}

impl Change {
    /// Describes the change as the cause of a failed write.
    pub(crate) fn cause(self, path: &Path) -> Cause {
        let what = match self {
            Self::Missing => "was deleted or moved",
            Self::Replaced => "was replaced",
            Self::Overwritten => "was overwritten",
            Self::WalReplaced => "lost its -wal or -shm file",
        };
        let reason = format!(
            "the store's file {} {what} while it was open; the path is reopened, and a missing file created: `shipper verify` \
             reports lines that were stored before and are not in it",
            path.display()
        );
        Cause::new(0, reason).with_kind(CauseKind::FileReplaced)
    }
}

/// The files of an open store.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    path: PathBuf,
    /// Where the path led to, without links. SQLite names the WAL after it.
    real_path: PathBuf,
    sidecars: [PathBuf; 2],
    ids: FileIds,
    /// Dropped after the connections: closing it releases the locks that this process has on the file.
    header: File,
}

impl OpenFiles {
    /// Returns whether the path leads to other files now.
    pub(crate) fn change(&self) -> Option<Change> {
        let Ok(Some(database)) = FileId::from_path(&self.path) else { return Some(Change::Missing) };
        // A link to the moved file leads to the same file, but to another WAL.
        let is_moved = std::fs::canonicalize(&self.path).is_ok_and(|real_path| real_path != self.real_path);
        if database != self.ids.database || is_moved {
            return Some(Change::Replaced);
        }
        if !is_store(&self.header) {
            return Some(Change::Overwritten);
        }
        let is_other =
            |index: usize| FileId::from_path(&self.sidecars[index]).ok().flatten() != self.ids.sidecars[index];
        (is_other(0) || is_other(1)).then_some(Change::WalReplaced)
    }

    /// Deletes the WAL and the shared memory of this database, so that they are not used for another one.
    pub(crate) fn remove_sidecars(&self) {
        for (path, id) in self.sidecars.iter().zip(self.ids.sidecars) {
            if id.is_some() && FileId::from_path(path).ok().flatten() == id {
                // If this fails, the next open reports the problem.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A file that is about to be opened as a store.
#[derive(Debug)]
pub(crate) struct PendingFile {
    path: PathBuf,
    database: FileId,
    header: File,
}

impl PendingFile {
    /// Finds the file at a path, or creates it in an existing directory. Before creating it, deletes the WAL and the
    /// shared memory of a former database of the same name.
    pub(crate) fn open_or_create(path: &Path, mode: FileMode) -> Result<Self, OpenError> {
        let refused = |error: io::Error| file_error(path, &error);
        if FileId::from_path(path).map_err(refused)?.is_none() {
            let folder = folder(path);
            if !folder.is_dir() {
                return Err(OpenError::NoFolder { path: folder.to_owned() });
            }
            // Otherwise, the WAL of the deleted database would be used for the new one.
            for left in sidecars(path).into_iter().flatten() {
                let _ = std::fs::remove_file(left);
            }
            drop(mode.open_or_create(OpenOptions::new().write(true), path).map_err(refused)?);
            sync_dir(folder).map_err(refused)?;
        }
        let database = FileId::from_path(path)
            .and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(refused)?;
        Ok(Self { path: path.to_owned(), database, header: File::open(path).map_err(refused)? })
    }

    /// Identifies the files once connections are open and have read the database.
    pub(crate) fn into_open_files(self) -> Result<OpenFiles, OpenError> {
        let Self { path, database, header } = self;
        let moved = || OpenError::Replaced { path: path.clone() };
        let sidecars = sidecars(&path).ok_or_else(moved)?;
        let ids = FileIds::from_path(&path).ok().flatten().filter(|ids| ids.database == database).ok_or_else(moved)?;
        let real_path = std::fs::canonicalize(&path).map_err(|_| moved())?;
        let files = OpenFiles { path: path.clone(), real_path, sidecars, ids, header };
        let is_whole = ids.sidecars.iter().all(Option::is_some) && files.change().is_none();
        if is_whole { Ok(files) } else { Err(moved()) }
    }
}

/// Returns the directory of a file.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a path is, or contains, a symbolic link into a directory that does not exist. Returns `false` if this can't
/// be determined.
pub(crate) fn is_broken_link(path: &Path) -> bool {
    let mut target = path.to_owned();
    // Linux follows as many links.
    for _ in 0..40 {
        let Ok(next) = std::fs::read_link(&target) else { break };
        target = folder(&target).join(next);
    }
    let is_dangling = |folder: &Path| folder.is_symlink() && folder.try_exists().is_ok_and(|exists| !exists);
    (target != path && !folder(&target).is_dir()) || folder(path).ancestors().any(is_dangling)
}

/// Returns the paths of the WAL and the shared memory: next to the file itself, even if the path is a link.
fn sidecars(path: &Path) -> Option<[PathBuf; 2]> {
    let of_missing = || Some(std::fs::canonicalize(folder(path)).ok()?.join(path.file_name()?));
    let itself = std::fs::canonicalize(path).ok().or_else(of_missing)?;
    Some(SIDECAR_SUFFIXES.map(|suffix| {
        let mut name = itself.clone().into_os_string();
        name.push(suffix);
        name.into()
    }))
}

/// Whether an open file has a store's header. It has no application id until its first checkpoint.
#[cfg(unix)]
fn is_store(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut header = [0; HEADER_BYTES];
    let application = crate::sqlite::schema::APPLICATION.to_be_bytes();
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => header.starts_with(MAGIC) && [&application[4..], &[0; 4]].iter().any(|id| header.ends_with(id)),
        // Unreadable at the moment; assume that it is a store.
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    }
}

#[cfg(not(unix))]
fn is_store(_: &File) -> bool {
    true
}
