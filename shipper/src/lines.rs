//! The lines of one generation, however they stand in its file.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::docker::ContainerReader;
use crate::document::{LineView, Place};
use crate::encoding::LineEncoding;
use crate::reader::utf16::Utf16Reader;
use crate::reader::{Chunk, Reader};

/// A place in a generation.
#[derive(Debug)]
pub(crate) enum Lines<F> {
    /// As they were written, in UTF-8.
    Plain(Reader<F>),
    /// As they were written to a file. Its first bytes, which were not read yet, may name another encoding than the one set.
    Begun(Reader<F>, usize, LineEncoding),
    /// As they were written, in an encoding whose newlines are UTF-8's.
    Decoded(Reader<F>, LineEncoding),
    /// As they were written, in UTF-16.
    Utf16(Utf16Reader<F>),
    /// In the entries that Docker made of them.
    Container(ContainerReader<F>),
}

impl<F: DiskFile> Lines<F> {
    /// The lines of what lies at `place`, from `offset` on. Files are in `encoding` unless they begin with a byte order mark.
    pub(crate) fn new(place: &Place, file: Arc<F>, offset: u64, line_max_bytes: usize, encoding: LineEncoding) -> Self {
        match place {
            Place::Stream(_) => Self::Plain(Reader::new(file, offset, line_max_bytes)),
            Place::File(_) => Self::Begun(Reader::new(file, offset, line_max_bytes), line_max_bytes, encoding),
            Place::Container { .. } => Self::Container(ContainerReader::new(file, offset, line_max_bytes)),
        }
    }

    /// Goes on in another file, which is the same up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        match self {
            Self::Plain(reader) | Self::Begun(reader, ..) | Self::Decoded(reader, _) => reader.move_to(file),
            Self::Utf16(reader) => reader.move_to(file),
            Self::Container(reader) => reader.move_to(file),
        }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain(reader) | Self::Begun(reader, ..) | Self::Decoded(reader, _) => reader.offset(),
            Self::Utf16(reader) => reader.offset(),
            Self::Container(reader) => reader.offset(),
        }
    }

    /// The file that it reads.
    pub(crate) fn file(&self) -> &Arc<F> {
        match self {
            Self::Plain(reader) | Self::Begun(reader, ..) | Self::Decoded(reader, _) => reader.file(),
            Self::Utf16(reader) => reader.file(),
            Self::Container(reader) => reader.file(),
        }
    }

    /// The file's length now.
    pub(crate) fn file_len(&self) -> io::Result<u64> {
        Ok(self.file().stat()?.len)
    }

    /// Gives lines to `take`, as [`Reader::read`] says.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        if matches!(self, Self::Begun(..)) {
            self.find_encoding(end, ended)?;
        }
        match self {
            Self::Plain(reader) => reader.read(buffer, end, ended, take),
            // Not enough bytes to tell the encoding, and so no whole line.
            Self::Begun(reader, ..) => {
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

    /// Finds out a file's encoding, once its first bytes are there.
    #[cold]
    fn find_encoding(&mut self, end: u64, ended: bool) -> io::Result<()> {
        let Self::Begun(reader, line_max_bytes, encoding) = self else { return Ok(()) };
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
