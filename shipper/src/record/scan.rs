//! One pass over a line, by the grammar of RFC 8259.

use std::ops::Range;

use super::keys::Keys;
use super::{Flaw, MAX_DEPTH, Members, Object, RESERVED_KEY, Value};

/// Every byte of a word.
const ONES: u64 = u64::MAX / 255;
/// The high bit of every byte of a word.
const HIGHS: u64 = ONES << 7;

/// A place in a line.
pub(super) struct Scan<'a> {
    line: &'a [u8],
    at: usize,
    keys: &'a mut Keys,
    /// A byte outside ASCII was seen.
    beyond_ascii: bool,
}

/// A string's text between its quotes.
struct Text {
    range: Range<usize>,
    escaped: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(line: &'a [u8], keys: &'a mut Keys) -> Self {
        Self { line, at: 0, keys, beyond_ascii: false }
    }

    /// Checks the whole line.
    pub(super) fn line(mut self) -> Result<Object, Flaw> {
        let checked = self.top();
        // A line that is not UTF-8 is that before it is anything else.
        let text = if checked.is_err() || self.beyond_ascii { std::str::from_utf8(self.line).err() } else { None };
        if text.is_some() { Err(Flaw::NotUtf8) } else { checked }
    }

    fn top(&mut self) -> Result<Object, Flaw> {
        self.space();
        if self.peek() != Some(b'{') {
            self.value(0)?;
            self.space();
            return Err(if self.at == self.line.len() { Flaw::NotObject } else { Flaw::NotJson });
        }
        self.at += 1;
        let frame = self.keys.begin();
        let mut members = Members::default();
        let mut reserved = false;
        let is_empty = !self.members(|scan, key| {
            if !scan.keys.add(frame, scan.line, key.range.clone(), key.escaped) {
                return Err(Flaw::DuplicateKey);
            }
            let plain: &[u8] = &scan.line[key.range];
            reserved |= if key.escaped { scan.keys.last_decoded() } else { plain } == RESERVED_KEY.as_bytes();
            if key.escaped {
                return scan.value(1).map(drop);
            }
            let value = scan.value(1)?;
            members.note(plain, value);
            Ok(())
        })?;
        let closing_brace = self.at - 1;
        self.space();
        if self.at != self.line.len() {
            return Err(Flaw::NotJson);
        }
        if reserved {
            return Err(Flaw::ReservedKey);
        }
        let time = members.timestamp.or(members.at_timestamp).or(members.time);
        Ok(Object { closing_brace, is_empty, time, is_record: members.seen == Members::ALL })
    }

    /// Goes through an object's members, from after its opening to after its closing brace; false if it has none.
    fn members(&mut self, mut member: impl FnMut(&mut Self, Text) -> Result<(), Flaw>) -> Result<bool, Flaw> {
        self.space();
        if self.skip(b'}') {
            return Ok(false);
        }
        loop {
            self.space();
            if !self.skip(b'"') {
                return Err(Flaw::NotJson);
            }
            let key = self.string()?;
            self.space();
            if !self.skip(b':') {
                return Err(Flaw::NotJson);
            }
            member(self, key)?;
            self.space();
            if self.skip(b'}') {
                return Ok(true);
            }
            if !self.skip(b',') {
                return Err(Flaw::NotJson);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Flaw> {
        self.space();
        match self.peek().ok_or(Flaw::NotJson)? {
            b'"' => {
                self.at += 1;
                let text = self.string()?;
                Ok(Value::Text(&self.line[text.range]))
            }
            b'{' => self.object(depth).map(|()| Value::Other),
            b'[' => self.array(depth).map(|()| Value::Other),
            b'n' => self.word(b"null").map(|()| Value::Null),
            b't' => self.word(b"true").map(|()| Value::Other),
            b'f' => self.word(b"false").map(|()| Value::Other),
            _ => self.number().map(|()| Value::Other),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Flaw> {
        if depth >= MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        self.at += 1;
        let frame = self.keys.begin();
        self.members(|scan, key| {
            if !scan.keys.add(frame, scan.line, key.range, key.escaped) {
                return Err(Flaw::DuplicateKey);
            }
            scan.value(depth + 1).map(drop)
        })?;
        self.keys.end(frame);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Flaw> {
        if depth >= MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        self.at += 1;
        self.space();
        if self.skip(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.skip(b']') {
                return Ok(());
            }
            if !self.skip(b',') {
                return Err(Flaw::NotJson);
            }
        }
    }

    /// From after a string's opening quote to after its closing one.
    fn string(&mut self) -> Result<Text, Flaw> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.plain();
            match self.peek().ok_or(Flaw::NotJson)? {
                b'"' => {
                    self.at += 1;
                    return Ok(Text { range: start..self.at - 1, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(Flaw::NotJson),
            }
        }
    }

    /// Skips to the next quote, backslash or control character, eight bytes at a time.
    fn plain(&mut self) {
        while let Some(chunk) = self.line[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            self.beyond_ascii |= word & HIGHS != 0;
            let stops = zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | below_space(word);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < b' ' {
                return;
            }
            self.beyond_ascii |= byte >= 0x80;
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        let rest = &self.line[self.at..];
        match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let code = hex4(&rest[2..]).ok_or(Flaw::NotJson)?;
                self.at += 6;
                if !(0xd800..0xe000).contains(&code) {
                    return Ok(());
                }
                // Half of a pair means nothing by itself.
                let low = rest.get(6..8).filter(|escape| escape == b"\\u").and_then(|_| hex4(&rest[8..]));
                self.at += 6;
                let pair = code < 0xdc00 && low.is_some_and(|low| (0xdc00..0xe000).contains(&low));
                if pair { Ok(()) } else { Err(Flaw::NotJson) }
            }
            _ => Err(Flaw::NotJson),
        }
    }

    fn number(&mut self) -> Result<(), Flaw> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Flaw::NotJson) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Flaw> {
        if !self.line[self.at..].starts_with(word) {
            return Err(Flaw::NotJson);
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }
}

/// A word of eight times this byte.
const fn each(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The high bit of the lowest byte of `word` that is zero, and perhaps of bytes above it
/// (Sean Eron Anderson, "Bit Twiddling Hacks").
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The high bit of the lowest byte of `word` that is below a space, and perhaps of bytes above it.
const fn below_space(word: u64) -> u64 {
    word.wrapping_sub(each(b' ')) & !word & HIGHS
}

/// The value of four hexadecimal digits.
pub(super) fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
