//! Accounts for every line: the only place that counts them.
//!
//! A line is *read* when it is accepted (its newline was appended to the spool, or it was read from a file). It is then
//! *pending* until it has one final outcome: *stored*, *already stored*, *dead-lettered* or *dropped*. So
//!
//! `read = stored + already_stored + dead_lettered + dropped + pending`
//!
//! holds in every [`Counts`]. `pending` is the sum over the generations and not the result of a subtraction, so the
//! equation can fail; [`Counts::is_balanced`] checks it. The counts are those of one process: lines that are pending in
//! the spool at startup count as read.
//!
//! The checkpoint of a generation follows from its account. Lines are dispatched in ranges, and the checkpoint passes a
//! range when its last line has its outcome and all previous ranges have been passed.

use std::collections::{BTreeMap, VecDeque};

use store::{GenerationId, LineId};

use crate::sync::{Rank, Ranked};

/// The final outcome of a line, except for dropped ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored by this process.
    Stored,
    /// Already in the store.
    AlreadyStored,
    /// Written to the dead letters with its reason.
    DeadLettered,
}

/// A snapshot of the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines accepted, including those pending at startup.
    pub read: u64,
    /// Lines stored by this process.
    pub stored: u64,
    /// Lines that the store already had.
    pub already_stored: u64,
    /// Lines written to the dead letters.
    pub dead_lettered: u64,
    /// Lines dropped by `on_full = "drop_oldest"`.
    pub dropped: u64,
    /// Lines without an outcome.
    pub pending: u64,
    /// Bytes of the lines read.
    pub read_bytes: u64,
    /// Size of the spool segments on disk.
    pub spool_bytes: u64,
}

impl Counts {
    /// Whether the accounting equation holds.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.read == self.stored + self.already_stored + self.dead_lettered + self.dropped + self.pending
    }
}

/// Lines dispatched together: those that start in `start..end`.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
    /// Number of lines without an outcome.
    open: u64,
}

/// The account of a generation.
#[derive(Debug, Default)]
struct Account {
    /// Lines of a segment that were accepted but not dispatched. Always 0 for files.
    undispatched: u64,
    /// Dispatched ranges after the checkpoint, in order and without gaps.
    ranges: VecDeque<Range>,
    checkpoint: u64,
    /// End of the readable data, which is what was appended to a segment.
    end: u64,
    /// Whether nothing more will be appended.
    sealed: bool,
    /// Whether any of its lines was dispatched.
    dispatched: bool,
}

/// The accounts of all generations.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<GenerationId, Account>,
    counts: Counts,
}

/// The progress of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Every line before this offset has its outcome.
    pub checkpoint: u64,
    /// End of the readable data.
    pub end: u64,
    /// Whether nothing will be appended after `end`.
    pub sealed: bool,
    /// Whether any of its lines was dispatched.
    pub dispatched: bool,
}

impl Progress {
    /// Whether the generation is completed: it has no pending lines, and will get no more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.sealed && self.checkpoint >= self.end
    }
}

impl Ranked for Ledger {
    const RANK: Rank = Rank::Ledger;
}

impl Ledger {
    /// Opens the account of a generation whose lines before `checkpoint` have their outcomes. For a segment that exists
    /// at startup, `end` is its length, and `pending` the number of lines from the checkpoint to the end.
    pub fn open(&mut self, generation: GenerationId, checkpoint: u64, end: u64, pending: u64) {
        let account = Account { undispatched: pending, checkpoint, end, ..Account::default() };
        self.counts.read += pending;
        self.counts.read_bytes += end - checkpoint.min(end);
        self.accounts.insert(generation, account);
    }

    /// Records `lines` more lines of a segment, which now ends at `end`.
    pub fn append(&mut self, generation: GenerationId, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        self.counts.read += lines;
        self.counts.read_bytes += end - account.end;
        self.counts.spool_bytes += end - account.end;
        account.undispatched += lines;
        account.end = end;
    }

    /// Records that nothing more will be appended to a segment. `tail_lines` is 1 if its last line has no newline.
    pub fn seal(&mut self, generation: GenerationId, tail_lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        account.sealed = true;
        account.undispatched += tail_lines;
        self.counts.read += tail_lines;
    }

    /// Records that `lines` lines of a segment from `start` to `end` were dispatched.
    pub fn dispatch(&mut self, generation: GenerationId, start: u64, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        account.undispatched -= lines.min(account.undispatched);
        account.dispatched = true;
        account.push_range(Range { start, end, open: lines });
    }

    /// Records that `lines` lines of a file from `start` to `end` were read and dispatched.
    pub fn read(&mut self, generation: GenerationId, start: u64, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        self.counts.read += lines;
        self.counts.read_bytes += end - start;
        account.end = end;
        account.dispatched = true;
        account.push_range(Range { start, end, open: lines });
    }

    /// Records the outcomes of lines. Lines in order are processed in batches.
    pub fn settle(&mut self, lines: impl IntoIterator<Item = (LineId, Outcome)>) {
        let mut lines = lines.into_iter().peekable();
        while let Some(&(first, _)) = lines.peek() {
            let Some(account) = self.accounts.get_mut(&first.generation) else {
                lines.next();
                continue;
            };
            let after = account.ranges.partition_point(|range| range.start <= first.offset);
            let Some(index) = after.checked_sub(1) else {
                lines.next();
                continue;
            };
            let range = &mut account.ranges[index];
            let within =
                |id: &LineId| id.generation == first.generation && (range.start..range.end).contains(&id.offset);
            let mut settled = 0;
            while let Some((_, fate)) = lines.next_if(|(id, _)| within(id)) {
                settled += 1;
                match fate {
                    Outcome::Stored => self.counts.stored += 1,
                    Outcome::AlreadyStored => self.counts.already_stored += 1,
                    Outcome::DeadLettered => self.counts.dead_lettered += 1,
                }
            }
            if settled == 0 {
                // Not a dispatched line; counting it would break the balance.
                lines.next();
                continue;
            }
            range.open = range.open.saturating_sub(settled);
            account.settle(index);
        }
    }

    /// Drops the lines of a sealed segment that were not dispatched, and returns their number.
    pub fn drop_undispatched(&mut self, generation: GenerationId) -> u64 {
        let Some(account) = self.accounts.get_mut(&generation) else { return 0 };
        let dropped = std::mem::take(&mut account.undispatched);
        self.counts.dropped += dropped;
        let start = account.ranges.back().map_or(account.checkpoint, |range| range.end);
        account.push_range(Range { start, end: account.end, open: 0 });
        dropped
    }

    /// Records lines of a stream that were dropped on arrival.
    pub fn drop_on_arrival(&mut self, bytes: u64, lines: u64) {
        self.counts.read += lines;
        self.counts.read_bytes += bytes;
        self.counts.dropped += lines;
    }

    /// The progress of a generation.
    #[must_use]
    pub fn progress(&self, generation: &GenerationId) -> Option<Progress> {
        let account = self.accounts.get(generation)?;
        Some(account.progress())
    }

    /// The generations, in order of creation.
    pub fn generations(&self) -> impl Iterator<Item = (GenerationId, Progress)> + '_ {
        self.accounts.iter().map(|(generation, account)| (*generation, account.progress()))
    }

    /// Closes the account of a completed generation.
    pub fn close(&mut self, generation: &GenerationId) {
        self.accounts.remove(generation);
    }

    /// Adds to the size of the spool, in addition to [`Ledger::append`].
    pub fn add_spool_bytes(&mut self, bytes: u64) {
        self.counts.spool_bytes += bytes;
    }

    /// Records that a segment of this length was removed.
    pub fn remove_spool_bytes(&mut self, bytes: u64) {
        self.counts.spool_bytes -= bytes.min(self.counts.spool_bytes);
    }

    /// Size of the spool segments on disk. Cheaper than a snapshot.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.counts.spool_bytes
    }

    /// A snapshot of the counts.
    #[must_use]
    pub fn snapshot(&self) -> Counts {
        let pending = self.accounts.values().map(Account::pending).sum();
        Counts { pending, ..self.counts }
    }

    /// The number of pending lines per generation.
    pub fn pending(&self) -> impl Iterator<Item = (GenerationId, u64)> + '_ {
        self.accounts.iter().map(|(generation, account)| (*generation, account.pending()))
    }

    /// The generations with pending lines, each with its checkpoint.
    #[must_use]
    pub fn pending_checkpoints(&self) -> Vec<LineId> {
        let waits = |(_, account): &(&GenerationId, &Account)| account.pending() > 0;
        let from = |(generation, account): (&GenerationId, &Account)| LineId {
            generation: *generation,
            offset: account.checkpoint,
        };
        self.accounts.iter().filter(waits).map(from).collect()
    }
}

impl Account {
    fn progress(&self) -> Progress {
        Progress { checkpoint: self.checkpoint, end: self.end, sealed: self.sealed, dispatched: self.dispatched }
    }

    /// The number of lines without an outcome.
    fn pending(&self) -> u64 {
        self.undispatched + self.ranges.iter().map(|range| range.open).sum::<u64>()
    }

    /// Appends a range.
    fn push_range(&mut self, range: Range) {
        self.ranges.push_back(range);
        self.settle(self.ranges.len() - 1);
    }

    /// Records outcomes of one line of the range at `index`. A completed range advances the checkpoint, or is merged
    /// with completed neighbours. Behind a line that is pending for long there are thus only ranges with pending lines,
    /// and one between each two.
    fn settle(&mut self, index: usize) {
        let is_done = |range: &Range| range.open == 0;
        if !self.ranges.get(index).is_some_and(is_done) {
            return;
        }
        if self.ranges.get(index + 1).is_some_and(is_done) {
            self.join(index);
        }
        if index > 0 && is_done(&self.ranges[index - 1]) {
            self.join(index - 1);
        }
        if let Some(first) = self.ranges.front().filter(|first| is_done(first)) {
            self.checkpoint = first.end;
            self.ranges.pop_front();
        }
    }

    /// Merges the range at `index` with the next one.
    fn join(&mut self, index: usize) {
        if let Some(next) = self.ranges.remove(index + 1) {
            self.ranges[index].end = next.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation() -> GenerationId {
        GenerationId::new(1, &[0; 10])
    }

    fn at(offset: u64, fate: Outcome) -> (LineId, Outcome) {
        (LineId { generation: generation(), offset }, fate)
    }

    #[test]
    fn the_checkpoint_stops_at_the_first_pending_line() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.append(generation(), 40, 4);
        ledger.dispatch(generation(), 0, 20, 2);
        ledger.dispatch(generation(), 20, 40, 2);
        ledger.settle([at(20, Outcome::Stored), at(30, Outcome::AlreadyStored), at(0, Outcome::DeadLettered)]);
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 0);
        assert!(ledger.snapshot().is_balanced());
        assert_eq!(ledger.snapshot().pending, 1);
        ledger.settle([at(10, Outcome::Stored)]);
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 40);
        assert_eq!(ledger.snapshot().pending, 0);
        assert!(ledger.snapshot().is_balanced());
    }

    #[test]
    fn dropped_lines_are_counted_and_dispatched_ones_are_kept() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.append(generation(), 35, 3);
        ledger.seal(generation(), 1);
        ledger.dispatch(generation(), 0, 10, 1);
        assert_eq!(ledger.drop_undispatched(generation()), 3);
        assert!(ledger.snapshot().is_balanced());
        ledger.settle([at(0, Outcome::Stored)]);
        let counts = ledger.snapshot();
        assert_eq!((counts.read, counts.stored, counts.dropped, counts.pending), (4, 1, 3, 0));
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 35);
    }

    #[test]
    fn completed_ranges_behind_a_pending_line_are_merged() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        for start in 0..1_000 {
            ledger.read(generation(), start * 10, start * 10 + 10, 1);
        }
        // An order that merges with the previous range, the next one, and both.
        let done = (1..1_000).map(|n| n * 377 % 1_000);
        ledger.settle(done.filter(|n| *n != 0).map(|n| at(n * 10, Outcome::Stored)));
        assert_eq!(ledger.accounts[&generation()].ranges.len(), 2);
        assert_eq!(ledger.snapshot().pending, 1);
        ledger.settle([at(0, Outcome::Stored)]);
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 10_000);
        assert!(ledger.accounts[&generation()].ranges.is_empty() && ledger.snapshot().is_balanced());
    }

    #[test]
    fn an_outcome_of_a_line_that_was_not_dispatched_is_ignored() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.settle([at(0, Outcome::Stored)]);
        assert_eq!(ledger.snapshot(), Counts::default());
    }

    #[test]
    fn bytes_are_counted_once() {
        let mut ledger = Ledger::default();
        // The previous process read the lines before the checkpoint.
        ledger.open(generation(), 10, 25, 2);
        assert_eq!(ledger.snapshot().read_bytes, 15);
        ledger.open(GenerationId::new(2, &[0; 10]), 30, 25, 0);
        assert_eq!(ledger.snapshot().read_bytes, 15);
        ledger.drop_on_arrival(7, 1);
        assert_eq!(ledger.snapshot().read_bytes, 22);
    }
}
