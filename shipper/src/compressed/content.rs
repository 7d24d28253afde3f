//! A file as its reader sees it: its bytes, or the content that they decode to.

use std::io;
use std::sync::Arc;

use super::Unpacked;
use crate::disk::{DiskFile, Stat};

/// The content of a file. Offsets and lengths refer to it; the other metadata is that of the file.
#[derive(Debug)]
pub enum Content<F> {
    /// A plain file.
    Plain(Arc<F>),
    /// The content of a compressed file.
    Unpacked {
        /// The decoded file.
        file: Arc<Unpacked<F>>,
        /// The length of the content.
        len: u64,
    },
}

impl<F> Clone for Content<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(file) => Self::Plain(Arc::clone(file)),
            Self::Unpacked { file, len } => Self::Unpacked { file: Arc::clone(file), len: *len },
        }
    }
}

impl<F: DiskFile> Content<F> {
    /// A plain file.
    pub(crate) fn plain(file: F) -> Self {
        Self::Plain(Arc::new(file))
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &F {
        match self {
            Self::Plain(file) => file,
            Self::Unpacked { file, .. } => file.file(),
        }
    }

    /// Whether the file is compressed.
    pub(crate) fn is_unpacked(&self) -> bool {
        matches!(self, Self::Unpacked { .. })
    }

    /// The file, if it is plain; only those are written.
    fn writable(&self) -> io::Result<&F> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Unpacked { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl<F: DiskFile> DiskFile for Content<F> {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writable()?.append(bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(buffer, offset),
            Self::Unpacked { file, .. } => file.read_at(buffer, offset),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.writable()?.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.writable()?.sync()
    }

    fn stat(&self) -> io::Result<Stat> {
        match self {
            Self::Plain(file) => file.stat(),
            Self::Unpacked { file, len } => Ok(file.file().stat()?.unpacked(*len)),
        }
    }

    fn is_read_forward(&self) -> bool {
        self.is_unpacked()
    }
}
