//! The fuzz targets. Each parses its input with the product's parser and compares the result with a simpler parser's.
//! libFuzzer (`fuzz_targets/`) and proptest (`shipper/tests/it/fuzz.rs`, in `make test`) call the same functions.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde::de::IgnoredAny;
use serde_json::Value;
use shipper::config::{Options, Settings};
use shipper::disk::{DiskFile, RealDisk, Stat};
use shipper::document::Documents;
use shipper::journal::{Journal, JournalError};
use shipper::reader::{LineView, Reader};
use shipper::record::{ChangeSet, Check, Checker, Flaw, MAX_DEPTH};
use shipper::sources::{FileSource, Source};
use store::query::MAX_QUERY_BYTES;
use store::{BatchBuilder, Disposition, FieldType, Filter, GenerationId, NamedFields, Timestamp};

/// The name of a target and of its corpus, and its function.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 6] = [
    ("line_reader", line_reader),
    ("record_check", record_check),
    ("bulk_answer", bulk_answer),
    ("journal", journal),
    ("config", config),
    ("query", query),
];

/// A file in memory that grows by `step` bytes at a time.
struct Memory {
    bytes: Vec<u8>,
    step: usize,
}

impl DiskFile for Memory {
    fn append(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.bytes.get(usize::try_from(offset).map_err(io::Error::other)?..).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads lines from a growing file. They must be contiguous, complete, and truncated at the limit.
///
/// The first byte is the limit of a line, the second one how much the file grows at a time. If the third byte is 255 and
/// fewer than 16 bytes follow, each of them is repeated 20,000 times, so that lines are longer than a single read.
pub(crate) fn line_reader(data: &[u8]) {
    let [limit, step, stretch, text @ ..] = data else { return };
    let bytes = match stretch {
        255 if text.len() < 16 => text.iter().flat_map(|byte| std::iter::repeat_n(*byte, 20_000)).collect(),
        _ => text.to_vec(),
    };
    let (limit, step) = (usize::from(*limit) + 1, usize::from(*step) * bytes.len().div_ceil(256) + 1);
    let length = bytes.len() as u64;
    let mut reader = Reader::new(Arc::new(Memory { bytes: bytes.clone(), step }), 0, limit);
    let (mut buffer, mut seen, mut at) = (Vec::new(), 0_usize, 0_u64);
    let step = reader.file().step;
    while seen < bytes.len() {
        seen = (seen + step).min(bytes.len());
        let ended = seen == bytes.len();
        loop {
            let take = |line: LineView<'_>| {
                assert_eq!(line.offset, at, "lines are contiguous");
                let whole = &bytes[usize::try_from(at).unwrap()..usize::try_from(at + line.length).unwrap()];
                let content = whole.strip_suffix(b"\n").unwrap_or(whole);
                assert!(!content.contains(&b'\n') && (content.len() < whole.len() || ended));
                let text = &content[content.iter().position(|byte| *byte != 0).unwrap_or(content.len())..];
                assert_eq!(line.bytes, &text[..text.len().min(limit)]);
                assert_eq!(line.cut_bytes, (text.len() - line.bytes.len()) as u64);
                at += line.length;
                ControlFlow::Continue(())
            };
            let chunk = reader.read(&mut buffer, seen as u64, ended, take).unwrap();
            assert_eq!((chunk.end, reader.offset()), (at, at));
            if !chunk.more {
                break;
            }
        }
    }
    assert_eq!(at, length, "every byte belongs to a line");
}

/// Checks a line. It is passed through unchanged if and only if it is an object without flaws. In any case its document is
/// valid JSON with `origin` and contains the line.
pub(crate) fn record_check(data: &[u8]) {
    if data.contains(&b'\n') {
        return;
    }
    let check = Checker::new().check(data);
    let text = std::str::from_utf8(data);
    match check {
        Check::Wrap(Flaw::NotUtf8) => assert!(text.is_err()),
        Check::Wrap(Flaw::NotJson) => assert!(!is_json(text.unwrap()), "{text:?}"),
        Check::Wrap(Flaw::NotObject) => assert!(!text.unwrap().trim_start().starts_with('{')),
        Check::Wrap(Flaw::TooDeep) => {
            assert!(data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > MAX_DEPTH);
        }
        Check::Wrap(Flaw::DuplicateKey | Flaw::RefusedKey | Flaw::LargeNumber) => assert!(is_json(text.unwrap())),
        Check::Wrap(Flaw::TooLong) => panic!("the line was not truncated"),
        Check::Object(object) => {
            assert!(is_json(text.unwrap()), "{text:?}");
            assert!(data[..=object.closing_brace].ends_with(b"}"));
        }
    }
    let generation = GenerationId::new(1_700_000_000_000, &[7; 10]);
    let mut documents = Documents::new("host", "shipper", "service");
    let origin = documents.origin(&Source::File(FileSource::new(Path::new("a.log"))), generation);
    let mut batch = BatchBuilder::new("app-logs");
    let line = LineView {
        offset: 0,
        length: data.len() as u64 + 1,
        bytes: data,
        cut_bytes: 0,
        written: None,
        changes: ChangeSet::default(),
    };
    documents.push(&mut batch, &origin, &line, Timestamp::from_unix_ms(1_700_000_000_000));
    let batch = batch.finish(0);
    let body = batch.body();
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    assert_eq!((lines.len(), lines[2].len()), (3, 0), "the action and the document are one line each");
    let document = std::str::from_utf8(lines[1]).expect("the document must be UTF-8");
    assert!(is_json(document), "{document}");
    // numbers beyond the range of floats are passed through, and serde_json rejects them
    if let Ok(document) = serde_json::from_str::<Value>(document) {
        assert_eq!(document["origin"]["length"], data.len() as u64 + 1);
        if let (Check::Object(_), Ok(own)) = (check, serde_json::from_slice::<Value>(data)) {
            let mut rest = document;
            rest.as_object_mut().unwrap().remove("origin");
            assert_eq!(rest, own, "the members of the line must be unchanged");
        }
    }
}

/// Whether the text is JSON by the grammar and has no unpaired surrogates. Numbers and nesting are not limited.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok() && !has_lone_surrogate(text)
}

fn has_lone_surrogate(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let unit = |text: &str| text.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok());
        match unit(escape) {
            Some(0xD800..=0xDBFF) => match escape.get(6..).and_then(unit) {
                Some(0xDC00..=0xDFFF) => rest = &escape[12..],
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => rest = &escape[6..],
            None => rest = escape.get(2..).unwrap_or_default(),
        }
    }
    false
}

/// Parses a bulk response. There must be one outcome for each line sent, and only lines reported as created are stored. The
/// first byte is the number of lines.
pub(crate) fn bulk_answer(data: &[u8]) {
    let [lines, body @ ..] = data else { return };
    let lines = usize::from(*lines);
    let Ok(dispositions) = store::engine::parse_bulk_response(body, lines) else { return };
    assert_eq!(dispositions.len(), lines);
    serde_json::from_slice::<IgnoredAny>(body).expect("an accepted response must be JSON");
    // skipped parts may contain what `Value` rejects: invalid UTF-8 and huge numbers
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return };
    let items = answer["items"].as_array().expect("the response has items");
    assert_eq!(items.len(), lines);
    for (disposition, item) in dispositions.iter().zip(items) {
        let (status, is_error) = (item["create"]["status"].as_u64(), !item["create"]["error"].is_null());
        match disposition {
            Disposition::Stored => assert!(matches!(status, Some(200 | 201)) && !is_error, "{item}"),
            Disposition::AlreadyStored => assert_eq!(status, Some(409), "{item}"),
            _ => {}
        }
    }
}

/// Opens a journal of arbitrary bytes, or rejects it as newer or damaged and leaves it unchanged. A second open finds the
/// same entries. If the first byte is even, each line gets a valid checksum.
pub(crate) fn journal(data: &[u8]) {
    let [mode, text @ ..] = data else { return };
    let mut bytes = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if mode.is_multiple_of(2) {
            let json = line.strip_suffix(b"\n").unwrap_or(line);
            bytes.extend_from_slice(format!("{:08x} ", crc32fast::hash(json)).as_bytes());
        }
        bytes.extend_from_slice(line);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, &bytes).unwrap();
    let first = match Journal::open(RealDisk, folder.path()) {
        Ok(journal) => journal,
        Err(JournalError::Newer { .. } | JournalError::Damaged { .. }) => {
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "a rejected journal must be unchanged");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let entries = |journal: &Journal<RealDisk>| -> Vec<_> {
        journal.entries().map(|(generation, entry)| (*generation, entry.clone())).collect()
    };
    let kept = std::fs::read(&path).unwrap();
    let torn = std::fs::read(folder.path().join("journal.torn-1")).unwrap_or_default();
    if !bytes.contains(&0) && bytes.starts_with(&kept) {
        assert_eq!([kept, torn].concat(), bytes, "no byte may be lost");
    }
    let mut second = Journal::open(RealDisk, folder.path()).unwrap();
    assert_eq!(entries(&first), entries(&second));
    // the journal can be appended to
    let generation = GenerationId::new(1_700_000_000_000, &[9; 10]);
    second.checkpoint(generation, u64::MAX);
    second.sync().unwrap();
    let third = Journal::open(RealDisk, folder.path()).unwrap();
    assert_eq!(entries(&second), entries(&third));
}

/// Rejects a configuration, or prints the resulting settings as a configuration with the same result.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("shipper.toml");
    let Ok(options) = Options::from_toml(text, path) else { return };
    // secrets are read from the named files, which could be any file
    if options.password_file.is_some() || options.api_key_file.is_some() {
        return;
    }
    let Ok(settings) = Settings::new(options, None) else { return };
    let printed = settings.to_string();
    let again = Options::from_toml(&printed, path).expect("printed settings must be parsable");
    assert_eq!(Settings::new(again, None).expect("printed settings must be valid").to_string(), printed);
}

/// Additional search fields, one of each type.
static NAMED: LazyLock<NamedFields> = LazyLock::new(|| {
    let names = ["order.id", "note", "tries", "amount", "paid", "due"];
    let named = names.into_iter().map(str::to_owned).zip(FieldType::ALL);
    NamedFields::new(named).expect("valid names")
});

/// Rejects a query with a message, or prints its filter as an equal query. Additional search fields do not change a query
/// that does not use them.
pub(crate) fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let filter = Filter::parse(text, &NAMED);
    if let Ok(without) = text.parse::<Filter>() {
        assert_eq!(filter.as_ref(), Ok(&without), "{text:?}");
    }
    match filter {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(filter) => {
            let printed = filter.to_string();
            // the printed text may exceed the limit, because it can be longer than the query
            if printed.len() <= MAX_QUERY_BYTES {
                let again = Filter::parse(&printed, &NAMED).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
                assert_eq!(again, filter, "{printed:?}");
            }
        }
    }
}
