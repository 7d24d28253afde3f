//! What the contract (`contracts/log-record.schema.json`) says of a record's own fields, and a line's own time.

use store::Timestamp;

use super::keys::{decode, head};

/// How long a service's name or an id may be, in characters.
const NAME_MAX_CHARS: usize = 128;

/// A text with escapes is looked into up to this length; a longer one is more than [`NAME_MAX_CHARS`].
const ESCAPED_MAX_BYTES: usize = NAME_MAX_CHARS * "\\ud83d\\ude00".len();

/// A key at the top of a line that means something here. The contract's six come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Timestamp,
    Service,
    Level,
    Message,
    RequestId,
    ProjectId,
    AtTimestamp,
    Time,
    /// The [shipper's own](super::RESERVED_KEY), one below it, or [the engines'](ENGINES_OWN).
    Reserved,
}

/// What Elasticsearch or OpenSearch takes for its own at the top of a document, in one of the versions 7 to 9. With an
/// ingest pipeline `_if_seq_no` makes a new line look like one that is stored already, `_routing` that is no text fails
/// the whole request, `_id` is overwritten; without one, most of them are refused; `_doc_count` falsifies every count.
const ENGINES_OWN: [&[u8]; 24] = [
    b"_data_stream_timestamp",
    b"_doc_count",
    b"_dynamic_templates",
    b"_feature",
    b"_field_names",
    b"_id",
    b"_if_primary_term",
    b"_if_seq_no",
    b"_ignored",
    b"_ignored_source",
    b"_index",
    b"_ingest",
    b"_nested_path",
    b"_op_type",
    b"_primary_term",
    b"_routing",
    b"_seq_no",
    b"_size",
    b"_source",
    b"_tier",
    b"_tsid",
    b"_type",
    b"_version",
    b"_version_type",
];

impl Field {
    /// The field of a key, whose first eight bytes are `first`.
    #[inline(always)]
    pub(super) fn of(first: u64, key: &[u8]) -> Option<Self> {
        const TIME: u64 = head(b"time");
        const LEVEL: u64 = head(b"level");
        const ORIGIN: u64 = head(super::RESERVED_KEY.as_bytes());
        const BELOW_ORIGIN: u64 = ORIGIN | (b'.' as u64) << (8 * super::RESERVED_KEY.len());
        const SEVEN_BYTES: u64 = u64::MAX >> 8;
        const SERVICE: u64 = head(b"service");
        const MESSAGE: u64 = head(b"message");
        const TIMESTAM: u64 = head(b"timestamp");
        const REQUEST: u64 = head(b"request_id");
        const PROJECT: u64 = head(b"project_id");
        const AT_TIMES: u64 = head(b"@timestamp");
        match (key.len(), first) {
            (4, TIME) => Some(Self::Time),
            (5, LEVEL) => Some(Self::Level),
            (6, ORIGIN) => Some(Self::Reserved),
            (7, SERVICE) => Some(Self::Service),
            (7, MESSAGE) => Some(Self::Message),
            (9, TIMESTAM) if key[8] == b'p' => Some(Self::Timestamp),
            (10, REQUEST) if key[8..] == *b"id" => Some(Self::RequestId),
            (10, PROJECT) if key[8..] == *b"id" => Some(Self::ProjectId),
            (10, AT_TIMES) if key[8..] == *b"mp" => Some(Self::AtTimestamp),
            _ if first as u8 == b'_' && ENGINES_OWN.contains(&key) => Some(Self::Reserved),
            _ if first & SEVEN_BYTES == BELOW_ORIGIN => Some(Self::Reserved),
            _ => None,
        }
    }
}

/// The fields that a scan has seen as the contract wants them, and the times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members {
    /// A bit for each field that is as the contract wants it.
    met: u8,
    timestamp: Option<Timestamp>,
    at_timestamp: Option<Timestamp>,
    time: Option<Timestamp>,
    /// A reserved key was seen.
    pub(super) is_reserved_seen: bool,
}

impl Members {
    const ALL: u8 = 0b11_1111;

    /// It is a record.
    pub(super) fn are_all_met(&self) -> bool {
        self.met == Self::ALL
    }

    /// The line's own time.
    pub(super) fn own_time(&self) -> Option<Timestamp> {
        self.timestamp.or(self.at_timestamp).or(self.time)
    }

    /// Notes a field with its value as it is written.
    pub(super) fn note(&mut self, field: Field, value: &[u8]) {
        if field == Field::Reserved {
            self.is_reserved_seen = true;
        } else if let [b'"', text @ .., b'"'] = value {
            // What is met as it is written is met as it is meant; only the rest may have to be decoded.
            if !self.note_text(field, text) && text.len() <= ESCAPED_MAX_BYTES && text.contains(&b'\\') {
                let mut decoded = Vec::with_capacity(text.len());
                decode(text, &mut decoded);
                self.note_text(field, &decoded);
            }
        } else if matches!(field, Field::RequestId | Field::ProjectId) && value == b"null" {
            self.meet(field, true);
        }
    }

    /// Notes a text; true if it is what its field wants.
    #[inline(always)]
    fn note_text(&mut self, field: Field, text: &[u8]) -> bool {
        match field {
            Field::Timestamp => {
                self.timestamp = Timestamp::parse(text);
                let met = self.timestamp.is_some() && is_contract_time(text);
                self.meet(field, met);
                self.timestamp.is_some()
            }
            Field::Service => self.meet(field, is_name(text)),
            Field::Level => self.meet(field, matches!(text, b"trace" | b"debug" | b"info" | b"warn" | b"error")),
            Field::Message => self.meet(field, true),
            Field::RequestId | Field::ProjectId => self.meet(field, is_id(text)),
            Field::AtTimestamp => {
                self.at_timestamp = Timestamp::parse(text);
                self.at_timestamp.is_some()
            }
            Field::Time => {
                self.time = Timestamp::parse(text);
                self.time.is_some()
            }
            Field::Reserved => true,
        }
    }

    #[inline(always)]
    fn meet(&mut self, field: Field, met: bool) -> bool {
        self.met |= u8::from(met) << field as u8;
        met
    }
}

/// Whether an RFC 3339 time is written in UTC, with `T`, `Z` and milliseconds to nanoseconds.
fn is_contract_time(text: &[u8]) -> bool {
    (24..=30).contains(&text.len()) && text[10] == b'T' && text[19] == b'.' && text.ends_with(b"Z")
}

fn is_name(text: &[u8]) -> bool {
    // As it is written no text has fewer characters than it means, so what is short enough stays so.
    let chars = || text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    !text.is_empty() && (text.len() <= NAME_MAX_CHARS || text.len() <= 4 * NAME_MAX_CHARS && chars() <= NAME_MAX_CHARS)
}

fn is_id(text: &[u8]) -> bool {
    let all_fit = || text.iter().fold(1, |fit, byte| fit & ID_BYTES[usize::from(*byte)]) == 1;
    (1..=NAME_MAX_CHARS).contains(&text.len()) && all_fit()
}

/// One for the bytes that an id is made of: `A-Z a-z 0-9 . _ - : / + =`.
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
