//! One line of the journal: what it says, and how it stands on the disk. What the lines add up to is the
//! [entry](super::entry)'s.

use serde::{Deserialize, Serialize};
use store::GenerationId;

use super::entry::FileIdentity;
use super::trail::Tail;

/// The version of the state directory that this program writes.
pub const VERSION: u32 = 2;

/// A longer record is a torn one.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// One record; a generation's state is what its records add up to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// The first one.
    Journal { version: u32 },
    /// A life of a file begins, or is known by another name or longer fingerprint.
    File { generation: GenerationId, identity: FileIdentity },
    /// Bytes from `offset` on arrived at `unix_ms`.
    Mark { generation: GenerationId, offset: u64, unix_ms: i64 },
    /// No line that begins at or after `offset` was handed on: the process before this ended in order.
    Horizon { generation: GenerationId, offset: u64 },
    /// Every line before `offset` has its outcome. `tail` is the fingerprint of a file's bytes right before.
    Checkpoint {
        generation: GenerationId,
        offset: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tail: Option<Tail>,
    },
    /// The machine has run since its start as `id`.
    Boot { id: String },
    /// A file was read up to `tail`, and not all lines before have their outcome.
    Read { generation: GenerationId, tail: Tail },
    /// Files were last looked at then, in nanoseconds since the Unix epoch.
    Looked { unix_ns: i64 },
    /// Nothing of it is left to do.
    Retired { generation: GenerationId },
}

impl Record {
    /// Appends the record as a line.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        // A record has no map with keys that are not text, the one thing that can't be written as JSON.
        let json = serde_json::to_string(self).unwrap_or_default();
        bytes.extend_from_slice(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes());
    }

    /// The record of a line without its newline; `None` for one that is torn.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        if line.len() > MAX_RECORD_BYTES || line.get(8) != Some(&b' ') {
            return None;
        }
        let (sum, json) = (std::str::from_utf8(&line[..8]).ok()?, &line[9..]);
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(json) {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}
