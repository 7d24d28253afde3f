//! Where every line is, at every moment: the one set of books of the process.
//!
//! A line is *read* when it is taken (its newline appended to the spool, or read from a file), and then is either
//! *pending* or has one disposition for ever: *stored*, *already stored*, *dead-lettered* or *dropped*. So
//!
//! `read = stored + already_stored + dead_lettered + dropped + pending`
//!
//! holds in every [`Counts`]. `pending` is counted from the generations' own accounts and not by subtraction, so
//! the equation can fail, and [`Counts::is_balanced`] says whether it does. The books are of one process: lines that
//! wait in the spool when it starts begin as read.
//!
//! A generation's checkpoint follows from its account: lines are handed on in ranges, and the checkpoint passes a
//! range when the last of its lines has its disposition and every range before it is passed.

use std::collections::{BTreeMap, VecDeque};

use store::{GenerationId, LineId};

/// What became of a line in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This process put it into the store.
    Stored,
    /// It was in the store before.
    AlreadyStored,
    /// It rests with its reason among the dead letters.
    DeadLettered,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines taken, those that waited at the start among them.
    pub read: u64,
    /// Lines that this process put into the store.
    pub stored: u64,
    /// Lines that were in the store before.
    pub already_stored: u64,
    /// Lines that rest among the dead letters.
    pub dead_lettered: u64,
    /// Lines that `on_full = "drop_oldest"` gave up.
    pub dropped: u64,
    /// Lines that have no disposition yet.
    pub pending: u64,
    /// Bytes of the lines read.
    pub read_bytes: u64,
    /// Bytes of spool segments on disk.
    pub spool_bytes: u64,
}

impl Counts {
    /// Whether the accounting equation holds.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.read == self.stored + self.already_stored + self.dead_lettered + self.dropped + self.pending
    }
}

/// Lines handed on together: those that begin in `start..end`.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
    /// How many of them have no disposition yet.
    open: u64,
}

/// The account of one generation.
#[derive(Debug, Default)]
struct Account {
    /// Lines taken and not yet handed on; of files, none ever.
    untouched: u64,
    /// Handed on, in order, without gaps, from the checkpoint on.
    ranges: VecDeque<Range>,
    checkpoint: u64,
    /// Bytes that can be read: what was appended to a segment.
    end: u64,
    /// Nothing will be appended to it any more.
    sealed: bool,
    /// Some of its lines were handed on.
    touched: bool,
}

/// The books.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<GenerationId, Account>,
    counts: Counts,
}

/// How far a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Every line before it is disposed of.
    pub checkpoint: u64,
    /// The end of what can be read now.
    pub end: u64,
    /// Nothing will be appended after `end`.
    pub sealed: bool,
    /// Some of its lines were handed on.
    pub touched: bool,
}

impl Progress {
    /// Whether nothing of it is left to do, now or later.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.sealed && self.checkpoint >= self.end
    }
}

impl Ledger {
    /// Opens the account of a generation of which the lines before `checkpoint` are disposed of. Of a spool segment
    /// from before the start, `end` is its length and `pending` the lines from the checkpoint to there.
    pub fn open(&mut self, generation: GenerationId, checkpoint: u64, end: u64, pending: u64) {
        let account = Account { untouched: pending, checkpoint, end, ..Account::default() };
        self.counts.read += pending;
        self.counts.read_bytes += end - checkpoint.min(end);
        self.accounts.insert(generation, account);
    }

    /// `lines` more lines stand in a spool segment, which now ends at `end`.
    pub fn take(&mut self, generation: GenerationId, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        self.counts.read += lines;
        self.counts.read_bytes += end - account.end;
        self.counts.spool_bytes += end - account.end;
        account.untouched += lines;
        account.end = end;
    }

    /// Nothing more will be appended to a segment; `tail_lines` is 1 where its last line has no newline.
    pub fn seal(&mut self, generation: GenerationId, tail_lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        account.sealed = true;
        account.untouched += tail_lines;
        self.counts.read += tail_lines;
    }

    /// The `lines` lines from `start` to `end` of a spool segment are handed on.
    pub fn hand(&mut self, generation: GenerationId, start: u64, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        account.untouched -= lines.min(account.untouched);
        account.touched = true;
        account.hand_on(Range { start, end, open: lines });
    }

    /// The `lines` lines from `start` to `end` of a file are read and handed on.
    pub fn read(&mut self, generation: GenerationId, start: u64, end: u64, lines: u64) {
        let Some(account) = self.accounts.get_mut(&generation) else { return };
        self.counts.read += lines;
        self.counts.read_bytes += end - start;
        account.end = end;
        account.touched = true;
        account.hand_on(Range { start, end, open: lines });
    }

    /// Lines get their dispositions. Lines that come in order cost nothing but their count.
    pub fn settle(&mut self, lines: impl IntoIterator<Item = (LineId, Outcome)>) {
        let mut lines = lines.into_iter().peekable();
        while let Some(&(first, _)) = lines.peek() {
            let Some(account) = self.accounts.get_mut(&first.generation) else {
                lines.next();
                continue;
            };
            let after = account.ranges.partition_point(|range| range.start <= first.offset);
            let Some(place) = after.checked_sub(1) else {
                lines.next();
                continue;
            };
            let range = &mut account.ranges[place];
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
                // Not a line that was handed on: counting it would unbalance the books.
                lines.next();
                continue;
            }
            range.open = range.open.saturating_sub(settled);
            account.settle(place);
        }
    }

    /// Gives up what of a sealed segment was not handed on yet, and says how many lines that were.
    pub fn lose(&mut self, generation: GenerationId) -> u64 {
        let Some(account) = self.accounts.get_mut(&generation) else { return 0 };
        let dropped = std::mem::take(&mut account.untouched);
        self.counts.dropped += dropped;
        let start = account.ranges.back().map_or(account.checkpoint, |range| range.end);
        account.hand_on(Range { start, end: account.end, open: 0 });
        dropped
    }

    /// Lines of a stream are given up as they come.
    pub fn give_up(&mut self, bytes: u64, lines: u64) {
        self.counts.read += lines;
        self.counts.read_bytes += bytes;
        self.counts.dropped += lines;
    }

    /// How far a generation is.
    #[must_use]
    pub fn progress(&self, generation: &GenerationId) -> Option<Progress> {
        let account = self.accounts.get(generation)?;
        Some(account.progress())
    }

    /// Generations in the order of their birth.
    pub fn generations(&self) -> impl Iterator<Item = (GenerationId, Progress)> + '_ {
        self.accounts.iter().map(|(generation, account)| (*generation, account.progress()))
    }

    /// Closes the account of a generation of which nothing is left to do.
    pub fn close(&mut self, generation: &GenerationId) {
        self.accounts.remove(generation);
    }

    /// Bytes of spool segments on disk, besides those that [`Ledger::take`] counts.
    pub fn add_spool_bytes(&mut self, bytes: u64) {
        self.counts.spool_bytes += bytes;
    }

    /// A segment of this length is removed.
    pub fn remove_spool_bytes(&mut self, bytes: u64) {
        self.counts.spool_bytes -= bytes.min(self.counts.spool_bytes);
    }

    /// Bytes of spool segments on disk, without the cost of a whole snapshot.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.counts.spool_bytes
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Counts {
        let pending = self.accounts.values().map(Account::pending).sum();
        Counts { pending, ..self.counts }
    }

    /// The lines that wait, by their generation.
    pub fn pending(&self) -> impl Iterator<Item = (GenerationId, u64)> + '_ {
        self.accounts.iter().map(|(generation, account)| (*generation, account.pending()))
    }

    /// The generations of which lines wait, each with its checkpoint.
    #[must_use]
    pub fn pending_from(&self) -> Vec<LineId> {
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
        Progress { checkpoint: self.checkpoint, end: self.end, sealed: self.sealed, touched: self.touched }
    }

    /// Lines that have no disposition yet.
    fn pending(&self) -> u64 {
        self.untouched + self.ranges.iter().map(|range| range.open).sum::<u64>()
    }

    /// A range comes behind the others.
    fn hand_on(&mut self, range: Range) {
        self.ranges.push_back(range);
        self.settle(self.ranges.len() - 1);
    }

    /// Of the range at `place` fewer lines are open. One that is done moves the checkpoint, or is joined with those beside it
    /// that are done too: so behind a line that waits for long there are no more ranges than such with open lines, and
    /// one between each two.
    fn settle(&mut self, place: usize) {
        let is_done = |range: &Range| range.open == 0;
        if !self.ranges.get(place).is_some_and(is_done) {
            return;
        }
        if self.ranges.get(place + 1).is_some_and(is_done) {
            self.join(place);
        }
        if place > 0 && is_done(&self.ranges[place - 1]) {
            self.join(place - 1);
        }
        if let Some(first) = self.ranges.front().filter(|first| is_done(first)) {
            self.checkpoint = first.end;
            self.ranges.pop_front();
        }
    }

    /// Joins the range at `place` with the next.
    fn join(&mut self, place: usize) {
        if let Some(next) = self.ranges.remove(place + 1) {
            self.ranges[place].end = next.end;
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
    fn a_checkpoint_waits_for_the_slowest_before_it() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.take(generation(), 40, 4);
        ledger.hand(generation(), 0, 20, 2);
        ledger.hand(generation(), 20, 40, 2);
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
    fn what_is_given_up_is_counted_and_what_is_under_way_is_not() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.take(generation(), 35, 3);
        ledger.seal(generation(), 1);
        ledger.hand(generation(), 0, 10, 1);
        assert_eq!(ledger.lose(generation()), 3);
        assert!(ledger.snapshot().is_balanced());
        ledger.settle([at(0, Outcome::Stored)]);
        let counts = ledger.snapshot();
        assert_eq!((counts.read, counts.stored, counts.dropped, counts.pending), (4, 1, 3, 0));
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 35);
    }

    #[test]
    fn behind_a_line_that_waits_what_is_done_is_one_range() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        for start in 0..1_000 {
            ledger.read(generation(), start * 10, start * 10 + 10, 1);
        }
        // In an order that joins to either side, and to both.
        let done = (1..1_000).map(|n| n * 377 % 1_000);
        ledger.settle(done.filter(|n| *n != 0).map(|n| at(n * 10, Outcome::Stored)));
        assert_eq!(ledger.accounts[&generation()].ranges.len(), 2);
        assert_eq!(ledger.snapshot().pending, 1);
        ledger.settle([at(0, Outcome::Stored)]);
        assert_eq!(ledger.progress(&generation()).unwrap().checkpoint, 10_000);
        assert!(ledger.accounts[&generation()].ranges.is_empty() && ledger.snapshot().is_balanced());
    }

    #[test]
    fn a_line_nobody_handed_on_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.open(generation(), 0, 0, 0);
        ledger.settle([at(0, Outcome::Stored)]);
        assert_eq!(ledger.snapshot(), Counts::default());
    }

    #[test]
    fn bytes_are_read_once() {
        let mut ledger = Ledger::default();
        // Of a segment from before the start, what is disposed of was read by the process before.
        ledger.open(generation(), 10, 25, 2);
        assert_eq!(ledger.snapshot().read_bytes, 15);
        ledger.open(GenerationId::new(2, &[0; 10]), 30, 25, 0);
        assert_eq!(ledger.snapshot().read_bytes, 15);
        ledger.give_up(7, 1);
        assert_eq!(ledger.snapshot().read_bytes, 22);
    }
}
