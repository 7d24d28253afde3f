//! The two contents of a file: cache and platter.

use std::sync::Arc;

use store::GenerationId;

use crate::simulation::random::Random;

/// One file.
pub(super) struct Inode {
    /// The cache.
    pub(super) bytes: Vec<u8>,
    /// The platter, except for a truncation that is not there yet. If it ends before `dirty_from`, a sync succeeded
    /// falsely.
    platter: Vec<u8>,
    /// Start of the bytes known to be unwritten.
    dirty_from: usize,
    /// Length of a truncation since the last sync.
    cut_to: Option<usize>,
    /// The generation of a spool segment.
    pub(super) generation: Option<GenerationId>,
    /// Number of bytes that the shipper considers durable.
    pub(super) promised: usize,
    pub(super) before: Vec<Vec<u8>>,
    pub(super) is_gone: bool,
    /// Its inode number, which may be reused.
    pub(super) number: u64,
    pub(super) born_ns: Option<i64>,
    pub(super) written_ns: i64,
    pub(super) changed_ns: i64,
    pub(super) is_readable: bool,
    /// Shared by those who have it open.
    pub(super) handle: Arc<()>,
}

impl Inode {
    pub(super) fn new(generation: Option<GenerationId>, number: u64, born_ns: Option<i64>) -> Self {
        Self {
            bytes: Vec::new(),
            platter: Vec::new(),
            dirty_from: 0,
            cut_to: None,
            generation,
            promised: 0,
            before: Vec::new(),
            is_gone: false,
            number,
            born_ns,
            written_ns: 0,
            changed_ns: 0,
            is_readable: true,
            handle: Arc::default(),
        }
    }

    /// Returns whether nobody has it open.
    pub(super) fn is_closed(&self) -> bool {
        Arc::strong_count(&self.handle) == 1
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.bytes.len() {
            return;
        }
        self.bytes.truncate(len);
        self.cut_to = Some(self.cut_to.map_or(len, |cut| cut.min(len)));
        self.dirty_from = self.dirty_from.min(len);
    }

    fn cut(&mut self) {
        if let Some(len) = self.cut_to.take() {
            self.platter.truncate(len);
        }
    }

    /// Syncs all bytes known to be unwritten.
    pub(super) fn sync(&mut self) {
        self.cut();
        self.write_up_to(self.bytes.len());
    }

    /// Fails a sync: some bytes are written, and the rest may be marked as written.
    pub(super) fn fail_to_sync(&mut self, random: &mut Random, false_clean: bool) {
        if random.one_in(2) {
            self.cut();
        }
        if self.cut_to.is_none() {
            self.write_up_to(random.between(self.dirty_from, self.bytes.len()));
        }
        if false_clean && random.one_in(2) {
            self.dirty_from = self.bytes.len();
        }
    }

    fn write_up_to(&mut self, end: usize) {
        if end > self.dirty_from {
            // Bytes that were falsely marked as written are missing.
            self.platter.resize(self.dirty_from, 0);
            self.platter.extend_from_slice(&self.bytes[self.dirty_from..end]);
        }
        self.dirty_from = self.dirty_from.max(end);
    }

    /// Handles a killed process: bytes falsely marked as written count as unwritten again. On a real disk they may stay
    /// so.
    pub(super) fn outlive_process(&mut self) {
        let kept = self.cut_to.map_or(self.platter.len(), |cut| cut.min(self.platter.len()));
        self.dirty_from = self.dirty_from.min(kept);
    }

    /// Makes a file durable that is not the shipper's.
    pub(super) fn settle(&mut self) {
        self.platter.clone_from(&self.bytes);
        (self.dirty_from, self.cut_to) = (self.bytes.len(), None);
    }

    /// Handles a power loss.
    pub(super) fn lose_power(&mut self, random: &mut Random, holes: bool, had_name: bool) {
        let old_platter = self.platter.len();
        if self.cut_to.is_none() || random.one_in(2) {
            self.cut();
            let end = random.between(self.dirty_from.min(self.bytes.len()), self.bytes.len());
            if self.platter.len() >= self.dirty_from {
                let start = self.dirty_from;
                self.write_up_to(end);
                if holes && end > start + 1 && random.one_in(3) {
                    let from = random.between(start, end - 2);
                    let to = random.between(from + 2, end);
                    self.platter[from..to].fill(0);
                }
            }
        }
        assert!(
            !had_name
                || self.promised <= self.platter.len() && self.platter[..self.promised] == self.bytes[..self.promised],
            "durable bytes were lost with power: {} were promised, {old_platter} were written",
            self.promised,
        );
        if self.platter != self.bytes {
            self.before.push(std::mem::take(&mut self.bytes));
            self.bytes.clone_from(&self.platter);
        }
        (self.dirty_from, self.cut_to) = (self.bytes.len(), None);
        self.is_gone = false;
    }

    /// Handles a power loss that removes the file's name.
    pub(super) fn vanish(&mut self) {
        assert_eq!(self.promised, 0, "a durable segment was lost with power");
        self.is_gone = true;
    }
}
