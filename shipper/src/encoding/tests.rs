//! Tests lines and streams in other encodings.

use std::io::Write as _;
use std::sync::Arc;

use super::*;
use crate::sources::{FileSource, Lines, Source};
use std::path::Path;

/// The ASCII-compatible encodings.
fn ascii_compatible() -> Vec<LineEncoding> {
    let labels = "ibm866 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-8-i iso-8859-10 \
        iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 koi8-r koi8-u macintosh windows-874 windows-1250 windows-1251 \
        windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258 x-mac-cyrillic gbk gb18030 \
        big5 euc-jp shift_jis euc-kr x-user-defined";
    labels.split_whitespace().map(|label| LineEncoding::parse(label).unwrap()).collect()
}

/// The lines of a file, read while its visible end grows by `step`: offset, length, text, cut bytes, undecodable.
fn lines(bytes: &[u8], label: &str, step: usize, limit: usize) -> Vec<(u64, u64, String, u64, bool)> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let encoding = LineEncoding::parse(label).unwrap();
    let mut reading = Lines::new(&Source::File(FileSource::new(Path::new("a"))), Arc::new(file), 0, limit, encoding);
    let (mut lines, mut buffer, mut end) = (Vec::new(), Vec::new(), 0);
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        loop {
            let take = |line: LineView<'_>| {
                let text = String::from_utf8_lossy(line.bytes).into_owned();
                let wrong = line.changes.contains(Change::UndecodableBytes);
                lines.push((line.offset, line.length, text, line.cut_bytes, wrong));
                ControlFlow::Continue(())
            };
            if !reading.read(&mut buffer, end as u64, end == bytes.len(), take).unwrap().more {
                break;
            }
        }
    }
    assert_eq!(reading.offset(), bytes.len() as u64);
    lines
}

fn texts(bytes: &[u8], label: &str) -> Vec<String> {
    let at_once = lines(bytes, label, bytes.len(), 1_000);
    for step in 1..bytes.len() {
        assert_eq!(lines(bytes, label, step, 1_000), at_once, "{label} by {step}");
    }
    at_once.into_iter().map(|line| line.2).collect()
}

#[test]
fn a_newline_byte_is_a_newline_in_every_decoder_state() {
    for encoding in ascii_compatible() {
        for first in 0..=u8::MAX {
            for second in [None, Some(b'0'), Some(0x81), Some(0xfe)] {
                let bytes: Vec<_> = [first].into_iter().chain(second).chain(*b"\n").collect();
                let (text, _) = encoding.0.decode_without_bom_handling(&bytes);
                assert!(text.ends_with('\n'), "{encoding:?}: {bytes:x?} is {text:?}");
            }
        }
    }
}

#[test]
fn lines_are_decoded_and_keep_their_offsets() {
    let cases: [(&str, &[u8], &str); 7] = [
        ("windows-1252", b"caf\xe9 \x80", "café €"),
        ("iso-8859-15", b"\xa4", "€"),
        ("latin1", b"\xfcber", "über"),
        ("Shift_JIS", b"\x93\xfa\x96\x7b \x83\x5c", "日本 ソ"),
        ("gbk", b"\xd6\xd0\xce\xc4", "中文"),
        ("gb18030", b"\x81\x30\x89\x37", "Þ"),
        ("koi8-r", b"\xf0\xd2\xc9", "При"),
    ];
    for (label, bytes, text) in cases {
        let file = [bytes, b"\n\n", bytes, b"\r\n", bytes].concat();
        assert_eq!(texts(&file, label), [text, "", &format!("{text}\r"), text], "{label}");
        let places: Vec<_> = lines(&file, label, 1, 1_000).iter().map(|line| (line.0, line.1)).collect();
        let len = bytes.len() as u64;
        assert_eq!(places, [(0, len + 1), (len + 1, 1), (len + 2, len + 2), (2 * len + 4, len)], "{label}");
    }
}

#[test]
fn configured_utf_16_needs_no_byte_order_mark() {
    let little: Vec<_> = "ä\n\u{0a0a}é\nopen".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<_> = "ä\n\u{0a0a}é\nopen".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, label) in [(&little, "utf-16le"), (&little, "utf-16"), (&big, "utf-16be")] {
        assert_eq!(texts(bytes, label), ["ä", "\u{0a0a}é", "open"], "{label}");
    }
}

#[test]
fn a_byte_order_mark_takes_precedence_over_the_setting() {
    let big: Vec<_> = "\u{feff}ä\nb".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for label in ["windows-1252", "utf-16le", "gbk", "utf-8"] {
        assert_eq!(texts("\u{feff}ä\nb".as_bytes(), label), ["\u{feff}ä", "b"], "{label}");
        assert_eq!(texts(&big, label), ["\u{feff}ä", "b"], "{label}");
    }
    // An incomplete one is text.
    assert_eq!(texts(b"\xef\n\xef\xbb", "windows-1252"), ["ï", "ï»"]);
    assert_eq!(texts(b"\xef", "windows-1252"), ["ï"]);
    assert_eq!(texts(b"\xff\n", "windows-1252"), ["ÿ"]);
}

#[test]
fn undecodable_bytes_are_replaced_and_counted() {
    for (label, line) in
        [("gbk", &b"a\xffb\xd6"[..]), ("shift_jis", b"a\xffb\x93"), ("utf-16le", b"a\0\0\xd8b\0\0\xd8")]
    {
        let newline: &[u8] = if label == "utf-16le" { b"\n\0" } else { b"\n" };
        let found = lines(&[line, newline, b"good"].concat(), label, 1, 1_000);
        assert_eq!(found[0].2, "a\u{fffd}b\u{fffd}", "{label}");
        assert_eq!((found[0].4 || label == "utf-16le", found[1].4), (true, false), "{label}");
    }
}

#[test]
fn a_line_is_truncated_at_a_character() {
    // Characters of 1, 2 and 4 bytes, with limits inside them.
    let bytes = b"a\xd6\xd0\x81\x30\x89\x37b\xd6\xd0";
    let starts = [0, 1, 1, 3, 3, 3, 3, 7, 8, 8];
    for (limit, whole) in starts.into_iter().enumerate().skip(1) {
        let found = lines(&[&bytes[..], b"\nx\n"].concat(), "gb18030", 100, limit);
        let (expected, _) = encoding_rs::GB18030.decode_without_bom_handling(&bytes[..whole]);
        assert_eq!((&*found[0].2, found[0].3), (&*expected, (bytes.len() - whole) as u64), "{limit}");
        assert!(!found[0].4 && found[1].2 == "x", "{limit}");
    }
    // An invalid sequence stays invalid, regardless of the limit.
    let found = lines(b"\xff\xff\xffabc\n", "gbk", 100, 3);
    assert_eq!((&*found[0].2, found[0].3, found[0].4), ("\u{fffd}\u{fffd}\u{fffd}", 3, true));
}

fn streamed(bytes: &[u8], label: &str) -> Vec<u8> {
    let encoding = LineEncoding::parse(label).unwrap();
    let by = |step: usize| {
        let mut decoder = StreamDecoder::new(encoding);
        let mut text: Vec<u8> = bytes.chunks(step).flat_map(|piece| decoder.decode(piece).into_owned()).collect();
        text.extend(decoder.finish());
        text
    };
    let at_once = by(bytes.len().max(1));
    assert!((1..bytes.len()).all(|step| by(step) == at_once), "{label}");
    at_once
}

#[test]
fn streams_are_converted_to_utf_8() {
    let little: Vec<_> = "日本\nä".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(streamed(&little, "utf-16le"), "日本\nä".as_bytes());
    assert_eq!(streamed(&[b"\xff\xfe", &little[..]].concat(), "utf-8"), "\u{feff}日本\nä".as_bytes());
    assert_eq!(streamed(&[b"\xff\xfe", &little[..]].concat(), "windows-1252"), "日本\nä".as_bytes());
    assert_eq!(streamed("\u{feff}ä".as_bytes(), "windows-1252"), "ä".as_bytes());
    assert_eq!(streamed(b"caf\xe9\n", "windows-1252"), "café\n".as_bytes());
    let long = "é".repeat(10_000);
    assert_eq!(streamed_once(&long.chars().map(|_| 0xe9).collect::<Vec<u8>>(), "windows-1252"), long.as_bytes());
    // UTF-8 is not changed, even if it is invalid.
    assert_eq!(streamed(b"\xffa\n\xfe", "utf-8"), b"\xffa\n\xfe");
    for bytes in [&b""[..], b"\xff", b"\xfe", b"\n", b"\xef\xbb\xbfa"] {
        assert_eq!(streamed(bytes, "utf-8"), bytes);
    }
    // Undecodable bytes become invalid UTF-8.
    assert_eq!(streamed(b"a\xff\n\x93", "shift_jis"), b"a\xff\n\xff");
    assert_eq!(streamed(b"a\0\0\xd8b\0c", "utf-16le"), b"a\xffb\xff");
}

fn streamed_once(bytes: &[u8], label: &str) -> Vec<u8> {
    let mut decoder = StreamDecoder::new(LineEncoding::parse(label).unwrap());
    let mut text = decoder.decode(bytes).into_owned();
    text.extend(decoder.finish());
    text
}
