//! Reads the lines of a generation, in any of the supported formats.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::docker::ContainerReader;
use crate::document::{LineView, Place};
use crate::encoding::LineEncoding;
use crate::reader::utf16::Utf16Reader;
use crate::reader::{Chunk, Reader};

/// A reader for one generation.
#[derive(Debug)]
pub(crate) enum Lines<F> {
    /// UTF-8.
    Plain(Reader<F>),
    /// A file whose encoding is not known yet: its first bytes may be a byte order mark.
    Undetected(Reader<F>, usize, LineEncoding),
    /// An ASCII-compatible encoding.
    Decoded(Reader<F>, LineEncoding),
    /// UTF-16.
    Utf16(Utf16Reader<F>),
    /// Entries of Docker's json-file driver.
    Container(ContainerReader<F>),
}

impl<F: DiskFile> Lines<F> {
    /// Reads lines from `offset` on. Files have the given encoding unless they start with a byte order mark.
    pub(crate) fn new(place: &Place, file: Arc<F>, offset: u64, line_max_bytes: usize, encoding: LineEncoding) -> Self {
        match place {
            Place::Stream(_) => Self::Plain(Reader::new(file, offset, line_max_bytes)),
            Place::File(_) => Self::Undetected(Reader::new(file, offset, line_max_bytes), line_max_bytes, encoding),
            Place::Container { .. } => Self::Container(ContainerReader::new(file, offset, line_max_bytes)),
        }
    }

    /// Continues in another file with the same content up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.move_to(file),
            Self::Utf16(reader) => reader.move_to(file),
            Self::Container(reader) => reader.move_to(file),
        }
    }

    /// Offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.offset(),
            Self::Utf16(reader) => reader.offset(),
            Self::Container(reader) => reader.offset(),
        }
    }

    /// The file being read.
    pub(crate) fn file(&self) -> &Arc<F> {
        match self {
            Self::Plain(reader) | Self::Undetected(reader, ..) | Self::Decoded(reader, _) => reader.file(),
            Self::Utf16(reader) => reader.file(),
            Self::Container(reader) => reader.file(),
        }
    }

    /// The present length of the file.
    pub(crate) fn file_len(&self) -> io::Result<u64> {
        Ok(self.file().stat()?.len)
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
            Self::Container(reader) => reader.read(buffer, end, ended, take),
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
