//! What is done with each input: read it with the program's own reader, and hold the outcome to a simpler one's. libFuzzer
//! (`fuzz_targets/`) and proptest (`shipper/tests/it/fuzz.rs`, in `make test`) call the same functions.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde::de::IgnoredAny;
use serde_json::Value;
use shipper::config::{Options, Settings};
use shipper::disk::{DiskFile, RealDisk, Stat};
use shipper::document::{Documents, LineView, Place};
use shipper::journal::{Journal, JournalError};
use shipper::reader::Reader;
use shipper::record::{ChangeSet, Check, Checker, Flaw, MAX_DEPTH};
use store::query::MAX_QUERY_BYTES;
use store::{BatchBuilder, Disposition, FieldType, Filter, GenerationId, NamedFields, Timestamp};

/// A target's name, which is its corpus' too, and what it does.
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

/// A file in memory, of which `reach` says how much one read gives.
struct Memory {
    bytes: Vec<u8>,
    reach: usize,
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

/// Lines out of bytes that become visible bit by bit: the lines' own bytes, end to end, cut where they are too long. The
/// first two bytes say how long a line may be and how much of the file is seen at a time; a third byte of 255 makes every
/// newline after it stand behind 300,000 more bytes, longer than any one read.
pub(crate) fn line_reader(data: &[u8]) {
    let [limit, step, stretch, text @ ..] = data else { return };
    let bytes = match stretch {
        255 if text.len() < 16 => text.iter().flat_map(|byte| std::iter::repeat_n(*byte, 20_000)).collect(),
        _ => text.to_vec(),
    };
    let (limit, step) = (usize::from(*limit) + 1, usize::from(*step) * bytes.len().div_ceil(256) + 1);
    let length = bytes.len() as u64;
    let mut reader = Reader::new(Arc::new(Memory { bytes: bytes.clone(), reach: step }), 0, limit);
    let (mut buffer, mut seen, mut at) = (Vec::new(), 0_usize, 0_u64);
    let step = reader.file().reach;
    while seen < bytes.len() {
        seen = (seen + step).min(bytes.len());
        let ended = seen == bytes.len();
        loop {
            let take = |line: LineView<'_>| {
                assert_eq!(line.offset, at, "lines stand end to end");
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
    assert_eq!(at, length, "all bytes are in lines");
}

/// A line is passed on as it is if, and only if, a lenient reader knows it for an object and a strict one has nothing
/// against it; and its document is JSON either way, with `origin`, and holds the line.
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
        Check::Wrap(Flaw::TooLong) => panic!("nothing was cut"),
        Check::Object(object) => {
            assert!(is_json(text.unwrap()), "{text:?}");
            assert!(data[..=object.closing_brace].ends_with(b"}"));
        }
    }
    let generation = GenerationId::new(1_700_000_000_000, &[7; 10]);
    let mut documents = Documents::new("host", "shipper", "service");
    let origin = documents.origin(&Place::File("a.log".to_owned()), generation);
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
    assert_eq!((lines.len(), lines[2].len()), (3, 0), "an action and a document, each on a line");
    let document = std::str::from_utf8(lines[1]).expect("a document is UTF-8");
    assert!(is_json(document), "{document}");
    // Numbers beyond what a float holds are passed on, and not every reader takes them.
    if let Ok(document) = serde_json::from_str::<Value>(document) {
        assert_eq!(document["origin"]["length"], data.len() as u64 + 1);
        if let (Check::Object(_), Ok(own)) = (check, serde_json::from_slice::<Value>(data)) {
            let mut rest = document;
            rest.as_object_mut().unwrap().remove("origin");
            assert_eq!(rest, own, "the line's own members are as they were");
        }
    }
}

/// Whether it is JSON by its grammar, with surrogates in pairs, however large its numbers are and however deep it is.
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

/// What an answer is taken for says at most what is in it: as many lines as were sent, and stored only those that it calls
/// created. The first byte is the number of lines.
pub(crate) fn bulk_answer(data: &[u8]) {
    let [lines, body @ ..] = data else { return };
    let lines = usize::from(*lines);
    let Ok(dispositions) = store::engine::parse_bulk_response(body, lines) else { return };
    assert_eq!(dispositions.len(), lines);
    serde_json::from_slice::<IgnoredAny>(body).expect("an answer that is believed is JSON");
    // What is passed over may hold what a value can't: bytes that are not UTF-8, numbers without bound.
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return };
    let items = answer["items"].as_array().expect("it has items");
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

/// A journal of any bytes opens, or is refused for its version or its damage and left as it is; what was good of it is there at the second opening too.
/// With a first byte that is even, each line gets the sum that makes it a whole record.
pub(crate) fn journal(data: &[u8]) {
    let [how, text @ ..] = data else { return };
    let mut bytes = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if how.is_multiple_of(2) {
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
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "what is refused is left as it is");
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
        assert_eq!([kept, torn].concat(), bytes, "nothing is thrown away");
    }
    let mut second = Journal::open(RealDisk, folder.path()).unwrap();
    assert_eq!(entries(&first), entries(&second));
    // It can be gone on with.
    let generation = GenerationId::new(1_700_000_000_000, &[9; 10]);
    second.checkpoint(generation, u64::MAX);
    second.sync().unwrap();
    let third = Journal::open(RealDisk, folder.path()).unwrap();
    assert_eq!(entries(&second), entries(&third));
}

/// A configuration is refused, or what it comes to is a configuration that comes to the same.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("shipper.toml");
    let Ok(options) = Options::from_toml(text, path) else { return };
    // Secrets are read from the files that are named: of any name, that would be any file.
    if options.password_file.is_some() || options.api_key_file.is_some() {
        return;
    }
    let Ok(settings) = Settings::new(options, None) else { return };
    let told = settings.to_string();
    let again = Options::from_toml(&told, path).expect("what it says of itself can be read");
    assert_eq!(Settings::new(again, None).expect("and holds").to_string(), told);
}

/// Fields that a user named, one of each type.
static NAMED: LazyLock<NamedFields> = LazyLock::new(|| {
    let names = ["order.id", "note", "tries", "amount", "paid", "due"];
    let named = names.into_iter().map(str::to_owned).zip(FieldType::ALL);
    NamedFields::new(named).expect("they are names")
});

/// A query is refused, with words about it, or its filter's text is a query that finds the same. Fields that are named besides
/// change nothing about one that does not ask for them.
pub(crate) fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let filter = Filter::parse(text, &NAMED);
    if let Ok(without) = text.parse::<Filter>() {
        assert_eq!(filter.as_ref(), Ok(&without), "{text:?}");
    }
    match filter {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(filter) => {
            let told = filter.to_string();
            // The text may be longer than what was asked, and then too long.
            if told.len() <= MAX_QUERY_BYTES {
                let again = Filter::parse(&told, &NAMED).unwrap_or_else(|error| panic!("{told:?}: {error}"));
                assert_eq!(again, filter, "{told:?}");
            }
        }
    }
}
