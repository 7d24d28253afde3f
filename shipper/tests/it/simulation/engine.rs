//! A modelled store behind a modelled network. It accepts, refuses, loses answers, accepts late, and records every
//! document, including lines that were lost with its file.

mod file;

use std::collections::{HashMap, HashSet};

use store::{Batch, Cause, CauseKind, Disposition, LineId, WriteError};

use super::random::Random;
pub(super) use file::StoreFile;

/// A document with this text is rejected alone.
pub(super) const POISON: &str = "poison";

/// A document with this text makes its whole request a client error.
pub(super) const SPOILER: &str = "spoiler";

/// A request with such a document is always answered with 500.
pub(super) const CRASHER: &str = "crasher";

/// A document with this text always gets a 500 of its own.
pub(super) const BREAKER: &str = "breaker";

/// The indices of all lines, each of which may be blocked for a while.
const INDICES: [&str; 2] = ["app-logs-2026.11.23", "app-logs-2026.11.24"];

/// How indices are blocked in a seed, by an independent generator, so that other seeds do not change.
#[derive(Debug)]
pub(super) struct Shuts {
    random: Random,
    /// An index is blocked once in this many steps, and unblocked some time later; 0 for never.
    often: u64,
    /// An index that is blocked until all other work is done.
    for_good: Option<usize>,
    is_shut: [bool; 2],
}

impl Shuts {
    pub(super) fn new(mut random: Random, often: u64, for_good: Option<usize>) -> Self {
        let mut is_shut = [false; 2];
        if let Some(place) = for_good {
            is_shut[place] = true;
        }
        random.next();
        Self { random, often, for_good, is_shut }
    }

    fn change(&mut self) {
        for place in 0..INDICES.len() {
            let (is_shut, stays) = (self.is_shut[place], self.for_good == Some(place));
            if is_shut && !stays && self.random.one_in(60) || !is_shut && self.random.one_in(self.often) {
                self.is_shut[place] = !is_shut;
            }
        }
    }

    /// Returns the cause for a line of this index, if it is blocked.
    fn refusal(&self, index: &str) -> Option<Cause> {
        let place = INDICES.iter().position(|name| *name == index).filter(|place| self.is_shut[*place])?;
        let (status, kind) = [(403, CauseKind::Block), (400, CauseKind::ShardLimit)][place];
        Some(Cause::new(status, "it accepts no lines").with_kind(kind))
    }
}

/// A document and its index.
pub(super) struct Held {
    pub(super) index: String,
    pub(super) document: Vec<u8>,
}

/// Faults of the store and the network. A value is one in this many requests or lines, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Reset before the store accepts the batch.
    pub(super) reset_before: u64,
    /// Reset after the store accepts the batch.
    pub(super) reset_after: u64,
    /// No answer in time; the store accepts the batch later, perhaps after a retry.
    pub(super) late: u64,
    /// The whole request is answered with 429 or 5xx.
    pub(super) busy: u64,
    /// The whole request is refused: permissions, a block.
    pub(super) refused: u64,
    /// The answer is for another number of lines.
    pub(super) other_length: u64,
    /// A line is answered with 429, 500 or 503.
    pub(super) line_busy: u64,
    /// A host goes down, and recovers later.
    pub(super) host_down: u64,
}

/// The store.
pub(super) struct Engine {
    /// Documents of each line that it ever accepted: first the accepted one, then other ones that were sent under the
    /// same id.
    pub(super) documents: HashMap<LineId, Vec<Held>>,
    /// Lines that it confirmed.
    pub(super) confirmed: HashSet<LineId>,
    pub(super) file: StoreFile,
    pub(super) weather: Weather,
    /// A longer request is answered with 413.
    pub(super) request_max_bytes: usize,
    /// Batches that it will accept after the client has given up.
    late: Vec<Batch>,
    /// For each host that is down, its answer; 0 for none.
    down: Vec<Option<u16>>,
    shuts: Shuts,
}

impl Engine {
    pub(super) fn new(weather: Weather, request_max_bytes: usize, hosts: usize, shuts: Shuts, file: StoreFile) -> Self {
        Self {
            documents: HashMap::new(),
            confirmed: HashSet::new(),
            file,
            weather,
            request_max_bytes,
            late: Vec::new(),
            down: vec![None; hosts],
            shuts,
        }
    }

    /// Takes hosts down, often for long, and up again.
    pub(super) fn change_hosts(&mut self, random: &mut Random) {
        for down in &mut self.down {
            match down {
                Some(_) if random.one_in(100) => *down = None,
                None if random.one_in(self.weather.host_down) => *down = Some([0, 500, 503][random.between(0, 2)]),
                _ => {}
            }
        }
    }

    /// Blocks and unblocks indices.
    pub(super) fn change_indices(&mut self) {
        self.shuts.change();
    }

    /// Changes the store's file.
    pub(super) fn change_file(&mut self) {
        self.file.change();
    }

    /// Records the answer that the shipper got to a batch.
    pub(super) fn note_answer(&mut self, batch: &Batch, answer: &[Disposition]) {
        let is_held =
            |disposition: &Disposition| matches!(disposition, Disposition::Stored | Disposition::AlreadyStored);
        if answer.len() == batch.lines().len() {
            let held = batch.lines().iter().zip(answer).filter(|(_, disposition)| is_held(disposition));
            self.confirmed.extend(held.map(|(line, _)| line.id));
        }
    }

    /// Stops all faults, except for a permanently blocked index; returns whether there is one.
    pub(super) fn calm(&mut self) -> bool {
        self.weather = Weather::default();
        self.down.fill(None);
        self.file.calm();
        self.shuts.often = 0;
        self.shuts.is_shut = [0, 1].map(|place| self.shuts.for_good == Some(place));
        self.shuts.for_good.is_some()
    }

    /// Unblocks every index.
    pub(super) fn open_indices(&mut self) {
        self.shuts.is_shut = [false; 2];
    }

    /// Handles a request to one of the hosts; returns what the shipper sees of it.
    pub(super) fn write(
        &mut self,
        host: usize,
        batch: &Batch,
        random: &mut Random,
    ) -> Result<Vec<Disposition>, WriteError> {
        let unavailable = |status, reason: &str| Err(WriteError::Unavailable(Cause::new(status, reason)));
        let weather = self.weather;
        if let Some(status) = self.down[host] {
            return unavailable(status, "down");
        }
        if random.one_in(weather.reset_before) {
            return unavailable(0, "reset before it took the batch");
        }
        if random.one_in(weather.late) {
            self.late.push(batch.clone());
            return unavailable(0, "no answer in time");
        }
        if random.one_in(weather.busy) {
            return unavailable([429, 500, 502, 503, 504][random.between(0, 4)], "busy");
        }
        if random.one_in(weather.refused) {
            return Err(WriteError::Refused(Cause::new([401, 403][random.between(0, 1)], "refused")));
        }
        let answer = self.take(batch, random)?;
        if random.one_in(weather.reset_after) {
            return unavailable(0, "reset after it took the batch");
        }
        if random.one_in(weather.other_length) {
            return match answer.len() % 3 {
                0 => Err(WriteError::ResponseTooLong(Cause::new(200, "too long"))),
                _ => Ok(of_another_length(answer, random)),
            };
        }
        Ok(answer)
    }

    /// Accepts one of the late batches, if there is one.
    pub(super) fn take_late(&mut self, random: &mut Random) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let batch = self.late.swap_remove(random.between(0, self.late.len() - 1));
        drop(self.take(&batch, random));
        true
    }

    /// Accepts all late batches.
    pub(super) fn sent(&self) -> impl Iterator<Item = &[u8]> {
        let late = self.late.iter().flat_map(|batch| (0..batch.lines().len()).map(|place| batch.document(place)));
        self.documents.values().flatten().map(|held| &held.document[..]).chain(late)
    }

    /// Handles a request whose process was killed; it may still arrive.
    pub(super) fn orphan(&mut self, batch: Batch) {
        self.late.push(batch);
    }

    fn take(&mut self, batch: &Batch, random: &mut Random) -> Result<Vec<Disposition>, WriteError> {
        self.file.open()?;
        if batch.body().len() > self.request_max_bytes {
            return Err(WriteError::TooLarge(Cause::new(413, "too large")));
        }
        if memchr::memmem::find(batch.body(), SPOILER.as_bytes()).is_some() {
            return Err(WriteError::Rejected(Cause::new(400, "malformed")));
        }
        if memchr::memmem::find(batch.body(), CRASHER.as_bytes()).is_some() {
            return Err(WriteError::Unavailable(Cause::new(500, "null_pointer_exception")));
        }
        let answer = (0..batch.lines().len()).map(|place| self.take_line(batch, place, random)).collect();
        self.file.confirm()?;
        Ok(answer)
    }

    fn take_line(&mut self, batch: &Batch, place: usize, random: &mut Random) -> Disposition {
        // An engine checks the index before the line.
        if let Some(cause) = self.shuts.refusal(batch.index_name(place)) {
            return Disposition::Retry(cause);
        }
        let document = batch.document(place);
        if memchr::memmem::find(document, POISON.as_bytes()).is_some() {
            return Disposition::DeadLetter(Cause::new(400, "mapping"));
        }
        if memchr::memmem::find(document, BREAKER.as_bytes()).is_some() {
            return Disposition::Retry(Cause::new(500, "null_pointer_exception"));
        }
        if random.one_in(self.weather.line_busy) {
            return Disposition::Retry(Cause::new([429, 500, 503][random.between(0, 2)], "busy"));
        }
        let (id, index) = (batch.lines()[place].id, batch.index_name(place));
        let sent = self.documents.entry(id).or_default();
        if sent.iter().all(|held| held.document != document || held.index != index) {
            sent.push(Held { index: index.to_owned(), document: document.to_vec() });
        }
        if self.file.write(id) { Disposition::Stored } else { Disposition::AlreadyStored }
    }
}

/// Returns an answer that is truncated, or has one line too many.
fn of_another_length(mut answer: Vec<Disposition>, random: &mut Random) -> Vec<Disposition> {
    if random.one_in(2) {
        answer.truncate(answer.len() / 2);
    } else {
        answer.push(Disposition::Stored);
    }
    answer
}
