//! Decodes a compressed file from its beginning on, a bounded step at a time.
//!
//! A step reads at most [`STEP_READ_BYTES`] of the file and writes at most what its buffer holds, so that neither a bomb nor
//! a file of nothing but empty members makes it long. At the end of the file, in the middle of a member, a decoder waits
//! for more: it goes on where it was once the file has grown.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{DParameter, Decoder as RawZstd, InBuffer, Operation as _, OutBuffer};

use super::Compression;
use crate::disk::DiskFile;

/// Bytes read from the file in one step.
const STEP_READ_BYTES: usize = 256 * 1024;

/// Bytes read from the file in one call.
const READ_BYTES: usize = 32 * 1024;

/// The largest window of a zstd frame is 8 MiB, as a power of two: what RFC 8878 asks of every decoder. A level of zstd up
/// to 19 needs no more; `--ultra` and `--long` may.
const WINDOW_LOG_MAX: u32 = 23;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of content, which may be none.
    Decoded(usize),
    /// The file ends here, and its last member is whole.
    End,
}

/// Decodes one file.
pub(super) struct Decoder<F> {
    format: Format<F>,
    /// Why the content can't be decoded any further.
    failed: Option<(io::ErrorKind, String)>,
    /// The file could not be read, in the middle of something.
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

    /// Whether the file could not be read once: only a new decoder can go on.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Decodes into `buffer`, which must not be empty.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the file ends within a member: what is added to it is decoded by the next
    /// step. [`io::ErrorKind::InvalidData`] and [`io::ErrorKind::Unsupported`] where the content can't be decoded, now and
    /// from then on. Others as the file system says, after which the decoder is broken.
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
            // The step has read all that it may.
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

/// The file, read from its beginning on. Where there is nothing more, now or in this step, it says that reading would
/// block, which leaves a decoder as it is.
struct Input<F> {
    file: Arc<F>,
    offset: u64,
    /// Bytes that this step may still read.
    left: usize,
    /// The file goes no further.
    at_end: bool,
    /// The file system gave an error.
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

/// gzip: one member after the other, each with its own checksum. Zeros after the last one are padding, as of tapes.
enum Gzip<F> {
    Member(GzDecoder<BufReader<Input<F>>>),
    Between {
        input: BufReader<Input<F>>,
        /// Zeros were met.
        padding: bool,
        /// There was a member.
        begun: bool,
    },
    /// Only while it changes from one to the other.
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
                        return Err(damaged("something that is not gzip follows the compressed content"));
                    } else {
                        *self = std::mem::replace(self, Self::Changing).begin_member();
                    }
                }
                Self::Changing => return Err(damaged("it was left half-way")),
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

/// zstd: one frame after the other. Frames to be skipped have no content.
struct Zstd<F> {
    decoder: RawZstd<'static>,
    input: BufReader<Input<F>>,
    /// The last frame is whole.
    at_boundary: bool,
    /// There was a frame.
    begun: bool,
    /// The decoder holds nothing that found no room in the buffer.
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
            // A full buffer may have left something in the decoder, which needs no input to come out.
            self.flushed = written < buffer.len() || self.at_boundary;
            if written > 0 {
                return Ok(Step::Decoded(written));
            }
        }
    }

    /// How many bytes of input there are; `None` at the end of the file, if that is one of the content, too.
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

/// What a decoder's error says of the content.
fn damage(error: &io::Error) -> (io::ErrorKind, String) {
    let text = error.to_string();
    if text.contains("too much memory") {
        let advice = "its zstd window is larger than 8 MiB: compress it without --long and --ultra";
        (io::ErrorKind::Unsupported, advice.to_owned())
    } else if text.contains("Dictionary") {
        (io::ErrorKind::Unsupported, "it was compressed with a zstd dictionary: compress it without".to_owned())
    } else {
        (io::ErrorKind::InvalidData, format!("the compressed content is damaged: {text}"))
    }
}
