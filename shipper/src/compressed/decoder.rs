//! Decodes a compressed file from its start, in limited steps.
//!
//! A step reads at most [`STEP_READ_BYTES`] of the file and writes at most the size of its buffer, so that neither a
//! decompression bomb nor a file of empty members makes it slow. At the end of the file, within a member, a decoder
//! waits for more data: it continues when the file has grown.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{DParameter, Decoder as RawZstd, InBuffer, Operation as _, OutBuffer};

use super::Compression;
use crate::disk::DiskFile;

/// Maximum number of bytes read from the file in one step.
const STEP_READ_BYTES: usize = 256 * 1024;

/// Maximum number of bytes read from the file in one call.
const READ_BYTES: usize = 32 * 1024;

/// The maximum window of a zstd frame as a power of two: 8 MiB, which RFC 8878 requires of every decoder. zstd levels
/// up to 19 need no more; `--ultra` and `--long` may.
const WINDOW_LOG_MAX: u32 = 23;

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This many bytes of content, possibly 0.
    Decoded(usize),
    /// The file ends after a complete member.
    End,
}

/// Decodes a file.
pub(super) struct Decoder<F> {
    format: Format<F>,
    /// Why the content can't be decoded any further.
    failed: Option<(io::ErrorKind, String)>,
    /// Whether a read failed within a member.
    is_broken: bool,
}

enum Format<F> {
    Gzip(Gzip<F>),
    Zstd(Zstd<F>),
}

impl<F: DiskFile> Decoder<F> {
    pub(super) fn new(file: &Arc<F>, compression: Compression) -> io::Result<Self> {
        let input = Input { file: Arc::clone(file), offset: 0, left: 0, at_end: false, is_broken: false };
        let input = BufReader::with_capacity(READ_BYTES, input);
        let format = match compression {
            Compression::Gzip => Format::Gzip(Gzip::Between { input, padding: false, begun: false }),
            Compression::Zstd => {
                let mut decoder = RawZstd::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
                Format::Zstd(Zstd { decoder, input, at_boundary: false, begun: false, flushed: true })
            }
        };
        Ok(Self { format, failed: None, is_broken: false })
    }

    /// Whether a read failed. Only a new decoder can continue.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Decodes into `buffer`, which must not be empty.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends within a member; the next step decodes data added to it.
    /// [`io::ErrorKind::InvalidData`] and [`io::ErrorKind::Unsupported`] if the content can't be decoded, now and in
    /// all further steps. After file system errors the decoder is broken.
    pub(super) fn step(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        if let Some((kind, message)) = &self.failed {
            return Err(io::Error::new(*kind, message.clone()));
        }
        if let Some(input) = self.format.input_mut() {
            input.left = STEP_READ_BYTES;
            input.at_end = false;
        }
        let decoded = match &mut self.format {
            Format::Gzip(gzip) => gzip.step(buffer),
            Format::Zstd(zstd) => zstd.step(buffer),
        };
        let Err(error) = decoded else { return decoded };
        let (at_end, is_broken) =
            self.format.input_mut().map_or((false, true), |input| (input.at_end, input.is_broken));
        if is_broken {
            self.is_broken = true;
            return Err(error);
        }
        match error.kind() {
            io::ErrorKind::WouldBlock if at_end => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed file ends before its content does"))
            }
            // The step has read its maximum.
            io::ErrorKind::WouldBlock => Ok(Step::Decoded(0)),
            _ => {
                let (kind, message) = damage(&error);
                self.failed = Some((kind, message.clone()));
                Err(io::Error::new(kind, message))
            }
        }
    }
}

impl<F> Format<F> {
    fn input_mut(&mut self) -> Option<&mut Input<F>> {
        match self {
            Self::Gzip(Gzip::Member(decoder)) => Some(decoder.get_mut().get_mut()),
            Self::Gzip(Gzip::Between { input, .. }) => Some(input.get_mut()),
            Self::Gzip(Gzip::Changing) => None,
            Self::Zstd(zstd) => Some(zstd.input.get_mut()),
        }
    }
}

/// The file, read from its start. If there is no more data, now or in this step, it returns `WouldBlock`, which leaves
/// a decoder unchanged.
struct Input<F> {
    file: Arc<F>,
    offset: u64,
    /// Number of bytes that this step may still read.
    left: usize,
    /// Whether the end of the file was reached.
    at_end: bool,
    /// Whether the file system returned an error.
    is_broken: bool,
}

impl<F: DiskFile> Read for Input<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.left);
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = self.file.read_at(&mut buffer[..len], self.offset);
        self.is_broken |= read.is_err();
        let count = read?;
        self.at_end = count == 0;
        if self.at_end {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.offset += count as u64;
        self.left -= count;
        Ok(count)
    }
}

/// gzip: a sequence of members, each with its own checksum. Zeros after the last one are padding, as from tapes.
enum Gzip<F> {
    Member(GzDecoder<BufReader<Input<F>>>),
    Between {
        input: BufReader<Input<F>>,
        /// Whether padding was found.
        padding: bool,
        /// Whether there was a member.
        begun: bool,
    },
    /// A temporary state during a change from one to the other.
    Changing,
}

impl<F: DiskFile> Gzip<F> {
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        loop {
            match self {
                Self::Member(decoder) => match decoder.read(buffer) {
                    Ok(0) => *self = std::mem::replace(self, Self::Changing).end_member(),
                    Ok(count) => return Ok(Step::Decoded(count)),
                    Err(error) => return Err(error),
                },
                Self::Between { input, padding, begun } => {
                    let next = match input.fill_buf() {
                        Ok(next) => next,
                        Err(error) => {
                            let is_end = *begun && error.kind() == io::ErrorKind::WouldBlock && input.get_ref().at_end;
                            return if is_end { Ok(Step::End) } else { Err(error) };
                        }
                    };
                    let zeros = next.iter().take_while(|byte| **byte == 0).count();
                    if *begun && zeros > 0 {
                        *padding = true;
                        input.consume(zeros);
                    } else if *padding || (*begun && next.first() != Some(&0x1f)) {
                        return Err(damaged("data after the compressed content is not gzip"));
                    } else {
                        *self = std::mem::replace(self, Self::Changing).begin_member();
                    }
                }
                Self::Changing => return Err(damaged("the decoder was interrupted")),
            }
        }
    }

    fn end_member(self) -> Self {
        match self {
            Self::Member(decoder) => Self::Between { input: decoder.into_inner(), padding: false, begun: true },
            other => other,
        }
    }

    fn begin_member(self) -> Self {
        match self {
            Self::Between { input, .. } => Self::Member(GzDecoder::new(input)),
            other => other,
        }
    }
}

/// zstd: a sequence of frames. Skippable frames have no content.
struct Zstd<F> {
    decoder: RawZstd<'static>,
    input: BufReader<Input<F>>,
    /// Whether the last frame is complete.
    at_boundary: bool,
    /// Whether there was a frame.
    begun: bool,
    /// Whether the decoder holds no output that did not fit into the buffer.
    flushed: bool,
}

impl<F: DiskFile> Zstd<F> {
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        loop {
            let held = if self.flushed { self.fill()? } else { Some(0) };
            let Some(held) = held else { return Ok(Step::End) };
            if held > 0 && self.at_boundary {
                self.decoder.reinit()?;
                self.at_boundary = false;
            }
            let mut input = InBuffer::around(self.input.buffer());
            let mut output = OutBuffer::around(&mut *buffer);
            let hint = self.decoder.run(&mut input, &mut output)?;
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            self.begun = true;
            self.at_boundary = hint == 0;
            // The decoder may hold output that did not fit into a full buffer; it needs no input.
            self.flushed = written < buffer.len() || self.at_boundary;
            if written > 0 {
                return Ok(Step::Decoded(written));
            }
        }
    }

    /// The number of input bytes; `None` at the end of the file, if the content can end there.
    fn fill(&mut self) -> io::Result<Option<usize>> {
        match self.input.fill_buf() {
            Ok(next) => Ok(Some(next.len())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let is_end = self.begun && self.at_boundary && self.input.get_ref().at_end;
                if is_end { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

fn damaged(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Translates a decoder's error.
fn damage(error: &io::Error) -> (io::ErrorKind, String) {
    let text = error.to_string();
    if text.contains("too much memory") {
        let advice = "its zstd window exceeds 8 MiB: compress it without --long and --ultra";
        (io::ErrorKind::Unsupported, advice.to_owned())
    } else if text.contains("Dictionary") {
        (io::ErrorKind::Unsupported, "it was compressed with a zstd dictionary: compress it without".to_owned())
    } else {
        (io::ErrorKind::InvalidData, format!("the compressed content is damaged: {text}"))
    }
}
