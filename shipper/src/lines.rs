//! The lines of one generation, however they stand in its file.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::docker::ContainerReader;
use crate::document::{LineView, Place};
use crate::reader::utf16::{ByteOrder, Utf16Reader};
use crate::reader::{Chunk, Reader};

/// A place in a generation.
#[derive(Debug)]
pub(crate) enum Lines<F> {
    /// As they were written.
    Plain(Reader<F>),
    /// As they were written to a file, whose encoding its first bytes tell; nothing of it was read yet.
    Begun(Reader<F>, usize),
    /// As they were written, in UTF-16.
    Utf16(Utf16Reader<F>),
    /// In the entries that Docker made of them.
    Container(ContainerReader<F>),
}

impl<F: DiskFile> Lines<F> {
    /// The lines of what lies at `place`, from `offset` on.
    pub(crate) fn new(place: &Place, file: Arc<F>, offset: u64, line_max_bytes: usize) -> Self {
        match place {
            Place::Stream(_) => Self::Plain(Reader::new(file, offset, line_max_bytes)),
            Place::File(_) => Self::Begun(Reader::new(file, offset, line_max_bytes), line_max_bytes),
            Place::Container { .. } => Self::Container(ContainerReader::new(file, offset, line_max_bytes)),
        }
    }

    /// Goes on in another file, which is the same up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        match self {
            Self::Plain(reader) | Self::Begun(reader, _) => reader.move_to(file),
            Self::Utf16(reader) => reader.move_to(file),
            Self::Container(reader) => reader.move_to(file),
        }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain(reader) | Self::Begun(reader, _) => reader.offset(),
            Self::Utf16(reader) => reader.offset(),
            Self::Container(reader) => reader.offset(),
        }
    }

    /// The file that it reads.
    pub(crate) fn file(&self) -> &Arc<F> {
        match self {
            Self::Plain(reader) | Self::Begun(reader, _) => reader.file(),
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
        take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        if matches!(self, Self::Begun(..)) {
            self.find_encoding(end, ended)?;
        }
        match self {
            Self::Plain(reader) | Self::Begun(reader, _) => reader.read(buffer, end, ended, take),
            Self::Utf16(reader) => reader.read(buffer, end, ended, take),
            Self::Container(reader) => reader.read(buffer, end, ended, take),
        }
    }

    /// Finds out a file's encoding by its first bytes, once they are there.
    #[cold]
    fn find_encoding(&mut self, end: u64, ended: bool) -> io::Result<()> {
        let Self::Begun(reader, line_max_bytes) = self else { return Ok(()) };
        let order = if end < 2 { None } else { ByteOrder::of(&**reader.file())? };
        let (file, offset) = (Arc::clone(reader.file()), reader.offset());
        if let Some(order) = order {
            *self = Self::Utf16(Utf16Reader::new(file, order, offset, *line_max_bytes));
        } else if end >= 2 || ended {
            *self = Self::Plain(Reader::new(file, offset, *line_max_bytes));
        }
        Ok(())
    }
}
