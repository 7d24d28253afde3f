//! What must still be known after a power loss.

use std::collections::HashSet;
use std::path::Path;

use shipper::completed::{self, Note};
use shipper::journal;

use super::STATE;
use super::disk::{Crash, SimDisk};

/// That a process which ended by itself left nothing that a power loss could take: the journal and the notes of what is
/// done are the same after one.
pub(super) fn judge_end(disk: &SimDisk) {
    let read = || {
        let state = Path::new(STATE);
        (journal::entries(disk, state).unwrap(), completed::read(disk, state).unwrap().notes)
    };
    let (entries, notes) = read();
    disk.crash(Crash::PowerLoss);
    let (entries_after, notes_after) = read();
    assert_eq!(entries_after, entries, "the journal that was closed lost something");
    // A note whose sync failed is written again, and the first writing may go.
    let lost: Vec<_> = notes.iter().filter(|note| !notes_after.contains(note)).collect();
    assert!(lost.is_empty(), "lost of the notes of what is done: {lost:#?}");
}

/// That of each segment that was removed, since all of it was disposed of, something tells how far it went.
pub(super) fn judge_removed(disk: &SimDisk) {
    let state = Path::new(STATE);
    let ended: HashSet<_> = completed::read(disk, state).unwrap().notes.iter().filter_map(Note::ended).collect();
    let entries = journal::entries(disk, state).unwrap_or_default();
    for segment in disk.segments() {
        let is_removed = !segment.is_there && !segment.is_gone && !segment.bytes.is_empty();
        let is_known = ended.contains(&segment.generation) || entries.contains_key(&segment.generation);
        assert!(!is_removed || is_known, "{} was removed, and nothing tells of it", segment.generation);
    }
}
