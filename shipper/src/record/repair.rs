//! Turns a line that is nearly an object, or an object that a store would reject, into one that every store accepts.
//!
//! Only lines rejected by the [strict scan](super::scan) are repaired, so this may allocate. The meaning is kept: each
//! change is recorded as a [`Change`], and values that have to be moved go to `replaced`. The object at the start of a
//! truncated line is closed; an incomplete value at the cut that could be misread is left out.
//!
//! The time is linear in the line's length, except for duplicate keys: they cost a copy of their object per level that
//! has one, and there are at most [`MAX_DEPTH`] levels.

mod replaced;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;

use self::replaced::Replaced;
use super::MAX_DEPTH;
use super::change::{Change, Changes};
use super::keys::decode;
use super::refused;

/// If a line is nested deeper than [`MAX_DEPTH`], values below this depth become strings: OpenSearch rejects more than
/// 20 nested lists.
const SHALLOW_DEPTH: usize = 20;

/// A line that was turned into an object.
#[derive(Debug)]
pub(crate) struct Repaired {
    /// The text of the object.
    pub(crate) text: Vec<u8>,
    /// A JSON object of replaced values by the path of their key; empty if there are none.
    pub(crate) replaced: String,
    /// Number of bytes at the end of a truncated line that are not in the text.
    pub(crate) dropped: usize,
}

/// The result of reading a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// It is complete.
    Whole,
    /// It was cut at the end of the line, and closed.
    Cut,
    /// It was cut at the end of the line, and nothing usable is left.
    Nothing,
}

/// The line can't be turned into an object.
struct Irreparable;

/// Turns a line that starts with an object into a valid one, if possible; `is_cut` if the line was truncated.
pub(crate) fn repair(line: &[u8], is_cut: bool, changes: &mut Changes) -> Option<Repaired> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if line[start] != b'{' {
        return None;
    }
    let (line, half) = if is_cut { without_half_a_character(line) } else { (line, 0) };
    let text = String::from_utf8_lossy(line);
    let read = |depth_max| Repair::new(&text, line.len(), start, is_cut, depth_max).read();
    let mut read_line = read(MAX_DEPTH)?;
    if read_line.changes.set().contains(Change::TooDeep) {
        // Engines with a lower limit would reject it otherwise.
        read_line = read(SHALLOW_DEPTH)?;
    }
    if matches!(text, Cow::Owned(_)) {
        read_line.changes.note(Change::InvalidUtf8);
    }
    if is_cut {
        read_line.changes.note(Change::TooLong);
    }
    let dropped = half + text.len() - read_line.dropped_from;
    changes.extend(read_line.changes);
    Some(Repaired { text: read_line.out, replaced: read_line.replaced.into_json(), dropped })
}

/// A truncated line without an incomplete character at its end, and the number of bytes removed.
fn without_half_a_character(line: &[u8]) -> (&[u8], usize) {
    let tail = line.len().saturating_sub(3);
    for start in tail..line.len() {
        if line[start] >= 0xc0 {
            let is_half = std::str::from_utf8(&line[start..]).is_err_and(|error| error.error_len().is_none());
            return if is_half { (&line[..start], line.len() - start) } else { (line, 0) };
        }
    }
    (line, 0)
}

/// A line being repaired.
struct Repair<'a> {
    /// The line, as UTF-8.
    text: &'a [u8],
    at: usize,
    is_cut: bool,
    out: Vec<u8>,
    /// The keys of the enclosing objects, outermost first.
    path: Vec<String>,
    changes: Changes,
    replaced: Replaced,
    /// Number of enclosing objects and lists.
    depth: usize,
    /// Deeper values become strings.
    depth_max: usize,
    /// Offset from which the text at the cut is left out.
    dropped_from: usize,
}

/// A member written to `out`.
struct Member {
    /// Offset of its key's quote.
    start: usize,
    value: usize,
    end: usize,
    is_kept: bool,
}

impl<'a> Repair<'a> {
    fn new(text: &'a str, length: usize, at: usize, is_cut: bool, depth_max: usize) -> Self {
        Self {
            text: text.as_bytes(),
            at,
            is_cut,
            out: Vec::with_capacity(text.len() + 64),
            path: Vec::new(),
            changes: Changes::default(),
            replaced: Replaced::new(length),
            depth: 1,
            depth_max,
            dropped_from: text.len(),
        }
    }

    /// Reads the whole line.
    fn read(mut self) -> Option<Self> {
        let read = self.object().ok()?;
        self.skip_space();
        (self.at >= self.text.len() && read != Read::Nothing).then_some(self)
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The end of the line, which is either a cut or an error.
    fn at_end(&self) -> Result<(), Irreparable> {
        if self.is_cut { Ok(()) } else { Err(Irreparable) }
    }

    fn object(&mut self) -> Result<Read, Irreparable> {
        self.at += 1;
        let start = self.out.len();
        self.out.push(b'{');
        let mut members: Vec<Member> = Vec::new();
        let mut kept: HashMap<String, usize> = HashMap::new();
        let mut read = Read::Whole;
        loop {
            self.skip_space();
            match self.byte() {
                None => {
                    self.at_end()?;
                    read = if members.is_empty() { Read::Nothing } else { Read::Cut };
                    break;
                }
                Some(b'}') => {
                    if !members.is_empty() {
                        self.changes.note(Change::TrailingComma);
                    }
                    self.at += 1;
                    break;
                }
                Some(b'"') => {}
                Some(_) => return Err(Irreparable),
            }
            let before = self.out.len();
            if !members.is_empty() {
                self.out.push(b',');
            }
            let Some((key, member, of_value)) = self.member()? else {
                self.out.truncate(before);
                read = if members.is_empty() { Read::Nothing } else { Read::Cut };
                break;
            };
            self.choose(key, member, &mut members, &mut kept);
            if of_value == Read::Cut {
                read = Read::Cut;
                break;
            }
            self.skip_space();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                None => {
                    self.at_end()?;
                    read = Read::Cut;
                    break;
                }
                Some(_) => return Err(Irreparable),
            }
        }
        self.write_members(start, &members);
        self.out.push(b'}');
        Ok(read)
    }

    /// Reads a member; `None` if the cut leaves nothing of it. Its key is on the path while the value is read.
    fn member(&mut self) -> Result<Option<(String, Member, Read)>, Irreparable> {
        let (from, start) = (self.at, self.out.len());
        if self.string()? == Read::Cut {
            return self.drop_from(from);
        }
        let mut key = Vec::new();
        decode(&self.out[start + 1..self.out.len() - 1], &mut key);
        let key = String::from_utf8_lossy(&key).into_owned();
        self.skip_space();
        match self.byte() {
            Some(b':') => self.at += 1,
            None => return self.drop_from(from),
            Some(_) => return Err(Irreparable),
        }
        self.out.push(b':');
        self.skip_space();
        let value = self.out.len();
        self.path.push(key);
        let read = self.value();
        let key = self.path.pop().unwrap_or_default();
        let read = read?;
        if read == Read::Nothing {
            return self.drop_from(from);
        }
        let member = Member { start, value, end: self.out.len(), is_kept: true };
        Ok(Some((key, member, read)))
    }

    /// Removes the member whose key starts at `from`.
    fn drop_from<T>(&mut self, from: usize) -> Result<Option<T>, Irreparable> {
        self.at_end()?;
        self.dropped_from = self.dropped_from.min(from);
        Ok(None)
    }

    /// Decides which of two members with the same key is kept, and removes rejected ones.
    fn choose(
        &mut self,
        key: String,
        mut member: Member,
        members: &mut Vec<Member>,
        kept: &mut HashMap<String, usize>,
    ) {
        let is_top = self.path.is_empty();
        self.path.push(key);
        let key = self.path.last().map_or("", String::as_str);
        if let Some(change) = refused::at(&self.path) {
            member.is_kept = false;
            self.changes.note_at(change, &self.path);
        } else if let Some(before) = kept.get_mut(key) {
            let value = |member: &Member| std::str::from_utf8(&self.out[member.value..member.end]).unwrap_or_default();
            let is_usable = |member: &Member| {
                if is_top { store::is_usable(key, value(member)) } else { value(member) != "null" }
            };
            // The last one wins, as in most parsers, unless its value is unusable and the previous one's is usable.
            if !is_usable(&member) && is_usable(&members[*before]) {
                member.is_kept = false;
            } else {
                members[*before].is_kept = false;
                *before = members.len();
            }
            self.changes.note_at(Change::DuplicateKey, &self.path);
        } else {
            kept.insert(key.to_owned(), members.len());
        }
        self.path.pop();
        members.push(member);
    }

    /// Writes the members that are kept after the brace at `start`, and moves the others to `replaced`.
    fn write_members(&mut self, start: usize, members: &[Member]) {
        if members.iter().all(|member| member.is_kept) {
            return;
        }
        let first = start + 1;
        let written = self.out.split_off(first);
        let mut is_first = true;
        for member in members {
            let part = |from: usize, to: usize| &written[from - first..to - first];
            if member.is_kept {
                if !std::mem::take(&mut is_first) {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(part(member.start, member.end));
            } else {
                let value = String::from_utf8_lossy(part(member.value, member.end)).into_owned();
                let mut key = Vec::new();
                decode(part(member.start + 1, member.value - 2), &mut key);
                self.replaced.add(&self.path, &String::from_utf8_lossy(&key), value);
            }
        }
    }

    fn array(&mut self) -> Result<Read, Irreparable> {
        self.at += 1;
        self.out.push(b'[');
        let mut is_first = true;
        let read = loop {
            self.skip_space();
            match self.byte() {
                None => {
                    self.at_end()?;
                    break if is_first { Read::Nothing } else { Read::Cut };
                }
                Some(b']') => {
                    if !is_first {
                        self.changes.note_at(Change::TrailingComma, &self.path);
                    }
                    self.at += 1;
                    break Read::Whole;
                }
                Some(_) => {}
            }
            let before = self.out.len();
            if !is_first {
                self.out.push(b',');
            }
            match self.value()? {
                Read::Whole => is_first = false,
                Read::Cut => break Read::Cut,
                Read::Nothing => {
                    self.out.truncate(before);
                    break if is_first { Read::Nothing } else { Read::Cut };
                }
            }
            self.skip_space();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    break Read::Whole;
                }
                None => {
                    self.at_end()?;
                    break Read::Cut;
                }
                Some(_) => return Err(Irreparable),
            }
        };
        self.out.push(b']');
        Ok(read)
    }

    fn value(&mut self) -> Result<Read, Irreparable> {
        match self.byte() {
            None => self.at_end().map(|()| Read::Nothing),
            Some(b'"') => self.string(),
            Some(b'{' | b'[') if self.depth >= self.depth_max => self.deep(),
            Some(opening @ (b'{' | b'[')) => {
                self.depth += 1;
                let read = if opening == b'{' { self.object() } else { self.array() };
                self.depth -= 1;
                read
            }
            Some(_) => self.word(),
        }
    }
}
