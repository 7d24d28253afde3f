//! A modelled store behind a modelled network: it takes, refuses, forgets to answer, takes late, and remembers every
//! document, also of lines that went with a file of its own.

mod file;

use std::collections::{HashMap, HashSet};

use store::{Batch, Cause, CauseKind, Disposition, LineId, WriteError};

use super::random::Random;
pub(super) use file::StoreFile;

/// A document of this text is refused by itself.
pub(super) const POISON: &str = "poison";

/// A document of this text spoils the request that it is in: a client's error for all of it.
pub(super) const SPOILER: &str = "spoiler";

/// A request with a document of this text is answered with 500, for ever.
pub(super) const CRASHER: &str = "crasher";

/// A document of this text is answered with 500 by itself, for ever.
pub(super) const BREAKER: &str = "breaker";

/// The indices of all lines, of which each may take none for a while.
const INDICES: [&str; 2] = ["app-logs-2026.11.23", "app-logs-2026.11.24"];

/// How indices are shut in a seed: by a random of their own, so that they change no other seed.
#[derive(Debug)]
pub(super) struct Shuts {
    random: Random,
    /// Once in so many steps one is shut, and opened again some time later; 0 for never.
    often: u64,
    /// One that is shut from the beginning until all else is at rest.
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

    /// What is said of a line of this index, if none is taken.
    fn refusal(&self, index: &str) -> Option<Cause> {
        let place = INDICES.iter().position(|name| *name == index).filter(|place| self.is_shut[*place])?;
        let (status, kind) = [(403, CauseKind::Block), (400, CauseKind::ShardLimit)][place];
        Some(Cause::new(status, "it takes no lines").with_kind(kind))
    }
}

/// A document, and the index that it was for.
pub(super) struct Held {
    pub(super) index: String,
    pub(super) document: Vec<u8>,
}

/// How a store and the way to it are in a seed; chances are once in so many requests or lines, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// The connection is reset before the store took the batch.
    pub(super) reset_before: u64,
    /// It is reset after the store took it.
    pub(super) reset_after: u64,
    /// No answer in time, and the store takes the batch later, perhaps after it came again.
    pub(super) late: u64,
    /// The whole request is answered with 429 or 5xx.
    pub(super) busy: u64,
    /// The whole request is refused: rights, a block.
    pub(super) refused: u64,
    /// The answer speaks of another number of lines.
    pub(super) other_length: u64,
    /// A line is answered with 429, 500 or 503.
    pub(super) line_busy: u64,
    /// A host goes down, and later comes back.
    pub(super) host_down: u64,
}

/// The store.
pub(super) struct Engine {
    /// What it was sent of each line that it ever took: first what it took, then what it was sent under the same id and
    /// differs.
    pub(super) documents: HashMap<LineId, Vec<Held>>,
    /// Lines of which it said that it holds them.
    pub(super) confirmed: HashSet<LineId>,
    pub(super) file: StoreFile,
    pub(super) weather: Weather,
    /// A longer request is answered with 413.
    pub(super) request_max_bytes: usize,
    /// Batches that it will take though nobody waits for the answer any more.
    late: Vec<Batch>,
    /// Of each host that is down, what it answers: 0 for nothing.
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

    /// Hosts go down, often for long, and come back.
    pub(super) fn change_hosts(&mut self, random: &mut Random) {
        for down in &mut self.down {
            match down {
                Some(_) if random.one_in(100) => *down = None,
                None if random.one_in(self.weather.host_down) => *down = Some([0, 500, 503][random.between(0, 2)]),
                _ => {}
            }
        }
    }

    /// Indices are shut, and opened.
    pub(super) fn change_indices(&mut self) {
        self.shuts.change();
    }

    /// Something is done to the store's file.
    pub(super) fn change_file(&mut self) {
        self.file.change();
    }

    /// The shipper got this answer to a batch.
    pub(super) fn note_answer(&mut self, batch: &Batch, answer: &[Disposition]) {
        let is_held =
            |disposition: &Disposition| matches!(disposition, Disposition::Stored | Disposition::AlreadyStored);
        if answer.len() == batch.lines().len() {
            let held = batch.lines().iter().zip(answer).filter(|(_, disposition)| is_held(disposition));
            self.confirmed.extend(held.map(|(line, _)| line.id));
        }
    }

    /// All goes well from now on, but for an index that is shut for good; says whether there is one.
    pub(super) fn calm(&mut self) -> bool {
        self.weather = Weather::default();
        self.down.fill(None);
        self.file.calm();
        self.shuts.often = 0;
        self.shuts.is_shut = [0, 1].map(|place| self.shuts.for_good == Some(place));
        self.shuts.for_good.is_some()
    }

    /// Every index takes lines from now on.
    pub(super) fn open_indices(&mut self) {
        self.shuts.is_shut = [false; 2];
    }

    /// One of its hosts gets a request; gives what the shipper gets to see of it.
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

    /// One of the late requests gets there, if there is one.
    pub(super) fn take_late(&mut self, random: &mut Random) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let batch = self.late.swap_remove(random.between(0, self.late.len() - 1));
        drop(self.take(&batch, random));
        true
    }

    /// Everything that it was sent, also what it will take later.
    pub(super) fn sent(&self) -> impl Iterator<Item = &[u8]> {
        let late = self.late.iter().flat_map(|batch| (0..batch.lines().len()).map(|place| batch.document(place)));
        self.documents.values().flatten().map(|held| &held.document[..]).chain(late)
    }

    /// The process that sent a request is gone; the request may get there all the same.
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
        // An engine looks at the index before it looks at the line.
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

/// An answer that is cut, or speaks of a line too many.
fn of_another_length(mut answer: Vec<Disposition>, random: &mut Random) -> Vec<Disposition> {
    if random.one_in(2) {
        answer.truncate(answer.len() / 2);
    } else {
        answer.push(Disposition::Stored);
    }
    answer
}
