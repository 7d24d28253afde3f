//! The lines of one generation, however they stand in its file.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::docker::ContainerReader;
use crate::document::{LineView, Place};
use crate::reader::{Chunk, Reader};

/// A place in a generation.
#[derive(Debug)]
pub(crate) enum Lines<F> {
    /// As they were written.
    Plain(Reader<F>),
    /// In the entries that Docker made of them.
    Container(ContainerReader<F>),
}

impl<F: DiskFile> Lines<F> {
    /// The lines of what lies at `place`, from `offset` on.
    pub(crate) fn new(place: &Place, file: Arc<F>, offset: u64, line_max_bytes: usize) -> Self {
        match place {
            Place::Stream(_) | Place::File(_) => Self::Plain(Reader::new(file, offset, line_max_bytes)),
            Place::Container { .. } => Self::Container(ContainerReader::new(file, offset, line_max_bytes)),
        }
    }

    /// Goes on in another file, which is the same up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        match self {
            Self::Plain(reader) => reader.move_to(file),
            Self::Container(reader) => reader.move_to(file),
        }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain(reader) => reader.offset(),
            Self::Container(reader) => reader.offset(),
        }
    }

    /// The file's length now.
    pub(crate) fn file_len(&self) -> io::Result<u64> {
        let stat = match self {
            Self::Plain(reader) => reader.file().stat(),
            Self::Container(reader) => reader.file().stat(),
        };
        Ok(stat?.len)
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
        match self {
            Self::Plain(reader) => reader.read(buffer, end, ended, take),
            Self::Container(reader) => reader.read(buffer, end, ended, take),
        }
    }
}
