//! Detects the kind of a compressed file by its first bytes. Text is never taken for a compressed file: each kind is
//! identified by bytes that no text contains.

/// Maximum number of bytes that [`magic`] uses. With fewer it may not detect every kind.
pub(crate) const MAGIC_BYTES: usize = 64;

/// A supported compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// A kind of compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Magic {
    /// A supported one.
    Readable(Compression),
    /// An unsupported one, by its name.
    Other(&'static str),
}

impl Magic {
    /// Its name, for the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Readable(Compression::Gzip) => "gzip",
            Self::Readable(Compression::Zstd) => "zstd",
            Self::Other(name) => name,
        }
    }
}

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LZ4: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Kinds identified by their first bytes alone: each has bytes that are neither text nor UTF-8.
const OTHERS: [(&[u8], &str); 11] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (&LZ4, "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"LZIP\x01", "lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"Rar!\x1a\x07", "rar"),
];

/// The kind of compressed file that starts with `first`; `None` for everything else.
pub(crate) fn magic(first: &[u8]) -> Option<Magic> {
    if is_gzip(first) {
        return Some(Magic::Readable(Compression::Gzip));
    }
    if first.starts_with(&ZSTD) {
        return Some(Magic::Readable(Compression::Zstd));
    }
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Some(Magic::Other(name));
    }
    if let Some(after) = skippable(first) {
        return after;
    }
    let other = match first {
        first if is_bzip2(first) => "bzip2",
        first if is_compress(first) => "compress",
        first if is_lzma(first) => "lzma",
        _ => return None,
    };
    Some(Magic::Other(other))
}

/// Whether the method is deflate, and no undefined flag is set.
fn is_gzip(first: &[u8]) -> bool {
    matches!(first, [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0)
}

/// Skippable frames of zstd and lz4: `5? 2A 4D 18`, a length, and that many bytes. What follows them decides, if it is
/// visible; tools that write such a frame first are zstd's. The outer `None` is for anything else.
fn skippable(first: &[u8]) -> Option<Option<Magic>> {
    let mut rest = first;
    loop {
        match rest {
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, after @ ..] => {
                let len = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
                match after.get(len..) {
                    Some(next) => rest = next,
                    None => return Some(Some(Magic::Readable(Compression::Zstd))),
                }
            }
            rest if rest.len() == first.len() => return None,
            next if next.len() < ZSTD.len() || next.starts_with(&ZSTD) => {
                return Some(Some(Magic::Readable(Compression::Zstd)));
            }
            next if next.starts_with(&LZ4) => return Some(Some(Magic::Other("lz4"))),
            _ => return Some(None),
        }
    }
}

/// The block size and the magic of a block or of the end are printable, so the next bytes must show that it is not
/// text.
fn is_bzip2(first: &[u8]) -> bool {
    const BLOCK: &[u8] = b"1AY&SY";
    const END: &[u8] = b"\x17\x72\x45\x38\x50\x90";
    let [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] = first else { return false };
    let no_text = |byte: &u8| !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b | 0x20..=0x7e);
    match rest.strip_prefix(BLOCK) {
        Some(block) => block.iter().any(no_text),
        None => rest.starts_with(END),
    }
}

/// compress(1), `.Z`: 9 to 16 bits, and no undefined flag.
fn is_compress(first: &[u8]) -> bool {
    matches!(first, [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)))
}

/// The format of lzma before xz has no magic. The usual properties, a possible dictionary size, a possible length and
/// the first byte of the range coder, always 0, are sufficient together.
fn is_lzma(first: &[u8]) -> bool {
    let [0x5d, a, b, c, d, length @ ..] = first else { return false };
    let Some(([length @ .., high, highest], [0, ..])) = length.split_first_chunk::<8>() else { return false };
    let dictionary = u32::from_le_bytes([*a, *b, *c, *d]);
    let is_power = dictionary.is_power_of_two() || (dictionary % 3 == 0 && (dictionary / 3).is_power_of_two());
    let is_unknown = length.iter().chain([high, highest]).all(|byte| *byte == 0xff);
    dictionary >= 1 << 12 && is_power && (is_unknown || (*high == 0 && *highest == 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_detected_by_its_first_bytes() {
        let bzip2 = b"BZh91AY&SY\xa9\x01\x02\x03\0\0\0\x01";
        let kinds: &[(&[u8], &str)] = &[
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip"),
            (b"\x1f\x8b\x08\x08", "gzip"),
            (b"\x28\xb5\x2f\xfd\x24", "zstd"),
            (b"\x50\x2a\x4d\x18\x04\0\0\0\x05\0\0\0\x28\xb5\x2f\xfd", "zstd"),
            (b"\x5e\x2a\x4d\x18\xff\xff\0\0\x05", "zstd"),
            (b"\x51\x2a\x4d\x18\0\0\0\0\x50\x2a\x4d\x18\x01\0\0\0x\x04\x22\x4d\x18", "lz4"),
            (b"\x04\x22\x4d\x18\x64", "lz4"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (bzip2, "bzip2"),
            (b"BZh1\x17\x72\x45\x38\x50\x90\0\0\0\0", "bzip2"),
            (b"\x1f\x9d\x90a", "compress"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x34", "lzma"),
            (b"\x5d\0\0\x80\0\x10\0\0\0\0\0\0\0\0\x34", "lzma"),
        ];
        for (first, name) in kinds {
            assert_eq!(magic(first).map(Magic::name), Some(*name), "{first:02x?}");
        }
    }

    #[test]
    fn similar_bytes_are_not_detected() {
        let others: &[&[u8]] = &[
            b"",
            b"\x1f",
            b"\x1f\x8b",
            b"\x1f\x8b\x08\xe0",
            b"\x1f\x8b\x09\0",
            b"BZh0",
            b"BZh91AY&SY",
            b"BZh91AY&SY is how bzip2 files begin, says this line\n",
            b"PK\n",
            b"\x1f\x9d\x08",
            b"\x5d\n",
            b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"P*M\x18\x01\0\0\0x{\"a\":1}\n",
            b"\xef\xbb\xbf{}\n",
            b"\xff\xfe{\0}\0",
            b"{\"level\":\"info\"}\n",
            &[0; MAGIC_BYTES],
        ];
        for first in others {
            assert_eq!(magic(first), None, "{first:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_compressed(
            start in prop::sample::select(vec!["", "BZh9", "BZh91AY&SY", "PK", "7z", "LZIP", "Rar!", "P*M", "]", "(", "1AY"]),
            text in "[\\x09\\x0a\\x0d\\x1b\\x20-\\x7e]{0,80}",
            other in "\\PC{0,20}",
        ) {
            prop_assert_eq!(magic(format!("{start}{text}").as_bytes()), None);
            prop_assert_eq!(magic(format!("{other}{text}").as_bytes()), None);
        }
    }
}
