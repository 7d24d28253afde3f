//! Files of lines, in any encoding.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::Describe;
use crate::disk::{DiskFile, path};
use crate::encoding::LineEncoding;
use crate::reader::utf16::Utf16Reader;
use crate::reader::{Chunk, LineView, Reader};

/// A file of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    path: String,
}

impl FileSource {
    /// Creates the source of the file at a path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path::text(path) }
    }
}

impl Describe for FileSource {
    fn each_field(&self, with: &mut dyn FnMut(&'static str, &str)) {
        with("file", &self.path);
    }
}

/// Reads the lines of a file.
#[derive(Debug)]
pub(crate) enum TextReader<F> {
    /// UTF-8.
    Plain(Reader<F>),
    /// A file whose encoding is not known yet: its first bytes may be a byte order mark.
    Undetected(Reader<F>, usize, LineEncoding),
    /// An ASCII-compatible encoding.
    Decoded(Reader<F>, LineEncoding),
    /// UTF-16.
    Utf16(Utf16Reader<F>),
}

impl<F: DiskFile> TextReader<F> {
    /// Creates a reader at `offset`, which must be the start of a line, for a file with this encoding unless it starts
    /// with a byte order mark.
    pub(crate) fn new(file: Arc<F>, offset: u64, line_max_bytes: usize, encoding: LineEncoding) -> Self {
        Self::Undetected(Reader::new(file, offset, line_max_bytes), line_max_bytes, encoding)
    }

    /// Continues in another file with the same content up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.move_to(file),
            Self::Utf16(reader) => reader.move_to(file),
        }
    }

    /// Offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.offset(),
            Self::Utf16(reader) => reader.offset(),
        }
    }

    /// The file being read.
    pub(crate) fn file(&self) -> &Arc<F> {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.file(),
            Self::Utf16(reader) => reader.file(),
        }
    }

    /// Passes lines to `take`; see [`Reader::read`].
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        if matches!(self, Self::Undetected(..)) {
            self.detect_encoding(end, ended)?;
        }
        match self {
            Self::Plain(reader) => reader.read(buffer, end, ended, take),
            // Too few bytes to detect the encoding, so there is no complete line.
            Self::Undetected(reader, ..) => {
                let start = reader.offset();
                Ok(Chunk { start, end: start, ..Chunk::default() })
            }
            Self::Decoded(reader, encoding) => {
                let encoding = *encoding;
                reader.read(buffer, end, ended, |line| encoding.decode(line, &mut take))
            }
            Self::Utf16(reader) => reader.read(buffer, end, ended, take),
        }
    }

    /// Detects the encoding once the first bytes are there.
    #[cold]
    fn detect_encoding(&mut self, end: u64, ended: bool) -> io::Result<()> {
        let Self::Undetected(reader, line_max_bytes, encoding) = self else { return Ok(()) };
        let (file, offset) = (Arc::clone(reader.file()), reader.offset());
        let Some(encoding) = encoding.for_file(&*file, end, ended)? else { return Ok(()) };
        *self = match encoding.utf16() {
            Some(order) => Self::Utf16(Utf16Reader::new(file, order, offset, *line_max_bytes)),
            None if encoding.is_utf8() => Self::Plain(Reader::new(file, offset, *line_max_bytes)),
            None => Self::Decoded(Reader::new(file, offset, *line_max_bytes), encoding),
        };
        Ok(())
    }
}
