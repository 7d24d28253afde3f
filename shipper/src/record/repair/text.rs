//! Reads scalar values: strings, numbers and names, and values that are nested too deeply, as strings.

use super::{Irreparable, Read, Repair};
use crate::escape::{escape, write_escape};
use crate::record::change::Change;
use crate::record::keys::hex4;
use crate::record::scan::is_readable;

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

impl Repair<'_> {
    /// Reads a string from its opening quote.
    pub(super) fn string(&mut self) -> Result<Read, Irreparable> {
        self.at += 1;
        self.out.push(b'"');
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.byte() {
                None => {
                    self.at_end()?;
                    self.out.push(b'"');
                    return Ok(Read::Cut);
                }
                Some(b'"') => {
                    self.at += 1;
                    self.out.push(b'"');
                    return Ok(Read::Whole);
                }
                Some(b'\\') => self.escape()?,
                Some(control) => {
                    self.at += 1;
                    write_escape(control, &mut self.out);
                    self.changes.note_at(Change::ControlCharacter, &self.path);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Irreparable> {
        let rest = &self.text[self.at..];
        match rest.get(1) {
            None => return self.drop_rest(),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.out.extend_from_slice(&rest[..2]);
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => match hex4(&rest[2..]) {
                Some(code) => return self.unicode_escape(code),
                None if self.is_cut && rest.len() < 6 => return self.drop_rest(),
                None => {}
            },
            Some(_) => {}
        }
        self.at += 1;
        self.out.extend_from_slice(br"\\");
        self.changes.note_at(Change::InvalidEscape, &self.path);
        Ok(())
    }

    /// Reads `\uXXXX`; a lone surrogate is invalid.
    fn unicode_escape(&mut self, code: u32) -> Result<(), Irreparable> {
        let rest = &self.text[self.at..];
        let is_high = (0xd800..0xdc00).contains(&code);
        let low = rest[6..].strip_prefix(br"\u").and_then(hex4);
        let length = match low {
            Some(0xdc00..0xe000) if is_high => 12,
            _ if (0xd800..0xe000).contains(&code) => {
                let is_prefix = br"\u".starts_with(&rest[6..rest.len().min(8)]);
                if is_high && self.is_cut && rest.len() < 12 && is_prefix {
                    return self.drop_rest();
                }
                self.at += 6;
                self.out.extend_from_slice(REPLACEMENT);
                self.changes.note_at(Change::LoneSurrogate, &self.path);
                return Ok(());
            }
            _ => 6,
        };
        self.out.extend_from_slice(&rest[..length]);
        self.at += length;
        Ok(())
    }

    /// Removes an incomplete value at the cut.
    fn drop_rest(&mut self) -> Result<(), Irreparable> {
        self.at_end()?;
        self.dropped_from = self.dropped_from.min(self.at);
        self.at = self.text.len();
        Ok(())
    }

    /// Reads a number or a name.
    pub(super) fn word(&mut self) -> Result<Read, Irreparable> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let word = std::str::from_utf8(&rest[..length]).map_err(|_| Irreparable)?;
        if length == rest.len() && self.is_cut {
            // The number may have had more digits.
            self.drop_rest()?;
            return Ok(Read::Nothing);
        }
        let change = match word {
            "true" | "false" | "null" => None,
            // Only a number is left.
            _ if serde_json::from_str::<serde::de::IgnoredAny>(word).is_ok() => {
                (!is_readable(word)).then_some(Change::LargeNumber)
            }
            _ if is_not_a_number(word) => Some(Change::NotANumber),
            _ => return Err(Irreparable),
        };
        if let Some(change) = change {
            self.out.push(b'"');
            self.out.extend_from_slice(word.as_bytes());
            self.out.push(b'"');
            self.changes.note_at(change, &self.path);
        } else {
            self.out.extend_from_slice(word.as_bytes());
        }
        self.at += length;
        Ok(Read::Whole)
    }

    /// Reads a value that is nested too deeply, as a string.
    pub(super) fn deep(&mut self) -> Result<Read, Irreparable> {
        let start = self.at;
        let mut depth = 0_usize;
        let mut read = Read::Cut;
        while let Some(byte) = self.byte() {
            self.at += 1;
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => self.pass_string(),
                _ => {}
            }
            if depth == 0 {
                read = Read::Whole;
                break;
            }
        }
        if read == Read::Cut {
            self.at_end()?;
        }
        self.out.push(b'"');
        escape(std::str::from_utf8(&self.text[start..self.at]).map_err(|_| Irreparable)?, &mut self.out);
        self.out.push(b'"');
        self.changes.note_at(Change::TooDeep, &self.path);
        Ok(read)
    }

    /// Skips a string whose opening quote was read.
    fn pass_string(&mut self) {
        while let Some(byte) = self.byte() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
        self.at = self.text.len();
    }
}

/// Whether a word is how JavaScript, Python, Go or C write NaN or an infinity.
fn is_not_a_number(word: &str) -> bool {
    let word = word.strip_prefix(['-', '+']).unwrap_or(word);
    ["nan", "inf", "infinity"].iter().any(|known| word.eq_ignore_ascii_case(known))
}
