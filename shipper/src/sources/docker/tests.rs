//! Tests with entries as Docker writes them, read while the file grows.

use std::io::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const LIMIT: usize = 100;

fn entry(log: &str, stream: &str) -> Vec<u8> {
    let entry = json!({ "log": log, "stream": stream, "attrs": { "com.docker.compose.service": "shop" },
        "time": "2026-11-23T18:51:20.123456789Z" });
    (entry.to_string() + "\n").into_bytes()
}

/// A line: offset, length, text, number of bytes cut.
type Given = (u64, u64, Vec<u8>, u64);

/// Reads all lines of a file while its visible end grows by `steps`; also returns the reader's offset.
fn read_all(bytes: &[u8], steps: &[usize], every: usize, ended: bool) -> (Vec<Given>, u64) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut reader = ContainerReader::new(Arc::new(file), 0, LIMIT);
    let (mut lines, mut buffer, mut end) = (Vec::new(), Vec::new(), 0);
    for step in steps.iter().copied().chain([bytes.len()]) {
        end = (end + step).min(bytes.len());
        let ended = ended && end == bytes.len();
        loop {
            let before = lines.len();
            let chunk = reader.read(&mut buffer, end as u64, ended, |line| {
                lines.push((line.offset, line.length, line.bytes.to_vec(), line.cut_bytes));
                if lines.len() % every == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let chunk = chunk.unwrap();
            assert_eq!(chunk.lines, (lines.len() - before) as u64);
            if !chunk.more {
                break;
            }
        }
    }
    (lines, reader.offset())
}

#[test]
fn pieces_are_joined_and_stderr_is_skipped() {
    let entries = [
        entry("one\n", "stdout"),
        entry("panicked\n", "stderr"),
        entry("two, ", "stdout"),
        entry("again\n", "stderr"),
        entry("joined\n", "stdout"),
        b"{\"log\":\"torn\n".to_vec(),
        entry(&"x".repeat(LIMIT), "stdout"),
        entry("cut\n", "stdout"),
        entry("begun", "stdout"),
        entry("after\n", "stderr"),
    ];
    let ends: Vec<u64> = entries
        .iter()
        .scan(0, |at, entry| {
            *at += entry.len() as u64;
            Some(*at)
        })
        .collect();
    let bytes = entries.concat();
    let line = |from: usize, to: usize, text: &str, cut| {
        let start = if from == 0 { 0 } else { ends[from - 1] };
        (start, ends[to] - start, text.as_bytes().to_vec(), cut)
    };
    let mut expected = vec![
        line(0, 0, "one", 0),
        line(1, 4, "two, joined", 0),
        line(5, 5, "{\"log\":\"torn", 0),
        line(6, 7, &"x".repeat(LIMIT), 3),
    ];
    for step in [1, 7, 50, 1000] {
        for every in [1, 3, 100] {
            let steps = vec![step; bytes.len() / step];
            assert_eq!(read_all(&bytes, &steps, every, false), (expected.clone(), ends[7]), "{step} {every}");
        }
    }
    expected.push(line(8, 9, "begun", 0));
    assert_eq!(read_all(&bytes, &[], 100, true), (expected, ends[9]));
}

#[test]
fn a_file_with_only_stderr_is_read_to_its_end() {
    let bytes = [entry("a\n", "stderr"), entry("b\n", "stderr")].concat();
    assert_eq!(read_all(&bytes, &[3], 1, false), (vec![], 0));
    assert_eq!(read_all(&bytes, &[3], 1, true), (vec![], bytes.len() as u64));
}

#[test]
fn a_line_has_the_time_of_its_entry() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&entry("plain\n", "stdout")).unwrap();
    let mut reader = ContainerReader::new(Arc::new(file), 0, LIMIT);
    let mut written = None;
    let take = |line: LineView<'_>| {
        written = line.written;
        ControlFlow::Continue(())
    };
    reader.read(&mut Vec::new(), 10_000, true, take).unwrap();
    assert_eq!(written, Timestamp::parse(b"2026-11-23T18:51:20.123456789Z"));
}

#[test]
fn a_line_without_an_end_is_split() {
    let piece = entry(&"x".repeat(16 * 1024), "stdout");
    let bytes = piece.repeat(2 * usize::try_from(SCAN_BYTES).unwrap() / piece.len());
    let (lines, at) = read_all(&bytes, &[], 100, false);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].1 > SCAN_BYTES && lines[0].1 == at && lines[0].3 > SCAN_BYTES / 2);
}

#[test]
fn containers_are_chosen_by_their_labels() {
    let id = "ab".repeat(32);
    let path = format!("/var/lib/docker/containers/{id}/{id}-json.log.1");
    let select = |labels: &[&str], bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let labels: Vec<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        Labels::parse(&labels).unwrap().select(Path::new(&path), &file)
    };
    let place = |service: Option<&str>| {
        let compose_service = service.map(str::to_owned);
        Some(DockerSource { file: path.clone(), container: Some(id.clone()), compose_service })
    };
    let shop = [b"not an entry\n".to_vec(), entry(&"\u{1}".repeat(16 * 1024), "stderr")].concat();
    assert_eq!(select(&[], &shop), place(Some("shop")));
    assert_eq!(select(&["com.docker.compose.service=shop"], &shop), place(Some("shop")));
    assert_eq!(select(&["com.docker.compose.service=shop", "a=b"], &shop), None);
    assert_eq!(select(&["com.docker.compose.service=sho"], &shop), None);
    assert_eq!(select(&[], b"{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"\"}\n"), place(None));
    assert_eq!(select(&[], b"{\"log\":\"not whole"), None);
    assert_eq!(Labels::parse(&["no value".to_owned()]).unwrap_err(), "\"no value\" is not KEY=VALUE");
    assert!(Labels::parse(&["a=b".to_owned(), "a=c".to_owned()]).is_err());
}

proptest! {
    #[test]
    fn lines_stand_end_to_end_however_a_file_grows(
        entries in proptest::collection::vec(("[a-c\"\\\\é]{0,40}", any::<bool>(), 0..4_u8), 0..20),
        steps in proptest::collection::vec(0_usize..300, 0..20),
        every in 1_usize..4,
    ) {
        let mut bytes = Vec::new();
        let (mut texts, mut open) = (Vec::new(), String::new());
        for (text, ends, stream) in &entries {
            let text = format!("{text}{}", if *ends { "\n" } else { "" });
            bytes.extend(entry(&text, if *stream == 0 { "stderr" } else { "stdout" }));
            if *stream > 0 {
                open.push_str(&text);
                if *ends {
                    texts.push(std::mem::take(&mut open).trim_end_matches('\n').to_owned());
                }
            }
        }
        if entries.iter().rev().find(|entry| entry.2 > 0).is_some_and(|entry| !entry.1) {
            texts.push(open);
        }
        let (lines, at) = read_all(&bytes, &steps, every, true);
        prop_assert_eq!(at, bytes.len() as u64);
        let mut next = 0;
        for ((offset, length, text, cut), expected) in lines.iter().zip(&texts) {
            prop_assert_eq!(*offset, next);
            next += length;
            prop_assert_eq!(text.len() as u64 + cut, expected.len() as u64);
            prop_assert!(expected.as_bytes().starts_with(text));
        }
        prop_assert_eq!(lines.len(), texts.len());
    }
}
