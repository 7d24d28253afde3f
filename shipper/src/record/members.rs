//! The contract's requirements (`contracts/log-record.schema.json`) for a record's fields, and a line's own time.

use store::Timestamp;

use super::keys::{decode, head};
use super::refused;

/// Maximum length of a service name or an id in characters.
const NAME_MAX_CHARS: usize = 128;

/// Maximum length of a text with escapes that is decoded. A longer one exceeds [`NAME_MAX_CHARS`].
const ESCAPED_MAX_BYTES: usize = NAME_MAX_CHARS * "\\ud83d\\ude00".len();

/// A top-level key with a meaning here. The six of the contract come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Timestamp,
    Service,
    Level,
    Message,
    RequestId,
    ProjectId,
    /// Another key of a time, by its [index](store::time_key_index) among them.
    Time(u8),
    /// The object in which engines check keys, as they do at the top.
    Event,
    /// A key that some store [rejects](refused) or reserves.
    Refused,
}

impl Field {
    /// The field of a key whose first eight bytes are `first`.
    #[inline(always)]
    pub(super) fn from_key(first: u64, key: &[u8]) -> Option<Self> {
        const LEVEL: u64 = head(b"level");
        const ORIGIN: u64 = head(super::RESERVED_KEY.as_bytes());
        const BELOW_ORIGIN: u64 = ORIGIN | (b'.' as u64) << (8 * super::RESERVED_KEY.len());
        const SEVEN_BYTES: u64 = u64::MAX >> 8;
        const EVENT: u64 = head(b"event");
        const SERVICE: u64 = head(b"service");
        const MESSAGE: u64 = head(b"message");
        const TIMESTAM: u64 = head(b"timestamp");
        const REQUEST: u64 = head(b"request_id");
        const PROJECT: u64 = head(b"project_id");
        match (key.len(), first) {
            (5, LEVEL) => Some(Self::Level),
            (5, EVENT) => Some(Self::Event),
            (6, ORIGIN) => Some(Self::Refused),
            (7, SERVICE) => Some(Self::Service),
            (7, MESSAGE) => Some(Self::Message),
            (9, TIMESTAM) if key[8] == b'p' => Some(Self::Timestamp),
            (10, REQUEST) if key[8..] == *b"id" => Some(Self::RequestId),
            (10, PROJECT) if key[8..] == *b"id" => Some(Self::ProjectId),
            (length, _) if length < 32 && TIME_LENGTHS >> length & 1 == 1 && TIME_HEADS.contains(&first) => {
                Self::time(key)
            }
            _ if first & SEVEN_BYTES == BELOW_ORIGIN => Some(Self::Refused),
            _ if refused::may_be(first, key) && refused::at_top_level(key).is_some() => Some(Self::Refused),
            _ => None,
        }
    }

    #[inline(never)]
    fn time(key: &[u8]) -> Option<Self> {
        store::time_key_index(key).and_then(|place| u8::try_from(place).ok()).map(Self::Time)
    }

    /// The bit of a contract's field in [`Members::met`].
    const fn bit(self) -> u8 {
        match self {
            Self::Timestamp => 1,
            Self::Service => 2,
            Self::Level => 4,
            Self::Message => 8,
            Self::RequestId => 16,
            Self::ProjectId => 32,
            Self::Time(_) | Self::Event | Self::Refused => 0,
        }
    }
}

/// The first eight bytes of time keys, and bits for their lengths, to rule out most keys quickly.
const TIME_HEADS: [u64; store::TIME_KEYS.len()] = {
    let mut heads = [0; store::TIME_KEYS.len()];
    let mut place = 0;
    while place < heads.len() {
        heads[place] = head(store::TIME_KEYS[place].as_bytes());
        place += 1;
    }
    heads
};
const TIME_LENGTHS: u32 = {
    let (mut lengths, mut place) = (0, 0);
    while place < store::TIME_KEYS.len() {
        lengths |= 1 << store::TIME_KEYS[place].len();
        place += 1;
    }
    lengths
};

/// The contract's fields that a scan has seen, and the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members {
    /// A bit for each field that meets the contract.
    met: u8,
    /// The index of its key among time keys, and the time.
    time: Option<(u8, Timestamp)>,
    /// Whether a key that some store rejects was seen.
    pub(super) is_refused_seen: bool,
}

impl Members {
    const ALL: u8 = 0b11_1111;

    /// Whether it is a record.
    pub(super) fn are_all_met(&self) -> bool {
        self.met == Self::ALL
    }

    /// The line's own time: that of the first of the [time keys](store::TIME_KEYS) with a valid value.
    pub(super) fn own_time(&self) -> Option<Timestamp> {
        self.time.map(|(_, time)| time)
    }

    /// Records a field with its raw value.
    pub(super) fn note(&mut self, field: Field, value: &[u8]) {
        if field == Field::Refused {
            self.is_refused_seen = true;
        } else if field == Field::Event {
            self.is_refused_seen |= refused::is_in_event(value);
        } else if let Field::Time(place) = field {
            self.note_time(place, value);
        } else if let [b'"', text @ .., b'"'] = value {
            // What matches undecoded also matches decoded; only the rest may have to be decoded.
            if !self.note_text(field, text) && text.len() <= ESCAPED_MAX_BYTES && text.contains(&b'\\') {
                let mut decoded = Vec::with_capacity(text.len());
                decode(text, &mut decoded);
                self.note_text(field, &decoded);
            }
            if field == Field::Timestamp && self.met & field.bit() == 0 {
                self.note_time(0, value);
            }
        } else if field == Field::Timestamp {
            self.note_time(0, value);
        } else if matches!(field, Field::RequestId | Field::ProjectId) && value == b"null" {
            self.meet(field, true);
        }
    }

    /// Records the value of a time key, in any notation.
    #[inline(never)]
    fn note_time(&mut self, place: u8, value: &[u8]) {
        // Longer values are not times, even with escapes.
        if value.len() <= ESCAPED_MAX_BYTES && self.time.is_none_or(|(better, _)| place < better) {
            let time = std::str::from_utf8(value).ok().and_then(store::parse_time);
            self.time = time.map(|time| (place, time)).or(self.time);
        }
    }

    /// Records a text; returns whether it meets its field's requirements.
    #[inline(always)]
    fn note_text(&mut self, field: Field, text: &[u8]) -> bool {
        match field {
            Field::Timestamp => {
                let time = if is_contract_time(text) { Timestamp::parse(text) } else { None };
                self.time = time.map(|time| (0, time)).or(self.time);
                self.meet(field, time.is_some())
            }
            Field::Service => self.meet(field, is_name(text)),
            Field::Level => self.meet(field, matches!(text, b"trace" | b"debug" | b"info" | b"warn" | b"error")),
            Field::Message => self.meet(field, true),
            Field::RequestId | Field::ProjectId => self.meet(field, is_id(text)),
            Field::Time(_) | Field::Event | Field::Refused => true,
        }
    }

    #[inline(always)]
    fn meet(&mut self, field: Field, met: bool) -> bool {
        self.met |= if met { field.bit() } else { 0 };
        met
    }
}

/// Whether an RFC 3339 time is in UTC, with `T`, `Z` and three to nine decimals.
fn is_contract_time(text: &[u8]) -> bool {
    (24..=30).contains(&text.len()) && text[10] == b'T' && text[19] == b'.' && text.ends_with(b"Z")
}

fn is_name(text: &[u8]) -> bool {
    // Decoding never increases the number of characters.
    let chars = || text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    !text.is_empty() && (text.len() <= NAME_MAX_CHARS || text.len() <= 4 * NAME_MAX_CHARS && chars() <= NAME_MAX_CHARS)
}

fn is_id(text: &[u8]) -> bool {
    let all_fit = || text.iter().fold(1, |fit, byte| fit & ID_BYTES[usize::from(*byte)]) == 1;
    (1..=NAME_MAX_CHARS).contains(&text.len()) && all_fit()
}

/// One for the bytes allowed in an id: `A-Z a-z 0-9 . _ - : / + =`.
const ID_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let symbol = byte as u8;
        if symbol.is_ascii_alphanumeric() || matches!(symbol, b'.' | b'_' | b'-' | b':' | b'/' | b'+' | b'=') {
            table[byte] = 1;
        }
        byte += 1;
    }
    table
};
