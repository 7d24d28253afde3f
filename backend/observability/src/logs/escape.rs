//! Writes JSON strings into a buffer without intermediate copies.

use std::fmt;

/// Maximum length of a string value in bytes. A longer one is truncated and ends in `…`.
pub(crate) const MAX_STRING_BYTES: usize = 64 * 1024;

/// Bytes that are escaped, or start a character that may be.
///
/// RFC 8259, section 7, requires it for quote, backslash and control characters below U+0020. Also escaped are:
/// - DEL and the C1 control characters U+0080–U+009F (first byte 0xC2), which terminals interpret;
/// - the separators U+2028 and U+2029 (first byte 0xE2), which some programs treat as line breaks;
/// - the directional marks (first byte 0xE2), which can make a line read as something else.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7f] = true;
    table[0xc2] = true;
    table[0xe2] = true;
    table
};

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut writer = Escaped::new(out);
    writer.text(text);
    out.push(b'"');
}

/// Appends the `Debug` output of `value` as a JSON string with its quotes.
pub(crate) fn debug(out: &mut Vec<u8>, value: &dyn fmt::Debug) {
    use fmt::Write;
    out.push(b'"');
    let failed = write!(Escaped::new(out), "{value:?}").is_err();
    if failed {
        out.extend_from_slice("(can't be printed)".as_bytes());
    }
    out.push(b'"');
}

/// Escapes the text written into it, up to [`MAX_STRING_BYTES`].
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    remaining: usize,
    truncated: bool,
}

impl<'a> Escaped<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, remaining: MAX_STRING_BYTES, truncated: false }
    }

    fn text(&mut self, mut text: &str) {
        if self.truncated {
            return;
        }
        if text.len() > self.remaining {
            let fits = (0..=self.remaining).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text = &text[..fits];
            self.truncated = true;
        }
        self.remaining -= text.len();
        escape(self.out, text.as_bytes());
        if self.truncated {
            self.out.extend_from_slice("…".as_bytes());
        }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// Appends `text` escaped, without quotes and without a limit.
pub(crate) fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| ESCAPED[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        if byte >= 0x80 {
            rest = multibyte_char(out, &rest[at..]);
            continue;
        }
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends the first character of `text`, a multi-byte one, and escapes it if necessary. Returns the rest of `text`.
fn multibyte_char<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (length, escaped) = match *text {
        [0xc2, low @ 0x80..=0x9f, ..] => (2, Some(u16::from(low))),
        [0xe2, 0x80, low @ (0x8e | 0x8f | 0xa8..=0xae), ..] => (3, Some(0x2000 | u16::from(low - 0x80))),
        [0xe2, 0x81, low @ 0xa6..=0xa9, ..] => (3, Some(0x2040 | u16::from(low - 0x80))),
        _ => (1, None),
    };
    let (character, rest) = text.split_at(length);
    match escaped {
        Some(code) => {
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(code >> shift & 15)]));
        }
        None => out.extend_from_slice(character),
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_round_trips(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
            prop_assert!(out.iter().all(|byte| *byte >= 0x20));
        }
    }

    #[test]
    fn control_and_directional_characters_are_escaped_and_other_text_is_not() {
        for code in (0..=0x1f).chain(0x7f..=0x9f).chain([0x200e, 0x200f]).chain(0x2028..=0x202e).chain(0x2066..=0x2069)
        {
            let text = format!("a{}b", char::from_u32(code).expect("a character"));
            let mut out = Vec::new();
            string(&mut out, &text);
            assert!(out.is_ascii() && !out.iter().any(|byte| byte.is_ascii_control()), "{code:x}");
            assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text, "{code:x}");
        }
        let plain = "\u{a0}\u{a9}é“quoted”…\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}€日本";
        let mut out = Vec::new();
        string(&mut out, plain);
        assert_eq!(out, format!("\"{plain}\"").into_bytes());
    }

    #[test]
    fn a_long_string_is_truncated_between_characters() {
        let text = "é".repeat(MAX_STRING_BYTES);
        let mut out = Vec::new();
        debug(&mut out, &format_args!("x{text}"));
        let read: String = serde_json::from_slice(&out).expect("a JSON string");
        assert!(read.ends_with("é…") && read.len() <= MAX_STRING_BYTES + "…".len());
    }

    #[test]
    fn a_value_whose_debug_fails_leaves_a_valid_string() {
        struct Broken;
        impl fmt::Debug for Broken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half")?;
                Err(fmt::Error)
            }
        }
        let mut out = Vec::new();
        debug(&mut out, &Broken);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), "half(can't be printed)");
    }
}
