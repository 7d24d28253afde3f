//! The file of tokens on disk, read again when it changes.
//!
//! A thread of its own looks at it, so that a file that can't be read, or not in time, keeps no request waiting.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::{Duration, SystemTime};

use crate::access::lock;
use crate::access::sessions::Sessions;
use crate::access::tokens::{Tokens, TokensError};

/// The file of tokens is looked at this often.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file of tokens, which is read again when it changes. While it can't be used, what it said before holds.
#[derive(Debug)]
pub struct TokensFile {
    inner: Arc<Inner>,
    /// The thread ends when this does.
    _open: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    tokens: Mutex<Arc<Tokens>>,
    /// What the file was when it was looked at last; held during a look.
    seen: Mutex<Option<Stamp>>,
    /// Those of a token that is taken from the file, or may read something else, end with it.
    sessions: Arc<Mutex<Sessions>>,
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
    /// It can't be used now, or not be looked at again.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let seen = Mutex::new(Stamp::of(path));
        let tokens = Mutex::new(Arc::new(Tokens::read(path)?));
        let inner = Arc::new(Inner { path: path.to_owned(), tokens, seen, sessions: Arc::default() });
        let (open, closed) = mpsc::channel();
        let watched = Arc::downgrade(&inner);
        std::thread::Builder::new().name("tokens-file".to_owned()).spawn(move || watch(&watched, &closed))?;
        Ok(Self { inner, _open: open })
    }

    /// The tokens as the file had them last.
    pub(super) fn tokens(&self) -> Arc<Tokens> {
        lock(&self.inner.tokens).clone()
    }

    /// The sessions of its tokens.
    pub(super) fn sessions(&self) -> Arc<Mutex<Sessions>> {
        Arc::clone(&self.inner.sessions)
    }

    /// Looks at the file now, so that what comes next goes by it.
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
        let mut seen = lock(&self.seen);
        let stamp = Stamp::of(&self.path);
        if stamp == *seen {
            return;
        }
        let read = Tokens::read(&self.path);
        if Stamp::of(&self.path) != stamp {
            // It is being written: the next look finds it whole.
            return;
        }
        *seen = stamp;
        match read {
            Ok(tokens) => {
                tracing::info!(tokens = tokens.len(), "tokens file reloaded");
                let before = std::mem::replace(&mut *lock(&self.tokens), Arc::new(tokens));
                let ended = before.ended_with(&lock(&self.tokens));
                lock(&self.sessions).close_of(&ended);
            }
            Err(error) => tracing::error!(%error, "tokens file can't be used; keeping the previous tokens"),
        }
    }
}
