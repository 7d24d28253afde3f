//! Asserts that no checkpoint passes a line that is neither a dead letter nor confirmed by the store, whenever one has
//! moved.

use std::collections::{BTreeMap, HashSet};

use shipper::journal::Journal;
use store::{GenerationId, LineId};

use super::disk::SimDisk;
use super::engine::Engine;
use super::oracle::{dead_letters, split};

/// The checkpoints that were checked.
#[derive(Default)]
pub(super) struct Checkpoints {
    judged: BTreeMap<GenerationId, u64>,
}

impl Checkpoints {
    pub(super) fn judge(&mut self, journal: &Journal<SimDisk>, disk: &SimDisk, engine: &Engine) {
        let mut dead = None;
        for (generation, entry) in journal.entries() {
            let judged = self.judged.entry(*generation).or_default();
            if entry.checkpoint <= *judged {
                continue;
            }
            // Files are checked at the end, by the numbers of their lines.
            let Some(part) = disk.segment_part(generation, *judged, entry.checkpoint) else { continue };
            for (offset, _) in split(&part) {
                let id = LineId { generation: *generation, offset: *judged + offset };
                if engine.confirmed.contains(&id) {
                    continue;
                }
                let letters = || dead_letters(disk).into_iter().map(|(id, _)| id).collect();
                let dead: &HashSet<LineId> = dead.get_or_insert_with(letters);
                assert!(dead.contains(&id), "the checkpoint passed {id}, which no store confirmed");
            }
            *judged = entry.checkpoint;
        }
    }
}
