//! The tokens file, reloaded when it changes.
//!
//! A thread of its own checks it, so that a file that can't be read, or not in time, blocks no request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::access::sessions::Sessions;
use crate::access::tokens::{Tokens, TokensError};

/// How often the file is checked.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A tokens file that is reloaded when it changes. While it is invalid, the previous tokens stay.
#[derive(Debug)]
pub struct TokensFile {
    inner: Arc<Inner>,
    /// Ends the thread when it is dropped.
    _open: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    tokens: Mutex<Arc<Tokens>>,
    /// The file's stamp at the last check; locked during a check.
    seen: Mutex<Option<Stamp>>,
    /// Sessions of a token end when it is removed from the file or gets other projects.
    sessions: Arc<Mutex<Sessions>>,
}

/// Metadata that changes when the file does.
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
    /// Opens a tokens file.
    ///
    /// # Errors
    /// It is invalid, or the thread can't be started.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let seen = Mutex::new(Stamp::of(path));
        let tokens = Mutex::new(Arc::new(Tokens::read(path)?));
        let inner = Arc::new(Inner { path: path.to_owned(), tokens, seen, sessions: Arc::default() });
        let (open, closed) = mpsc::channel();
        let watched = Arc::downgrade(&inner);
        std::thread::Builder::new().name("tokens-file".to_owned()).spawn(move || watch(&watched, &closed))?;
        Ok(Self { inner, _open: open })
    }

    /// The current tokens.
    pub(super) fn tokens(&self) -> Arc<Tokens> {
        self.inner.tokens.lock().clone()
    }

    /// The sessions of its tokens.
    pub(super) fn sessions(&self) -> Arc<Mutex<Sessions>> {
        Arc::clone(&self.inner.sessions)
    }

    /// Checks the file now.
    #[cfg(test)]
    pub(super) fn look_next_time(&self) {
        self.inner.look();
    }
}

fn watch(inner: &Weak<Inner>, closed: &mpsc::Receiver<()>) {
    while closed.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(inner) = inner.upgrade() else { return };
        inner.look();
    }
}

impl Inner {
    fn look(&self) {
        let mut seen = self.seen.lock();
        let stamp = Stamp::of(&self.path);
        if stamp == *seen {
            return;
        }
        let read = Tokens::read(&self.path);
        if Stamp::of(&self.path) != stamp {
            // The file is being written: the next check reads it.
            return;
        }
        *seen = stamp;
        match read {
            Ok(tokens) => {
                tracing::info!(tokens = tokens.len(), "tokens file reloaded");
                let before = std::mem::replace(&mut *self.tokens.lock(), Arc::new(tokens));
                let ended = before.ended_with(&self.tokens.lock());
                self.sessions.lock().close_of(&ended);
            }
            Err(error) => tracing::error!(%error, "tokens file can't be used; keeping the previous tokens"),
        }
    }
}
