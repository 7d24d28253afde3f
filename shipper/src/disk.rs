//! The file system operations that the shipper needs, so that a simulation can replace them.
//!
//! [`RealDisk`] is the machine's file system. The simulation's disk loses unsynced data, tears writes and stops at any
//! step (`tests/it/simulation`). Nothing here depends on what the files contain.

mod matching;
pub mod path;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use store::FileMode;

pub use matching::Matched;

/// A file system.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Creates `dir` and its missing parents.
    ///
    /// # Errors
    /// File system errors.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, sorted; none if it does not exist.
    ///
    /// # Errors
    /// File system errors.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Like [`Disk::list`], as paths, including names that are not UTF-8, which `list` leaves out.
    ///
    /// # Errors
    /// File system errors.
    fn paths(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// The paths that match a shell pattern; none for an invalid pattern.
    fn matching(&self, pattern: &str) -> Matched;

    /// The path without links and dots, if it exists.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;

    /// Whether it is a file, and not a folder or a pipe, that can be opened without blocking.
    fn is_file(&self, path: &Path) -> bool;

    /// Whether it is a folder.
    fn is_dir(&self, path: &Path) -> bool;

    /// Metadata of the file at a path, without opening it; of a link, that of its target.
    ///
    /// # Errors
    /// File system errors.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The present path of an open file, after any renames; `None` if it was removed or the path is unknown.
    fn path_of(&self, file: &Self::File) -> Option<PathBuf>;

    /// The boot id of the machine; `None` if unknown.
    fn boot_id(&self) -> Option<String>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// File system errors.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file for appending and reading, and creates it if it is missing.
    ///
    /// # Errors
    /// File system errors.
    fn open_append(&self, path: &Path) -> io::Result<Self::File>;

    /// Renames a file and atomically replaces another one.
    ///
    /// # Errors
    /// File system errors.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// File system errors.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in `dir` survive a power loss.
    ///
    /// # Errors
    /// File system errors.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Appends all or part of `bytes`, and returns the number.
    ///
    /// # Errors
    /// File system errors. Nothing was appended then.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Fills `buffer` from `offset`, up to the end of the file, and returns the number of bytes.
    ///
    /// # Errors
    /// File system errors.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Truncates the file to `len` bytes.
    ///
    /// # Errors
    /// File system errors.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's data survive a power loss.
    ///
    /// # Errors
    /// File system errors.
    fn sync(&self) -> io::Result<()>;

    /// The file's metadata.
    ///
    /// # Errors
    /// File system errors.
    fn stat(&self) -> io::Result<Stat>;

    /// Whether a read at a later offset costs as much as reading everything before it.
    fn is_read_forward(&self) -> bool {
        false
    }
}

/// The type of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    #[default]
    Regular,
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Special,
}

/// The identity, size and times of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its device.
    pub device: u64,
    /// Its inode, which may be reused after its removal.
    pub inode: u64,
    /// Its creation time in nanoseconds since the Unix epoch, if the file system knows it.
    pub born_ns: Option<i64>,
    /// Its modification time in nanoseconds since the Unix epoch.
    pub written_ns: i64,
    /// Time of the last change of its content, name or permissions, in nanoseconds since the Unix epoch.
    pub changed_ns: i64,
    /// Number of its names; 0 once it is removed.
    pub links: u64,
    /// Its size in bytes; for a compressed file that is read, the size of its content.
    pub len: u64,
    /// The size on disk of a compressed file that is read.
    pub packed_len: Option<u64>,
    /// The size on disk of a file that ends with allocated zeros that have not been overwritten.
    pub allocated_len: Option<u64>,
    /// Its type.
    pub kind: FileKind,
}

impl Stat {
    /// The same for a compressed file, with the length of its content.
    pub(crate) fn unpacked(self, len: u64) -> Self {
        Self { len, packed_len: Some(self.disk_len()), ..self }
    }

    /// The same, with a content length that was found earlier.
    pub(crate) fn as_long_as(self, seen: &Self) -> Self {
        Self { len: seen.len, packed_len: seen.packed_len, allocated_len: seen.allocated_len, ..self }
    }

    /// Its size on disk.
    pub(crate) fn disk_len(&self) -> u64 {
        self.packed_len.or(self.allocated_len).unwrap_or(self.len)
    }

    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let born = metadata.created().ok().and_then(since_epoch);
        let kind = match metadata.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Folder,
            _ => FileKind::Special,
        };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born_ns: born.and_then(|born| i64::try_from(born.as_nanos()).ok()),
            written_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            links: metadata.nlink(),
            len: metadata.len(),
            packed_len: None,
            allocated_len: None,
            kind,
        }
    }
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// The permissions of files that [`RealDisk`] creates. They apply to the whole process, like a umask.
static FILE_MODE: AtomicU32 = AtomicU32::new(0o600);

impl RealDisk {
    /// Sets the permissions of files and folders that this process creates from now on.
    pub fn set_file_mode(mode: FileMode) {
        FILE_MODE.store(mode.file(), Ordering::Relaxed);
    }

    fn file_mode() -> FileMode {
        FileMode::from_bits(FILE_MODE.load(Ordering::Relaxed))
    }
}

impl Disk for RealDisk {
    type File = File;

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        Self::file_mode().create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // The shipper's own names are UTF-8.
        let name = |path: PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        Ok(self.paths(dir)?.into_iter().filter_map(name).collect())
    }

    fn paths(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn matching(&self, pattern: &str) -> Matched {
        matching::matching(pattern)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        std::fs::canonicalize(path).ok()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(Stat::of(&std::fs::metadata(path)?))
    }

    fn path_of(&self, file: &File) -> Option<PathBuf> {
        // The link of a removed file has a suffix that says so.
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let stat = file.stat().ok()?;
        let named = self.stat(&path).ok()?;
        ((named.device, named.inode) == (stat.device, stat.inode)).then_some(path)
    }

    fn boot_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<File> {
        Self::file_mode().open_or_create(OpenOptions::new().read(true).append(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match { self }.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::of(&self.metadata()?))
    }
}

/// Appends all of `bytes`, or restores the file's length `len` on an error. If even that fails, which [`is_whole`]
/// detects, a part of them remains at the end.
///
/// # Errors
/// File system errors.
pub fn append_whole(file: &impl DiskFile, len: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => {
                file.truncate(len)?;
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(count) => bytes = &bytes[count..],
            Err(error) => {
                file.truncate(len)?;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Whether an error means that the disk or a quota is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a file has length `len` after a failed append.
pub fn is_whole(file: &impl DiskFile, len: u64) -> bool {
    file.stat().is_ok_and(|stat| stat.len == len)
}
