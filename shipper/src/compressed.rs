//! Reads gzip and zstd files as if they were plain: [`magic`] detects them, [`Unpacked`] reads them, and [`Content`] is
//! either kind of file.
//!
//! # Limits
//! - Memory of an open file, whatever it holds: up to 3 MiB of content for backward reads, and for each of the two
//!   decoders, the one that reads and the one that measures, 100 KiB (gzip) or up to 9 MiB (zstd). A zstd frame that
//!   needs a window of more than 8 MiB is rejected. The measuring decoder is freed when the length is known.
//! - Reading is forward. Going back by at most [`BACK_BYTES`], or within the first [`HEAD_BYTES`], is free; going back
//!   farther decodes the file from the start. A read far ahead decodes everything in between.
//! - The file must not change: one that is replaced or truncated while open results in an error, or in content of both
//!   versions.
//!
//! # Ends
//! A gzip file ends with its last member, optionally followed by zeros as padding; anything else after it is damage. A
//! zstd file ends with its last frame; anything after it is damage. The content before a damaged part can be read. A
//! file that ends within a member or a frame may still be written: data added to it is read.

mod content;
mod decoder;
mod magic;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::content::Content;
use self::decoder::{Decoder, Step};
pub(crate) use self::magic::{Compression, MAGIC_BYTES, Magic, magic};
use crate::disk::DiskFile;
use crate::journal::TAIL_BYTES;

/// A read may go back by this much from the furthest one without decoding again. It is more than the longest line.
pub(crate) const BACK_BYTES: usize = 1536 * 1024;

/// This much of the content's start is kept, for checks whether a file is still the same.
pub(crate) const HEAD_BYTES: usize = 4 * 1024;

/// Size of content decoded at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How far a file was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The content has more than this many bytes.
    Partial(u64),
    /// The content has exactly this many bytes, with valid checksums.
    Complete(u64),
}

/// The content of a compressed file. Reads follow [`DiskFile::read_at`], with offsets in the content.
///
/// Errors are [`io::ErrorKind::UnexpectedEof`] if the file ends before its content, [`io::ErrorKind::InvalidData`] if
/// it is damaged, [`io::ErrorKind::Unsupported`] if it needs a large window or a dictionary, and file system errors.
pub struct Unpacked<F> {
    file: Arc<F>,
    compression: Compression,
    state: Mutex<State<F>>,
}

struct State<F> {
    /// The start of the content, as far as it was decoded.
    head: Vec<u8>,
    reading: Option<Reading<F>>,
    /// The measuring decoder; `None` before it starts and after it has ended.
    measuring: Option<Decoder<F>>,
    measured: u64,
    len: Option<u64>,
}

impl<F: DiskFile> Unpacked<F> {
    /// Opens the content of `file`.
    pub(crate) fn new(file: Arc<F>, compression: Compression) -> Self {
        let state = State { head: Vec::new(), reading: None, measuring: None, measured: 0, len: None };
        Self { file, compression, state: Mutex::new(state) }
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &Arc<F> {
        &self.file
    }

    /// Fills `buffer` from `offset` of the content, and returns the number of bytes. If the content is damaged or
    /// incomplete, it returns the bytes before that; a read that starts after them fails.
    ///
    /// # Errors
    /// See [`Unpacked`].
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = &mut *self.state.lock();
        let end = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
        if let Some(head) = end.and_then(|range| state.head.get(range)) {
            buffer.copy_from_slice(head);
            return Ok(buffer.len());
        }
        let reading = match state.reading.take() {
            Some(reading) if reading.start <= offset => reading,
            _ => Reading::new(&self.file, self.compression)?,
        };
        let reading = state.reading.insert(reading);
        let read = reading.read(buffer, offset, &mut state.head);
        if reading.decoder.is_broken() {
            state.reading = None;
        }
        read
    }

    /// Measures up to about `max_bytes` more of the content, or of the file if that has little content. Once known, the
    /// length does not change.
    ///
    /// # Errors
    /// See [`Unpacked`]. [`Unpacked::measured`] returns the length found so far.
    pub(crate) fn advance(&self, max_bytes: u64) -> io::Result<Progress> {
        let state = &mut *self.state.lock();
        state.advance(&self.file, self.compression, max_bytes)
    }

    /// Decodes towards `offset`, so that a read there, or a few bytes before, decodes little; returns whether it was
    /// reached. Subtracts what it decodes from `budget`, in bytes of content, and stops when that is used up.
    ///
    /// # Errors
    /// See [`Unpacked`].
    pub(crate) fn seek(&self, offset: u64, budget: &mut u64) -> io::Result<bool> {
        let state = &mut *self.state.lock();
        if offset <= state.head.len() as u64 {
            return Ok(true);
        }
        let reading = match state.reading.take() {
            Some(reading) if reading.start <= offset.saturating_sub(TAIL_BYTES) => reading,
            _ => Reading::new(&self.file, self.compression)?,
        };
        let reading = state.reading.insert(reading);
        while reading.start + (reading.window.len() as u64) < offset {
            if *budget == 0 {
                return Ok(false);
            }
            match reading.decode(&mut state.head) {
                Ok(Step::Decoded(count)) => {
                    *budget = budget.saturating_sub(if count == 0 { CHUNK_BYTES } else { count } as u64);
                }
                Ok(Step::End) => break,
                Err(error) => {
                    if reading.decoder.is_broken() {
                        state.reading = None;
                    }
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    /// The length of the content found so far.
    pub(crate) fn measured(&self) -> u64 {
        self.state.lock().measured
    }

    /// The length of the content. Measures everything that is not yet measured, which may take long;
    /// [`Unpacked::advance`] does the same in steps.
    ///
    /// # Errors
    /// See [`Unpacked`].
    pub(crate) fn len(&self) -> io::Result<u64> {
        loop {
            if let Progress::Complete(len) = self.advance(u64::MAX)? {
                return Ok(len);
            }
        }
    }
}

impl<F> std::fmt::Debug for Unpacked<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unpacked").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl<F: DiskFile> State<F> {
    fn advance(&mut self, file: &Arc<F>, compression: Compression, max_bytes: u64) -> io::Result<Progress> {
        if let Some(len) = self.len {
            return Ok(Progress::Complete(len));
        }
        let mut decoder = match self.measuring.take() {
            Some(decoder) => decoder,
            None => {
                self.measured = 0;
                Decoder::new(file, compression)?
            }
        };
        let mut scratch = vec![0; CHUNK_BYTES];
        let mut left = max_bytes.max(1);
        while left > 0 {
            match decoder.step(&mut scratch) {
                // A step without content has read its maximum.
                Ok(Step::Decoded(count)) => {
                    self.measured += count as u64;
                    left = left.saturating_sub(if count == 0 { CHUNK_BYTES as u64 } else { count as u64 });
                }
                Ok(Step::End) => {
                    self.len = Some(self.measured);
                    return Ok(Progress::Complete(self.measured));
                }
                Err(error) => {
                    // A broken decoder is dropped: the error may be temporary, and measuring starts again.
                    self.measuring = Some(decoder).filter(|decoder| !decoder.is_broken());
                    return Err(error);
                }
            }
        }
        self.measuring = Some(decoder);
        Ok(Progress::Partial(self.measured))
    }
}

/// A decoder, and the last part of what it decoded.
struct Reading<F> {
    decoder: Decoder<F>,
    window: Vec<u8>,
    /// Offset of the window in the content.
    start: u64,
}

impl<F: DiskFile> Reading<F> {
    fn new(file: &Arc<F>, compression: Compression) -> io::Result<Self> {
        Ok(Self { decoder: Decoder::new(file, compression)?, window: Vec::new(), start: 0 })
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64, head: &mut Vec<u8>) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = usize::try_from(offset + filled as u64 - self.start).unwrap_or(usize::MAX);
            if let Some(held) = self.window.get(at..).filter(|held| !held.is_empty()) {
                let count = held.len().min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&held[..count]);
                filled += count;
                continue;
            }
            match self.decode(head) {
                Ok(Step::Decoded(_)) => {}
                Ok(Step::End) => break,
                // What was read before the error is content.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Decodes a chunk after the window, which keeps only as much before it as a read may go back.
    fn decode(&mut self, head: &mut Vec<u8>) -> io::Result<Step> {
        if self.window.len() + CHUNK_BYTES > 2 * BACK_BYTES {
            let dropped = self.window.len() - BACK_BYTES;
            self.window.drain(..dropped);
            self.start += dropped as u64;
        }
        let len = self.window.len();
        self.window.reserve_exact(CHUNK_BYTES);
        self.window.resize(len + CHUNK_BYTES, 0);
        let step = self.decoder.step(&mut self.window[len..]);
        let count = if let Ok(Step::Decoded(count)) = step { count } else { 0 };
        self.window.truncate(len + count);
        if self.start == 0 && head.len() < HEAD_BYTES {
            let known = head.len().min(self.window.len());
            head.extend_from_slice(&self.window[known..self.window.len().min(HEAD_BYTES)]);
        }
        step
    }
}
