//! Escapes of text in JSON strings.

/// Appends the JSON string escapes of a text, with every control character escaped.
pub(crate) fn escape(text: &str, into: &mut Vec<u8>) {
    const BLOCK: usize = 32;
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        // Compilers vectorize a check of whole blocks.
        if !block.iter().fold(false, |any, byte| any | is_special(*byte)) {
            continue;
        }
        for at in number * BLOCK..number * BLOCK + block.len() {
            if is_special(bytes[at]) && at >= plain {
                let length = escaped_length(&bytes[at..]);
                if length > 0 {
                    into.extend_from_slice(&bytes[plain..at]);
                    write_escape(bytes[at + length - 1], into);
                    plain = at + length;
                }
            }
        }
    }
    into.extend_from_slice(&bytes[plain..]);
}

/// Whether a byte must be escaped, or may start an encoding of U+0080 to U+00BF.
#[inline(always)]
fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte == 0x7f) | (byte == 0xc2)
}

/// The length of the character at the start of `rest` if it must be escaped; otherwise 0.
fn escaped_length(rest: &[u8]) -> usize {
    match rest {
        // U+0080 to U+009F are control characters, higher ones are not.
        [0xc2, 0x80..=0x9f, ..] => 2,
        [0xc2, ..] => 0,
        _ => 1,
    }
}

/// Appends the escape of a control character, a quote or a backslash.
pub(crate) fn write_escape(byte: u8, into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => into.extend_from_slice(b"\\\""),
        b'\\' => into.extend_from_slice(b"\\\\"),
        b'\n' => into.extend_from_slice(b"\\n"),
        b'\r' => into.extend_from_slice(b"\\r"),
        b'\t' => into.extend_from_slice(b"\\t"),
        _ => {
            into.extend_from_slice(b"\\u00");
            into.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
    }
}
