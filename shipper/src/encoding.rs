//! The encoding of lines: the configured one, or that of a byte order mark.
//!
//! The labels are those of the [WHATWG Encoding Standard](https://encoding.spec.whatwg.org/). An accepted encoding is
//! either UTF-16, or one in which every byte 0x0A is a newline, so that lines can be found before they are decoded.

use std::io;
use std::ops::ControlFlow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::disk::DiskFile;
use crate::reader::LineView;
use crate::reader::utf16::ByteOrder;
use crate::record::Change;

/// The byte order marks of UTF-8 and UTF-16.
const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// Length of the longest byte order mark.
const MARK_MAX_BYTES: usize = 3;

/// Maximum length of an incomplete character at the end of a text.
const INCOMPLETE_MAX_BYTES: usize = 3;

/// The encoding of lines without a byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEncoding(&'static Encoding);

impl Default for LineEncoding {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl LineEncoding {
    /// Parses a label, such as `windows-1252`.
    ///
    /// # Errors
    /// Why the label is not accepted, and what to do.
    pub fn parse(label: &str) -> Result<Self, String> {
        let Some(encoding) = Encoding::for_label(label.as_bytes()) else {
            return Err(format!(
                "unknown encoding {label:?}: give a label of the WHATWG Encoding Standard, such as utf-8, windows-1252, \
                 iso-8859-15, shift_jis, gbk or utf-16le"
            ));
        };
        let encoding = Self(encoding);
        if encoding.utf16().is_some() || encoding.0.is_ascii_compatible() {
            return Ok(encoding);
        }
        Err(format!(
            "unsupported encoding {label}: convert the lines to UTF-8 first, for example with iconv -t UTF-8, and remove this setting"
        ))
    }

    /// Whether it is UTF-8.
    #[must_use]
    pub fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    /// The byte order, if it is UTF-16.
    pub(crate) fn utf16(self) -> Option<ByteOrder> {
        if self.0 == UTF_16LE {
            Some(ByteOrder::Little)
        } else if self.0 == UTF_16BE {
            Some(ByteOrder::Big)
        } else {
            None
        }
    }

    /// The encoding of a file whose first `len` bytes can be read: that of its byte order mark, or this one. `None` if
    /// more bytes are needed and may follow (`is_all` is false).
    ///
    /// # Errors
    /// File system errors.
    pub(crate) fn for_file(self, file: &impl DiskFile, len: u64, is_all: bool) -> io::Result<Option<Self>> {
        let mut beginning = [0; MARK_MAX_BYTES];
        let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(MARK_MAX_BYTES);
        let got = file.read_at(&mut beginning[..wanted], 0)?;
        let beginning = &beginning[..got];
        if let Some((encoding, _)) = Encoding::for_bom(beginning) {
            return Ok(Some(Self(encoding)));
        }
        let may_be_mark = MARKS.iter().any(|mark| mark.starts_with(beginning));
        Ok((is_all || !may_be_mark).then_some(self))
    }

    /// Passes a line to `take` as UTF-8. A character cut by the limit is left out and counts as cut.
    pub(crate) fn decode(
        self,
        line: LineView<'_>,
        take: impl FnOnce(LineView<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let whole = if line.cut_bytes > 0 { self.complete_length(line.bytes) } else { line.bytes.len() };
        let (text, is_wrong) = self.0.decode_without_bom_handling(&line.bytes[..whole]);
        let mut changes = line.changes;
        if is_wrong {
            changes.insert(Change::UndecodableBytes);
        }
        let cut_bytes = line.cut_bytes + (line.bytes.len() - whole) as u64;
        take(LineView { bytes: text.as_bytes(), cut_bytes, changes, ..line })
    }

    /// The length of `bytes` without an incomplete character at the end.
    fn complete_length(self, bytes: &[u8]) -> usize {
        let sure = bytes.len().saturating_sub(INCOMPLETE_MAX_BYTES);
        let mut decoder = self.0.new_decoder_without_bom_handling();
        let mut text = String::new();
        let mut whole = 0;
        for end in sure..=bytes.len() {
            let start = if end == sure { 0 } else { end - 1 };
            let piece = &bytes[start..end];
            text.clear();
            text.reserve(decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len()));
            let _ = decoder.decode_to_string(piece, &mut text, false);
            // It returns a value unless it holds the start of a character.
            if decoder.latin1_byte_compatible_up_to(b"").is_some() {
                whole = end;
            }
        }
        whole
    }
}

mod stream;

pub(crate) use stream::StreamDecoder;

#[cfg(test)]
mod tests;
