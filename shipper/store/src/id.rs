//! A line's identity: its source generation and its byte offset there.
//!
//! A generation is one life of one file, or one spool segment. Its name is a UUID v7, so generations sort by creation
//! time. A line's document id is `<generation>-<offset>`: 32 lower-case hexadecimal digits, a hyphen and the offset as
//! 12 hexadecimal digits. Within a generation, ids therefore grow both in time and in text order, which makes an
//! engine's id look-up fastest. The largest offset is [`MAX_OFFSET`].

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The largest offset that fits a document id: 2^48 - 1, or 256 TiB in one generation.
pub const MAX_OFFSET: u64 = (1 << 48) - 1;

/// Length of a document id in bytes.
pub const ID_LENGTH: usize = 32 + 1 + 12;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A source generation: one life of one file, or one spool segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId([u8; 32]);

impl GenerationId {
    /// Creates the id of a generation created at `unix_ms`, in milliseconds since the Unix epoch. The caller supplies
    /// time and randomness.
    #[must_use]
    pub fn new(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self::from(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// Returns its creation time in milliseconds since the Unix epoch, as stored in the UUID v7.
    #[must_use]
    pub fn created_unix_ms(&self) -> u64 {
        // The first 48 bits of a UUID v7 are its milliseconds (RFC 9562, section 5.7).
        self.0[..12].iter().fold(0, |ms, digit| ms << 4 | u64::from(nibble(*digit)))
    }

    /// Returns the 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<Uuid> for GenerationId {
    fn from(uuid: Uuid) -> Self {
        let mut text = [0; 32];
        uuid.simple().encode_lower(&mut text);
        Self(text)
    }
}

/// The text is not a generation id: 32 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid generation: expected 32 hexadecimal digits")]
pub struct ParseGenerationError;

impl FromStr for GenerationId {
    type Err = ParseGenerationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 {
            return Err(ParseGenerationError);
        }
        Uuid::try_parse(text).map(Self::from).map_err(|_| ParseGenerationError)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GenerationId({self})")
    }
}

impl serde::Serialize for GenerationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for GenerationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Identity of one line. It stays the same when the line is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// The file's generation or the spool segment that contains the line.
    pub generation: GenerationId,
    /// Offset of the line's first byte in it, at most [`MAX_OFFSET`].
    pub offset: u64,
}

impl LineId {
    /// Returns the bytes of the document id.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ID_LENGTH] {
        let mut id = [b'-'; ID_LENGTH];
        id[..32].copy_from_slice(&self.generation.0);
        for (index, byte) in id[33..].iter_mut().enumerate() {
            *byte = HEX[(self.offset >> (44 - 4 * index) & 0xf) as usize];
        }
        id
    }
}

/// The text is not a document id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid line id: expected 32 hexadecimal digits, a hyphen and 12 more")]
pub struct ParseLineIdError;

impl FromStr for LineId {
    type Err = ParseLineIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (generation, offset) = text.split_once('-').ok_or(ParseLineIdError)?;
        let is_offset = offset.len() == 12 && offset.bytes().all(|digit| digit.is_ascii_hexdigit());
        let offset = u64::from_str_radix(offset, 16).ok().filter(|_| is_offset).ok_or(ParseLineIdError)?;
        Ok(Self { generation: generation.parse().map_err(|_| ParseLineIdError)?, offset })
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{:012x}", self.generation, self.offset)
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_time_and_offset() {
        let early = GenerationId::new(1_700_000_000_000, &[0xff; 10]);
        let late = GenerationId::new(1_700_000_000_001, &[0; 10]);
        assert!(early < late);
        assert_eq!(early.created_unix_ms(), 1_700_000_000_000);
        let at = |generation, offset| LineId { generation, offset }.to_bytes();
        assert!(
            at(early, 9) < at(early, 10) && at(early, 0xfff) < at(early, 0x1000) && at(early, MAX_OFFSET) < at(late, 0)
        );
    }

    #[test]
    fn an_id_round_trips_through_its_text() {
        let id = LineId { generation: GenerationId::new(1, &[7; 10]), offset: 0xabc };
        assert_eq!(id.to_string().as_bytes(), id.to_bytes());
        assert_eq!(id.generation.to_string().parse(), Ok(id.generation));
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "xyz", &id.to_string()[..44], &format!("{}-+00000000abc", id.generation)] {
            assert_eq!(text.parse::<LineId>(), Err(ParseLineIdError), "{text}");
        }
        assert_eq!("xyz".parse::<GenerationId>(), Err(ParseGenerationError));
    }
}
