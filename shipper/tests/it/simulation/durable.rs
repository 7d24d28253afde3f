//! What must survive a power loss.

use std::collections::HashSet;
use std::path::Path;

use shipper::completed::{self, Note};
use shipper::journal;

use super::STATE;
use super::disk::{Crash, SimDisk};

/// Asserts that a process that ended normally left nothing for a power loss to remove: the journal and the records of
/// completed generations are the same after one.
pub(super) fn judge_end(disk: &SimDisk) {
    let read = || {
        let state = Path::new(STATE);
        (journal::entries(disk, state).unwrap(), completed::read(disk, state).unwrap().notes)
    };
    let (entries, notes) = read();
    disk.crash(Crash::PowerLoss);
    let (entries_after, notes_after) = read();
    assert_eq!(entries_after, entries, "the journal that was closed lost something");
    // A record whose sync failed is written again, and the first one may be lost.
    let lost: Vec<_> = notes.iter().filter(|note| !notes_after.contains(note)).collect();
    assert!(lost.is_empty(), "lost of the notes of what is done: {lost:#?}");
}

/// Asserts that each segment that was removed complete has a record of its end.
pub(super) fn judge_removed(disk: &SimDisk) {
    let state = Path::new(STATE);
    let ended: HashSet<_> = completed::read(disk, state).unwrap().notes.iter().filter_map(Note::ended).collect();
    let entries = journal::entries(disk, state).unwrap_or_default();
    for segment in disk.segments() {
        let is_removed = !segment.is_there && !segment.is_gone && !segment.bytes.is_empty();
        let is_known = ended.contains(&segment.generation) || entries.contains_key(&segment.generation);
        assert!(!is_removed || is_known, "{} was removed without a note", segment.generation);
    }
}
