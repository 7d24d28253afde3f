//! Reads files that contain one secret: a password, an API key, a token.

use std::io;
use std::path::{Path, PathBuf};

/// Maximum size of the file in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A file can't be used as a secret. The message shows nothing of its content.
#[derive(Debug, thiserror::Error)]
#[error("can't use {}: {reason}", path.display())]
pub struct SecretFileError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is too large for a secret")]
    TooLarge,
    #[error("it must contain the secret on a single line")]
    NotOneLine,
}

/// Reads a secret: the content of a file, without the line's end. It is one line of at most 64 KiB, without control
/// characters.
///
/// # Errors
/// The file can't be read, or its content is not a secret.
pub fn read(path: &Path) -> Result<String, SecretFileError> {
    read_checked(path).map_err(|reason| SecretFileError { path: path.to_owned(), reason })
}

fn read_checked(path: &Path) -> Result<String, Reason> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(Reason::TooLarge);
    }
    let text = std::fs::read_to_string(path)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() || secret.contains(char::is_control) {
        return Err(Reason::NotOneLine);
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read_back = |content: &[u8]| {
            std::fs::write(file.path(), content).unwrap();
            read(file.path()).map_err(|error| error.to_string())
        };
        for content in ["hunter 2", "hunter 2\n", "hunter 2\r\n"] {
            assert_eq!(read_back(content.as_bytes()).as_deref(), Ok("hunter 2"));
        }
        let large = vec![b'h'; 64 * 1024 + 1];
        for content in [&b""[..], b"\n", b"hunter\n2\n", b"hunter\t2", b"hunter\xff", &large] {
            let refused = read_back(content).unwrap_err();
            assert!(refused.contains(file.path().to_str().unwrap()) && !refused.contains("hunter"), "{refused}");
        }
        assert!(read(Path::new("/nowhere/secret")).unwrap_err().to_string().contains("No such file"));
    }
}
