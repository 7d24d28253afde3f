//! Scans a line once, by the grammar of RFC 8259.
//!
//! The offset is passed by value and each step returns the offset after what it has read, so that it stays in a
//! register. After the line's end there are zeros, with which nothing in the grammar starts.

use super::keys::{Keys, hex4};
use super::marks;
use super::members::{Field, Members};
use super::{Flaw, MAX_DEPTH, Object};

/// A line being scanned.
pub(super) struct Scan<'a> {
    line: &'a [u8],
    marks: &'a [u64],
    keys: &'a mut Keys,
    /// Whether an object has a duplicate key.
    has_duplicates: bool,
    /// Whether there is a number that engines can't read.
    has_large_number: bool,
    members: Members,
}

impl<'a> Scan<'a> {
    pub(super) fn new(line: &'a [u8], marks: &'a [u64], keys: &'a mut Keys) -> Self {
        Self { line, marks, keys, has_duplicates: false, has_large_number: false, members: Members::default() }
    }

    /// Checks the whole line.
    pub(super) fn line(mut self) -> Result<Object, Flaw> {
        let start = self.space(0);
        let is_object = self.byte(start) == b'{';
        let end = if is_object { self.object::<true>(start, 0)? } else { self.value(start, 0)? };
        if self.space(end) != self.line.len() {
            return Err(Flaw::NotJson);
        }
        if !is_object {
            return Err(Flaw::NotObject);
        }
        if self.has_duplicates {
            return Err(Flaw::DuplicateKey);
        }
        if self.members.is_refused_seen {
            return Err(Flaw::RefusedKey);
        }
        if self.has_large_number {
            return Err(Flaw::LargeNumber);
        }
        let is_empty = self.space(start + 1) == end - 1;
        let (time, is_record) = (self.members.own_time(), self.members.are_all_met());
        Ok(Object { closing_brace: end - 1, is_empty, time, is_record })
    }

    /// An object at `at`, inside `depth` others; `TOP` for the whole line.
    #[inline(always)]
    fn object<const TOP: bool>(&mut self, at: usize, depth: usize) -> Result<usize, Flaw> {
        if depth >= MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        let mut at = self.space(at + 1);
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        let mut frame = self.keys.begin();
        loop {
            if self.byte(at) != b'"' {
                return Err(Flaw::NotJson);
            }
            let mut end = marks::next(self.marks, at + 1);
            let (key, field);
            if self.byte(end) == b'"' {
                key = Keys::plain(self.line, at + 1, end);
                field = if TOP { Field::from_key(key.head, &self.line[at + 1..end]) } else { None };
            } else {
                end = self.string_with_escapes(end)?;
                key = self.keys.escaped(&self.line[at + 1..end]);
                field = if TOP { Field::from_key(key.head, self.keys.text(self.line, key)) } else { None };
            }
            self.has_duplicates |= !self.keys.add(&mut frame, self.line, key);
            at = end + 1;
            if self.byte(at) != b':' {
                at = self.spaces(at);
                if self.byte(at) != b':' {
                    return Err(Flaw::NotJson);
                }
            }
            at = self.space(at + 1);
            end = self.value(at, depth + 1)?;
            if let Some(field) = field {
                self.members.note(field, &self.line[at..end]);
            }
            at = self.next_or_end(end, b'}')?;
            if self.byte(at) == b'}' {
                break;
            }
            at = self.space(at + 1);
        }
        self.keys.end(frame);
        Ok(at + 1)
    }

    /// A value at `at`.
    #[inline(always)]
    fn value(&mut self, at: usize, depth: usize) -> Result<usize, Flaw> {
        match self.byte(at) {
            b'"' => self.string(at + 1),
            b'-' | b'0'..=b'9' => self.number(at),
            b'n' => self.word(at, b"null"),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'{' | b'[' => self.nested(at, depth),
            _ => Err(Flaw::NotJson),
        }
    }

    #[inline(never)]
    fn nested(&mut self, at: usize, depth: usize) -> Result<usize, Flaw> {
        if self.byte(at) == b'{' { self.object::<false>(at, depth) } else { self.array(at, depth) }
    }

    #[inline(always)]
    fn array(&mut self, at: usize, depth: usize) -> Result<usize, Flaw> {
        if depth >= MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        let mut at = self.space(at + 1);
        if self.byte(at) == b']' {
            return Ok(at + 1);
        }
        loop {
            let end = self.value(at, depth + 1)?;
            at = self.next_or_end(end, b']')?;
            if self.byte(at) == b']' {
                return Ok(at + 1);
            }
            at = self.space(at + 1);
        }
    }

    /// Offset of the comma after a value, or of the `end` of its container.
    #[inline(always)]
    fn next_or_end(&self, at: usize, end: u8) -> Result<usize, Flaw> {
        if self.byte(at) == b',' {
            return Ok(at);
        }
        let at = self.spaces(at);
        if self.byte(at) == b',' || self.byte(at) == end { Ok(at) } else { Err(Flaw::NotJson) }
    }

    /// A string whose text starts at `start`.
    #[inline(always)]
    fn string(&self, start: usize) -> Result<usize, Flaw> {
        let end = marks::next(self.marks, start);
        if self.byte(end) == b'"' { Ok(end + 1) } else { self.string_with_escapes(end).map(|end| end + 1) }
    }

    /// Offset of the closing quote of a string with a possible escape at `at`.
    #[inline(never)]
    fn string_with_escapes(&self, mut at: usize) -> Result<usize, Flaw> {
        loop {
            match self.byte(at) {
                b'"' => return Ok(at),
                b'\\' => at = marks::next(self.marks, self.escape(at)?),
                _ => return Err(Flaw::NotJson),
            }
        }
    }

    fn escape(&self, at: usize) -> Result<usize, Flaw> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => {
                let code = hex4(&self.line[at + 2..]).ok_or(Flaw::NotJson)?;
                if !(0xd800..0xe000).contains(&code) {
                    return Ok(at + 6);
                }
                // A lone surrogate is invalid.
                let low = self.line[at + 6..].strip_prefix(b"\\u").and_then(hex4);
                let pair = code < 0xdc00 && low.is_some_and(|low| (0xdc00..0xe000).contains(&low));
                if pair { Ok(at + 12) } else { Err(Flaw::NotJson) }
            }
            _ => Err(Flaw::NotJson),
        }
    }

    #[inline(always)]
    fn number(&mut self, start: usize) -> Result<usize, Flaw> {
        let mut at = start + usize::from(self.byte(start) == b'-');
        at = if self.byte(at) == b'0' { at + 1 } else { self.digits(at)? };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        let is_scaled = matches!(self.byte(at), b'e' | b'E');
        if is_scaled {
            let signed = matches!(self.byte(at + 1), b'+' | b'-');
            at = self.digits(at + 1 + usize::from(signed))?;
        }
        // A shorter one always fits.
        if at - start > 18 || is_scaled {
            self.note_size(start, at);
        }
        Ok(at)
    }

    #[cold]
    fn note_size(&mut self, start: usize, end: usize) {
        self.has_large_number |= std::str::from_utf8(&self.line[start..end]).is_ok_and(|text| !is_readable(text));
    }

    #[inline(always)]
    fn digits(&self, start: usize) -> Result<usize, Flaw> {
        let mut at = start;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at > start { Ok(at) } else { Err(Flaw::NotJson) }
    }

    #[inline(always)]
    fn word<const LEN: usize>(&self, at: usize, word: &[u8; LEN]) -> Result<usize, Flaw> {
        if self.line[at..].first_chunk::<LEN>() == Some(word) { Ok(at + LEN) } else { Err(Flaw::NotJson) }
    }

    /// Offset of the first byte from `at` on that is not white space; usually `at`.
    #[inline(always)]
    fn space(&self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.spaces(at) }
    }

    #[inline(never)]
    fn spaces(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.line.get(at).copied().unwrap_or(0)
    }
}

/// Whether engines can read a number: an integer has at most 64 bits, any other is within the range of a double.
pub(super) fn is_readable(number: &str) -> bool {
    if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return number.parse::<i64>().is_ok();
    }
    number.parse::<f64>().is_ok_and(f64::is_finite)
}
