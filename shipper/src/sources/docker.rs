//! Docker's `json-file` logs: reads the lines of a container's stdout from their entries.
//!
//! An entry is a line of the file, `{"log":"…\n","stream":"stdout","attrs":{…},"time":"2026-11-23T18:51:20.1Z"}`,
//! written by Docker's [`jsonlog`](https://pkg.go.dev/github.com/docker/docker/daemon/logger/jsonfilelog/jsonlog).
//! Docker splits output into pieces of 16 KiB, of which only the last one ends in a newline; they are joined again.
//! `attrs` is present if the container's log options name labels, and identifies the container, so that neither
//! Docker's socket nor its own files have to be read.
//!
//! A line covers the file from the end of the previous line to the end of its own last entry, including skipped entries
//! of stderr between them. So lines are contiguous in the file, as in other files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use store::Timestamp;

use super::Describe;
use crate::disk::{DiskFile, path};
use crate::reader::{Chunk, LineView, Reader, SCAN_BYTES};
use crate::record::{ChangeSet, EARLIEST};

/// Number of bytes searched for the first entry of a file. The longest one has 16 KiB of text, six times as long if
/// every character is escaped, plus its attributes.
const PEEK_BYTES: usize = 256 * 1024;

/// The label that Compose gives the containers of a service.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// Labels that a container must have, with their values. Without any, all containers match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Parses labels of the form `KEY=VALUE`.
    ///
    /// # Errors
    /// The first invalid text, or one that gives a label a second value.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut labels = BTreeMap::new();
        for text in texts {
            let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some_and(|before| before != value) {
                return Err(format!("{key:?} is given twice with different values"));
            }
        }
        Ok(Self(labels))
    }

    /// The container of a file, if it has these labels. Also `None` while the file has no entry.
    pub(crate) fn select(&self, path: &Path, file: &impl DiskFile) -> Option<DockerSource> {
        let labelled = [4 * 1024, PEEK_BYTES].into_iter().find_map(|bytes| first_entry(file, bytes))?;
        let attrs = labelled.attrs.unwrap_or_default();
        self.0.iter().all(|(key, value)| attrs.get(key) == Some(value)).then(|| DockerSource {
            file: path::text(path),
            container: container(path),
            compose_service: attrs.get(COMPOSE_SERVICE).filter(|service| !service.is_empty()).cloned(),
        })
    }
}

/// A container's log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSource {
    file: String,
    /// The container id.
    container: Option<String>,
    /// The Compose service. It is also the service of lines that name none.
    compose_service: Option<String>,
}

impl DockerSource {
    /// Creates the source of a file whose entries can't be read any more.
    pub(crate) fn unlabelled(path: &Path) -> Self {
        Self { file: path::text(path), container: None, compose_service: None }
    }
}

impl Describe for DockerSource {
    fn each_field(&self, with: &mut dyn FnMut(&'static str, &str)) {
        with("file", &self.file);
        let _ = self.container.as_ref().map(|id| with("container", id));
        let _ = self.compose_service.as_ref().map(|name| with("compose_service", name));
    }

    fn service(&self) -> Option<&str> {
        self.compose_service.as_deref()
    }
}

/// The first entry in the first bytes of a file.
fn first_entry(file: &impl DiskFile, bytes: usize) -> Option<Labelled> {
    let mut beginning = vec![0; bytes];
    let got = file.read_at(&mut beginning, 0).ok()?;
    let mut lines = beginning[..got].split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.find_map(|line| serde_json::from_slice(line).ok())
}

/// The container id in the name of a file.
fn container(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (id, _) = name.split_once("-json.log")?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// The part of an entry that describes its container.
#[derive(Deserialize)]
struct Labelled {
    #[serde(rename = "log")]
    _log: IgnoredAny,
    attrs: Option<BTreeMap<String, String>>,
}

/// The part of an entry that describes the output.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

/// The line being assembled from entries.
struct Open {
    /// Its text so far, up to the limit.
    text: Vec<u8>,
    cut_bytes: u64,
    /// Offset of its first entry.
    from: Option<u64>,
    /// Time of its first entry.
    written: Option<Timestamp>,
    /// Changes made to its entries while reading.
    changes: ChangeSet,
    max_bytes: usize,
}

impl Open {
    fn new(max_bytes: usize) -> Self {
        Self { text: Vec::new(), cut_bytes: 0, from: None, written: None, changes: ChangeSet::default(), max_bytes }
    }

    fn add(&mut self, from: u64, text: &[u8], written: Option<Timestamp>) {
        if self.from.is_none() {
            (self.from, self.written) = (Some(from), written);
        }
        let kept = text.len().min(self.max_bytes - self.text.len());
        self.text.extend_from_slice(&text[..kept]);
        self.cut_bytes += (text.len() - kept) as u64;
    }

    /// Passes the complete line, which covers the file from the end of the previous one to `end`.
    fn pass(
        &mut self,
        last: &mut u64,
        end: u64,
        take: &mut impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (offset, length) = (*last, end - *last);
        let Self { cut_bytes, written, changes, .. } = *self;
        let flow = take(LineView { offset, length, bytes: &self.text, cut_bytes, written, changes });
        self.text.clear();
        self.changes = ChangeSet::default();
        (self.cut_bytes, self.from, *last) = (0, None, end);
        flow
    }
}

/// Reads lines from a container's file. Like [`Reader`], it keeps no bytes between two calls.
#[derive(Debug)]
pub struct ContainerReader<F> {
    entries: Reader<F>,
    /// The end of the last line. There is no stdout between it and the next entry to read.
    offset: u64,
    line_max_bytes: usize,
}

impl<F: DiskFile> ContainerReader<F> {
    /// Creates a reader at `offset`, which must be the end of a line or the start of the file.
    #[must_use]
    pub fn new(file: Arc<F>, offset: u64, line_max_bytes: usize) -> Self {
        let entries = Reader::new(file, offset, line_max_bytes.max(PEEK_BYTES));
        Self { entries, offset, line_max_bytes }
    }

    /// The end of the last line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file being read.
    #[must_use]
    pub fn file(&self) -> &Arc<F> {
        self.entries.file()
    }

    /// Continues in another file with the same content up to here.
    pub fn move_to(&mut self, file: Arc<F>) {
        self.entries.move_to(file);
    }

    /// Passes lines to `take`, like [`Reader::read`]. A line whose entries together are longer than [`SCAN_BYTES`] is
    /// passed in parts. Text that is not an entry is passed unchanged.
    ///
    /// # Errors
    /// File system errors. The position is unchanged then.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        let first = self.offset;
        let mut open = Open::new(self.line_max_bytes);
        let mut lines = 0;
        let read = loop {
            let offset = &mut self.offset;
            let read = self
                .entries
                .read(buffer, end, ended, |entry| read_entry(&entry, &mut open, offset, &mut lines, &mut take));
            let is_too_long = open.from.is_some_and(|from| self.entries.offset() - from > SCAN_BYTES);
            match read {
                // The line's last entry may follow immediately.
                Ok(Chunk { more: true, .. }) if open.from.is_some() && !is_too_long => {}
                read => break read.map(|read| (read.more, is_too_long)),
            }
        };
        let at = self.entries.offset();
        let is_all = ended && at >= end;
        match (open.from, &read) {
            (Some(_), Ok((_, is_too_long))) if *is_too_long || is_all => {
                lines += 1;
                let _ = open.pass(&mut self.offset, at, &mut take);
            }
            // The line is incomplete: read it again from its first entry.
            (Some(from), _) => self.entries.rewind(from),
            // Only stderr is left, and nothing follows.
            (None, Ok(_)) if is_all => self.offset = at,
            (None, _) => {}
        }
        match read {
            Err(error) if lines == 0 => Err(error),
            read => Ok(Chunk { start: first, end: self.offset, lines, more: read.is_ok_and(|(more, _)| more) }),
        }
    }
}

fn read_entry(
    raw: &LineView<'_>,
    open: &mut Open,
    offset: &mut u64,
    lines: &mut u64,
    take: &mut impl FnMut(LineView<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let end = raw.offset + raw.length;
    let entry = (raw.cut_bytes == 0).then(|| serde_json::from_slice::<Entry<'_>>(raw.bytes).ok()).flatten();
    let Some(entry) = entry else {
        if open.from.is_some() {
            *lines += 1;
            let _ = open.pass(offset, raw.offset, take);
        }
        open.add(raw.offset, raw.bytes, None);
        open.changes.add(raw.changes);
        open.cut_bytes += raw.cut_bytes;
        *lines += 1;
        return open.pass(offset, end, take);
    };
    if entry.stream != "stdout" {
        return ControlFlow::Continue(());
    }
    let written = Timestamp::parse(entry.time.as_bytes()).filter(|time| *time >= EARLIEST);
    open.changes.add(raw.changes);
    let whole = entry.log.strip_suffix('\n');
    open.add(raw.offset, whole.unwrap_or(&entry.log).as_bytes(), written);
    if whole.is_none() {
        return ControlFlow::Continue(());
    }
    *lines += 1;
    open.pass(offset, end, take)
}

#[cfg(test)]
mod tests;
