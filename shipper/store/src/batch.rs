//! A batch of lines, stored as the body of an engine's `_bulk` request.
//!
//! The body is NDJSON: for each line an action, `{"create":{"_index":"<prefix>-YYYY.MM.DD","_id":"<id>"}}`, and the
//! document. The embedded store reads the documents from the same bytes. To retry some lines, their bytes are copied
//! into a new batch; documents are never built twice.

use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;

use crate::id::{GenerationId, LineId};
use crate::timestamp::Day;

/// Position of one line in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine {
    /// The line's identity.
    pub id: LineId,
    /// Length of the line at its source in bytes, including the newline.
    pub length: u64,
    action: u32,
    document: u32,
    end: u32,
}

/// Lines to be written to a store. Clones share the body.
#[derive(Clone, Debug)]
pub struct Batch {
    body: Bytes,
    lines: Vec<BatchLine>,
}

impl Batch {
    /// Returns the body of the `_bulk` request.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the lines in the order of the body.
    #[must_use]
    pub fn lines(&self) -> &[BatchLine] {
        &self.lines
    }

    /// Returns the document of the line at `place`, without its newline.
    ///
    /// # Panics
    /// When there is no such line.
    #[must_use]
    pub fn document(&self, index: usize) -> &[u8] {
        let line = &self.lines[index];
        &self.body[line.document as usize..line.end as usize - 1]
    }

    /// Returns the name of the index of the line at `place`.
    ///
    /// # Panics
    /// When there is no such line.
    #[must_use]
    pub fn index_name(&self, index: usize) -> &str {
        let line = &self.lines[index];
        let action = &self.body[line.action as usize + INDEX_AT..line.document as usize];
        let end = memchr::memchr(b'"', action).unwrap_or(0);
        std::str::from_utf8(&action[..end]).unwrap_or_default()
    }

    /// Returns how many lines from the start fit into `max_bytes` of body.
    #[must_use]
    pub fn lines_within(&self, max_bytes: usize) -> usize {
        self.lines.partition_point(|line| line.end as usize <= max_bytes)
    }

    /// Copies the lines at `places`, which must ascend, into a new batch.
    ///
    /// # Panics
    /// When an index is out of range.
    #[must_use]
    pub fn select(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let mut body = Vec::new();
        let mut lines = Vec::new();
        for index in indices {
            let line = self.lines[index];
            let moved = offset(body.len());
            body.extend_from_slice(&self.body[line.action as usize..line.end as usize]);
            lines.push(BatchLine {
                action: moved,
                document: moved + line.document - line.action,
                end: offset(body.len()),
                ..line
            });
        }
        Self { body: Bytes::from(body), lines }
    }

    /// Returns the lines of `range` as a batch that shares these bytes.
    ///
    /// # Panics
    /// When `range` is out of range.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let lines = &self.lines[range];
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
            return Self { body: Bytes::new(), lines: Vec::new() };
        };
        let base = first.action;
        let body = self.body.slice(base as usize..last.end as usize);
        let moved = |line: &BatchLine| BatchLine {
            action: line.action - base,
            document: line.document - base,
            end: line.end - base,
            ..*line
        };
        Self { body, lines: lines.iter().map(moved).collect() }
    }
}

const ACTION_HEAD: &[u8] = b"{\"create\":{\"_index\":\"";
const INDEX_AT: usize = ACTION_HEAD.len();

/// Collects lines into a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    index_prefix: String,
    /// The action up to the id, for `day`. Consecutive lines usually share it.
    action: Vec<u8>,
    day: Option<Day>,
    body: Vec<u8>,
    lines: Vec<BatchLine>,
}

impl BatchBuilder {
    /// Creates a builder of batches for the indices `<index_prefix>-YYYY.MM.DD`.
    #[must_use]
    pub fn new(index_prefix: &str) -> Self {
        Self {
            index_prefix: index_prefix.to_owned(),
            action: Vec::new(),
            day: None,
            body: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Adds a line of `length` bytes at its source. `write` appends the document, without a newline, to the buffer it
    /// gets. A batch's body must stay below 4 GiB; callers limit it far below that.
    pub fn push(&mut self, id: LineId, length: u64, day: Day, write: impl FnOnce(&mut Vec<u8>)) {
        if self.day != Some(day) {
            self.action.clear();
            self.action.extend_from_slice(ACTION_HEAD);
            // Writing to memory can't fail.
            let _ = write!(self.action, "{}-{day}\",\"_id\":\"", self.index_prefix);
            self.day = Some(day);
        }
        let action = offset(self.body.len());
        self.body.extend_from_slice(&self.action);
        self.body.extend_from_slice(&id.to_bytes());
        self.body.extend_from_slice(b"\"}}\n");
        let document = offset(self.body.len());
        write(&mut self.body);
        self.body.push(b'\n');
        self.lines.push(BatchLine { id, length, action, document, end: offset(self.body.len()) });
    }

    /// Returns the size of the body so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the number of lines so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Returns the batch and starts a new one with a capacity of `capacity` bytes.
    pub fn finish(&mut self, capacity: usize) -> Batch {
        let count = self.lines.len();
        let body = std::mem::replace(&mut self.body, Vec::with_capacity(capacity));
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(count));
        Batch { body: Bytes::from(body), lines }
    }
}

/// Converts a position in a body, whose size [`BatchBuilder::push`] limits.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Returns the generations of a batch's lines, without consecutive duplicates.
pub fn generations(lines: &[BatchLine]) -> impl Iterator<Item = GenerationId> + '_ {
    let mut last = None;
    lines.iter().filter_map(move |line| {
        let generation = line.id.generation;
        (last.replace(generation) != Some(generation)).then_some(generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn three() -> Batch {
        let mut builder = BatchBuilder::new("app-logs");
        let generation = GenerationId::new(1, &[0; 10]);
        for (offset, day) in [(0, "2026-11-23T00:00:00Z"), (10, "2026-11-24T00:00:00Z"), (20, "2026-11-24T00:00:00Z")] {
            let day = Timestamp::parse(day.as_bytes()).unwrap().day();
            builder.push(LineId { generation, offset }, 10, day, |body| {
                body.extend_from_slice(format!("{{\"n\":{offset}}}").as_bytes())
            });
        }
        builder.finish(0)
    }

    #[test]
    fn a_body_is_actions_and_documents() {
        let batch = three();
        let text = std::str::from_utf8(batch.body()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(
            lines[0],
            format!("{{\"create\":{{\"_index\":\"app-logs-2026.11.23\",\"_id\":\"{}\"}}}}", batch.lines()[0].id)
        );
        assert_eq!(lines[3], "{\"n\":10}");
        assert_eq!(batch.index_name(2), "app-logs-2026.11.24");
    }

    #[test]
    fn lines_within_counts_whole_lines() {
        let batch = three();
        let two = batch.select([0, 1]).body().len();
        assert_eq!([0, two - 1, two, usize::MAX].map(|max| batch.lines_within(max)), [0, 1, 2, 3]);
    }

    #[test]
    fn slices_and_selections_keep_their_bytes() {
        let batch = three();
        for part in [batch.select([0, 2]), batch.select([2]), batch.slice(1..3), batch.slice(0..0)] {
            for (index, line) in part.lines().iter().enumerate() {
                let whole = batch.lines().iter().position(|other| other.id == line.id).unwrap();
                assert_eq!(part.document(index), batch.document(whole));
                assert_eq!(part.index_name(index), batch.index_name(whole));
            }
        }
    }
}
