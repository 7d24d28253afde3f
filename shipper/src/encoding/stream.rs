//! Converts streams to UTF-8 before they are spooled, so that the spool does not depend on the configured encoding.

use std::borrow::Cow;

use encoding_rs::{Decoder, DecoderResult, Encoding};

use super::LineEncoding;

/// Replaces each undecodable sequence. It is never valid in UTF-8, so it is counted as `invalid_utf8` when the line is
/// read.
const UNDECODABLE: u8 = 0xff;

/// Converts a stream to UTF-8.
pub(crate) struct StreamDecoder(State);

enum State {
    /// UTF-8, unless the stream starts with a byte order mark of UTF-16; these bytes of it were read.
    Undetected(Vec<u8>),
    /// UTF-8, which needs no conversion.
    Utf8,
    /// Another encoding.
    Other(Box<Decoder>),
}

impl StreamDecoder {
    /// Creates a decoder for a stream. A byte order mark takes precedence over `encoding`.
    pub(crate) fn new(encoding: LineEncoding) -> Self {
        Self(match encoding.is_utf8() {
            true => State::Undetected(Vec::new()),
            false => State::Other(Box::new(encoding.0.new_decoder())),
        })
    }

    /// Converts the next bytes. An incomplete character at the end is kept for the next call.
    pub(crate) fn decode<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match &mut self.0 {
            State::Utf8 => Cow::Borrowed(bytes),
            State::Other(decoder) => Cow::Owned(decode(decoder, bytes, false)),
            State::Undetected(first) if first.is_empty() && !matches!(bytes, [] | [0xfe | 0xff, ..]) => {
                self.0 = State::Utf8;
                Cow::Borrowed(bytes)
            }
            State::Undetected(first) => {
                first.extend_from_slice(bytes);
                if first.len() < 2 {
                    return Cow::Borrowed(&[]);
                }
                let first = std::mem::take(first);
                match Encoding::for_bom(&first) {
                    Some((encoding, _)) => {
                        let mut decoder = encoding.new_decoder_without_bom_handling();
                        let text = decode(&mut decoder, &first, false);
                        self.0 = State::Other(Box::new(decoder));
                        Cow::Owned(text)
                    }
                    None => {
                        self.0 = State::Utf8;
                        Cow::Owned(first)
                    }
                }
            }
        }
    }

    /// Converts what is left at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.0, State::Utf8) {
            State::Utf8 => Vec::new(),
            State::Undetected(first) => first,
            State::Other(mut decoder) => decode(&mut decoder, &[], true),
        }
    }
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8], is_last: bool) -> Vec<u8> {
    const ROOM_MIN_BYTES: usize = 64;
    let mut text = vec![0; bytes.len() + ROOM_MIN_BYTES];
    let mut len = 0;
    loop {
        if text.len() < len + ROOM_MIN_BYTES {
            text.resize(2 * text.len() + ROOM_MIN_BYTES, 0);
        }
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut text[len..], is_last);
        bytes = &bytes[read..];
        len += written;
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => text.resize(2 * text.len(), 0),
            DecoderResult::Malformed(..) => {
                // The buffer was not filled, or will be extended.
                if len == text.len() {
                    text.push(0);
                }
                text[len] = UNDECODABLE;
                len += 1;
            }
        }
    }
    text.truncate(len);
    text
}
