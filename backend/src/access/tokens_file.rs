//! The file of tokens on disk, read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::access::lock;
use crate::access::tokens::{Tokens, TokensError};

/// The file of tokens is looked at again when the last look is older than this.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file of tokens, which is read again when it changes. While it can't be used, what it said before holds.
#[derive(Debug)]
pub struct TokensFile {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    tokens: Arc<Tokens>,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let of = std::fs::metadata(path).ok()?;
        let changed = (of.ctime(), of.ctime_nsec());
        Some(Self { modified: of.modified().ok(), bytes: of.len(), changed, inode: of.ino() })
    }
}

impl TokensFile {
    /// The tokens of a file.
    ///
    /// # Errors
    /// It can't be used now.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let stamp = Stamp::of(path);
        let tokens = Arc::new(Tokens::read(path)?);
        Ok(Self { path: path.to_owned(), loaded: Mutex::new(Loaded { tokens, stamp, looked: Instant::now() }) })
    }

    /// The tokens as the file has them.
    pub(super) fn tokens(&self) -> Arc<Tokens> {
        let mut file = lock(&self.loaded);
        if file.looked.elapsed() >= LOOK_EVERY {
            file.looked = Instant::now();
            let stamp = Stamp::of(&self.path);
            if stamp != file.stamp {
                file.stamp = stamp;
                match Tokens::read(&self.path) {
                    Ok(tokens) => {
                        tracing::info!(tokens = tokens.len(), "tokens file reloaded");
                        file.tokens = Arc::new(tokens);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the file of tokens can't be used; what it said before holds");
                    }
                }
            }
        }
        file.tokens.clone()
    }

    /// Lets the next look be one at the file.
    #[cfg(test)]
    pub(super) fn look_next_time(&self) {
        let mut loaded = lock(&self.loaded);
        loaded.looked = loaded.looked.checked_sub(LOOK_EVERY).unwrap_or(loaded.looked);
    }
}
