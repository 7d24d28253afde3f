//! The format of a journal record. Its effect on the state is defined in [entry](super::entry).

use serde::{Deserialize, Serialize};
use store::GenerationId;

use super::identity::FileIdentity;
use super::trail::Tail;

/// The version of the state directory that this program writes.
pub const VERSION: u32 = 2;

/// A longer record counts as torn.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// A record. The state of a generation is the sum of its records.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// The first record.
    Journal { version: u32 },
    /// A new generation of a file, or a new path or a longer fingerprint of a known one.
    File { generation: GenerationId, identity: FileIdentity },
    /// Bytes from `offset` on arrived at `unix_ms`.
    Mark { generation: GenerationId, offset: u64, unix_ms: i64 },
    /// No line at or after `offset` was dispatched: the process ended in order.
    Horizon { generation: GenerationId, offset: u64 },
    /// Every line before `offset` has its outcome. `tail` is the fingerprint of the preceding bytes of a file.
    Checkpoint {
        generation: GenerationId,
        offset: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tail: Option<Tail>,
    },
    /// The boot id of the machine.
    Boot { id: String },
    /// A file was read up to `tail`, and lines before it may be pending.
    Read { generation: GenerationId, tail: Tail },
    /// The last file scan, in nanoseconds since the Unix epoch.
    Looked { unix_ns: i64 },
    /// The generation is completed.
    Retired { generation: GenerationId },
}

impl Record {
    /// Appends the record as a line.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        // Can't fail: a record has no maps.
        let json = serde_json::to_string(self).unwrap_or_default();
        bytes.extend_from_slice(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes());
    }

    /// Decodes a line without its newline; `None` if it is invalid.
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
