//! The few things that the shipper asks of a file system, so that a simulation can answer in its place.
//!
//! [`RealDisk`] is the machine's own. The simulation's disk loses what was not synced, tears writes and stops at any
//! step (`tests/it/simulation`). Nothing here knows what the files hold.

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

    /// Makes `dir` and what is missing above it.
    ///
    /// # Errors
    /// As the file system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, sorted; none where there is no such folder.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// As [`Disk::list`], as paths: also those whose names are not UTF-8, which `list` leaves out.
    ///
    /// # Errors
    /// As the file system says.
    fn paths(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// What a shell's pattern matches; nothing for what is no pattern.
    fn matching(&self, pattern: &str) -> Matched;

    /// The path without links and dots, where there is something.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;

    /// Whether it is a file, not a folder or a pipe, that can be opened without waiting.
    fn is_file(&self, path: &Path) -> bool;

    /// Whether it is a folder.
    fn is_dir(&self, path: &Path) -> bool;

    /// What is known of the file at a path, without opening it; of a link, of what it leads to.
    ///
    /// # Errors
    /// As the file system says.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The present path of an open file, however it was renamed; `None` once it is removed, or where nobody knows.
    fn path_of(&self, file: &Self::File) -> Option<PathBuf>;

    /// What names this run of the machine; `None` where nobody knows.
    fn boot_id(&self) -> Option<String>;

    /// Opens a file that exists, for reading.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file for appending and reading, making it where it is missing.
    ///
    /// # Errors
    /// As the file system says.
    fn open_append(&self, path: &Path) -> io::Result<Self::File>;

    /// Renames a file over another, in one step.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in `dir` survive a power loss.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Appends some or all of `bytes`, and says how many.
    ///
    /// # Errors
    /// As the file system says; nothing was appended then.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Fills `buffer` from `offset` on, as far as the file goes, and says how many bytes it got.
    ///
    /// # Errors
    /// As the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's bytes survive a power loss.
    ///
    /// # Errors
    /// As the file system says.
    fn sync(&self) -> io::Result<()>;

    /// What is known of the file besides its bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn stat(&self) -> io::Result<Stat>;

    /// Whether to read far behind the furthest read costs as much as to read all that lies before.
    fn is_read_forward(&self) -> bool {
        false
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes on a disk.
    #[default]
    Regular,
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Special,
}

/// A file's identity, size and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The device that it is on.
    pub device: u64,
    /// Its number there, reused after its removal.
    pub inode: u64,
    /// When it was created, in nanoseconds since the Unix epoch, where the file system knows.
    pub born_ns: Option<i64>,
    /// When its content was last written, in nanoseconds since the Unix epoch.
    pub written_ns: i64,
    /// When its content, name or rights last changed, in nanoseconds since the Unix epoch.
    pub changed_ns: i64,
    /// How many names it has; 0 once it is removed.
    pub links: u64,
    /// Its size in bytes; of a compressed file that is read, its content's.
    pub len: u64,
    /// The size on the disk of a compressed file that is read.
    pub packed_len: Option<u64>,
    /// The size on the disk of a file that ends with zeros over which nobody has written yet.
    pub allocated_len: Option<u64>,
    /// What it is.
    pub kind: FileKind,
}

impl Stat {
    /// Of a compressed file, the same with the length of its content.
    pub(crate) fn unpacked(self, len: u64) -> Self {
        Self { len, packed_len: Some(self.disk_len()), ..self }
    }

    /// The same with what was found out of its length before it was looked at again.
    pub(crate) fn as_long_as(self, seen: &Self) -> Self {
        Self { len: seen.len, packed_len: seen.packed_len, allocated_len: seen.allocated_len, ..self }
    }

    /// Its size on the disk.
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

/// What [`RealDisk`] makes files with, for all of this process, as a umask is.
static FILE_MODE: AtomicU32 = AtomicU32::new(0o600);

impl RealDisk {
    /// Sets the permissions of files and folders that this process makes from now on.
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
        // A name that is not UTF-8 is none of ours.
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
        // Of a removed file the link says so behind its last name.
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

/// Appends all of `bytes` or, where that fails, leaves the file as it was, `len` bytes long. Where even that fails, what
/// [`is_whole`] tells, a part of them stands at its end.
///
/// # Errors
/// As the file system says.
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

/// Whether an error says that there is no room: on the disk, or in what its user may have of it.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a file that could not be appended to ends at `len`, as before.
pub fn is_whole(file: &impl DiskFile, len: u64) -> bool {
    file.stat().is_ok_and(|stat| stat.len == len)
}
