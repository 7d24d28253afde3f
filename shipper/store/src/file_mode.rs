//! Permissions of files and directories that hold log lines or secrets.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// Permissions of files created for log lines, regardless of the umask. The default is `0600`. Directories get the same
/// bits plus the execute bit for everyone who may read: `0700`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

/// The text is not a valid [`FileMode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseFileModeError {
    /// The text is not an octal mode of a supported form.
    #[error("{0:?} is not a file mode: expected 0600, or 0640 or 0660 for group access")]
    Malformed(String),
    /// The mode grants permissions to all users.
    #[error("{0:?} grants access to all users: expected 0600, or 0640 or 0660 for group access")]
    OpenToOthers(String),
}

/// The owner's read and write permissions, which are always set.
const OWNER: u32 = 0o600;

/// The most permissions a file may have.
const MOST: u32 = 0o660;

/// The permissions of all other users.
const OTHERS: u32 = 0o007;

impl Default for FileMode {
    fn default() -> Self {
        Self(OWNER)
    }
}

impl FromStr for FileMode {
    type Err = ParseFileModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseFileModeError::Malformed(text.to_owned());
        let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().ok_or_else(refused)?;
        match bits {
            0o600 | 0o640 | 0o660 => Ok(Self(bits)),
            bits if bits & OTHERS != 0 => Err(ParseFileModeError::OpenToOthers(text.to_owned())),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl FileMode {
    /// Keeps the supported permission bits and drops all others.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & MOST | OWNER)
    }

    /// Returns the permission bits of a file.
    #[must_use]
    pub const fn file(self) -> u32 {
        self.0
    }

    /// Returns the permission bits of a directory.
    #[must_use]
    pub const fn folder(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }

    /// Creates a directory and its missing parents with these permissions and syncs them to disk. Existing directories
    /// keep their permissions.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn create_dir_all(self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent() {
            self.create_dir_all(above)?;
        }
        match self.create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            made => made.and_then(|()| sync_dir(dir.parent().unwrap_or(Path::new("")))),
        }
    }

    #[cfg(unix)]
    fn create_dir(self, dir: &Path) -> io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        std::fs::DirBuilder::new().mode(self.folder()).create(dir)?;
        if self == Self::default() {
            return Ok(());
        }
        // The umask removed group permissions; restore them and keep an inherited set-group-ID bit.
        let inherited = std::fs::metadata(dir)?.permissions().mode() & 0o7000;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(inherited | self.folder()))
    }

    #[cfg(not(unix))]
    fn create_dir(self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir(dir)
    }

    /// Opens a file with `options`, and creates it with these permissions if it is missing. An existing file keeps its
    /// own.
    ///
    /// # Errors
    /// Returns the file system's error.
    #[cfg(unix)]
    pub fn open_or_create(self, options: &std::fs::OpenOptions, path: &Path) -> io::Result<std::fs::File> {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        match options.clone().mode(self.file()).create_new(true).open(path) {
            Ok(file) => {
                if self != Self::default() {
                    file.set_permissions(std::fs::Permissions::from_mode(self.file()))?;
                }
                Ok(file)
            }
            // A dangling symbolic link: create the file it points to.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.clone().mode(self.file()).create(true).open(path)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a file with `options`, and creates it if it is missing.
    ///
    /// # Errors
    /// Returns the file system's error.
    #[cfg(not(unix))]
    pub fn open_or_create(self, options: &std::fs::OpenOptions, path: &Path) -> io::Result<std::fs::File> {
        options.clone().create(true).open(path)
    }
}

/// Syncs a directory, so that files created in it survive a power loss. `""` is the current directory.
///
/// # Errors
/// Returns the file system's error, unless the file system does not support syncing directories.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    match std::fs::File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        // The directory is writable but not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Returns a file's permission bits if users other than its owner may read or write it. Returns `None` if only the
/// owner may, or if the file does not exist.
#[must_use]
pub fn shared_with_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let bits = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (bits & 0o077 != 0).then_some(bits)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_new_directory_inherits_the_set_group_id() {
        use std::os::unix::fs::PermissionsExt as _;
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o2750)).unwrap();
        let made = base.path().join("a/b");
        FileMode::from_bits(0o640).create_dir_all(&made).unwrap();
        assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o7777, 0o2750);
    }

    #[test]
    fn modes_are_octal_and_keep_the_owners_permissions() {
        for (text, file, folder) in [("0600", 0o600, 0o700), ("640", 0o640, 0o750), ("0660", 0o660, 0o770)] {
            let mode: FileMode = text.parse().unwrap();
            assert_eq!((mode.file(), mode.folder()), (file, folder), "{text}");
            assert!(mode.to_string().ends_with(text) && mode.to_string().len() == 4);
        }
        for text in ["", "0", "0700", "0440", "0o600", "rw-------", "1600", "0800", "+600", "00600"] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
        assert!("0620".parse::<FileMode>().is_err(), "a group that may write and not read");
        for text in ["0666", "0604", "0622", "0644", "0602", "601", "0664"] {
            let refused = text.parse::<FileMode>().unwrap_err().to_string();
            assert!(refused.contains(text) && refused.contains("grants access to all users"), "{refused}");
        }
        assert_eq!(FileMode::default().to_string(), "0600");
    }
}
