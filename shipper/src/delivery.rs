//! Sees batches to their store: what to send when, and what an answer means for each line.
//!
//! It does no I/O, and gets time and randomness from outside. A batch becomes a *parcel*; a parcel is sent, and its
//! answer settles some lines and leaves others, which go again as a parcel of their own after a backoff with full
//! jitter. Nothing is given up here: a line leaves when it is stored or a dead letter, and not before.
//!
//! * No answer, or a refusal of everything: the store rests for the backoff, and so does every parcel.
//! * Too large, or rejected as a whole: the parcel is halved until the line that spoils it stands alone, and that
//!   line is a dead letter.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use store::{Batch, Cause, Disposition, WriteError};

/// How patient and how eager delivery is.
#[derive(Clone, Copy, Debug)]
pub struct DeliverySettings {
    /// Requests on their way at once.
    pub requests_in_flight: usize,
    /// The first backoff is between nothing and this.
    pub retry_min: Duration,
    /// No backoff is longer than this.
    pub retry_max: Duration,
}

/// Names a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParcelId(u64);

#[derive(Debug)]
struct Parcel {
    batch: Batch,
    /// How often it was sent.
    attempts: u32,
    not_before: Duration,
}

/// Lines that an answer settled: a batch, and what became of each of its lines.
#[derive(Debug)]
pub struct Settled {
    /// The lines.
    pub batch: Batch,
    /// One for each line; [`Disposition::Retry`] for those that go again.
    pub dispositions: Vec<Disposition>,
    /// How often these lines were sent.
    pub attempts: u32,
}

/// Why the store gets nothing at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The store's words.
    pub cause: Cause,
    /// Its operator has to mend something: waiting alone does not help.
    pub refused: bool,
}

/// What went again, by cause, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryCounts {
    /// Requests without a usable answer.
    pub unavailable: u64,
    /// Requests that the store refused for a reason that its operator has to mend.
    pub refused: u64,
    /// Requests that were split because of their size.
    pub too_large: u64,
    /// Requests that were halved to find the line that spoils them.
    pub rejected: u64,
    /// Lines that the store could not take for the moment.
    pub lines: u64,
}

/// All parcels.
#[derive(Debug)]
pub struct Delivery {
    settings: DeliverySettings,
    waiting: VecDeque<Parcel>,
    sent: HashMap<ParcelId, Parcel>,
    next_id: u64,
    bytes: usize,
    failures: u32,
    rest_until: Duration,
    trouble: Option<Trouble>,
    retries: RetryCounts,
}

impl Delivery {
    /// Nothing to deliver yet.
    #[must_use]
    pub fn new(settings: DeliverySettings) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            next_id: 0,
            bytes: 0,
            failures: 0,
            rest_until: Duration::ZERO,
            trouble: None,
            retries: RetryCounts::default(),
        }
    }

    /// Takes a batch.
    pub fn offer(&mut self, batch: Batch) {
        self.push(Parcel { batch, attempts: 0, not_before: Duration::ZERO });
    }

    fn push(&mut self, parcel: Parcel) {
        if !parcel.batch.lines().is_empty() {
            self.bytes += parcel.batch.body().len();
            self.waiting.push_back(parcel);
        }
    }

    /// Bytes of all bodies that are here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Whether a batch that is offered now would be sent now.
    #[must_use]
    pub fn is_idle(&self, now: Duration) -> bool {
        self.waiting.is_empty() && self.sent.len() < self.settings.requests_in_flight && self.rest_until <= now
    }

    /// Why the store gets nothing, while that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What went again so far.
    #[must_use]
    pub fn retries(&self) -> RetryCounts {
        self.retries
    }

    /// The next request to send now, if there is one.
    pub fn next(&mut self, now: Duration) -> Option<(ParcelId, Batch)> {
        // While the store is in trouble one request at a time asks how it is.
        let at_once = if self.trouble.is_some() { 1 } else { self.settings.requests_in_flight };
        if now < self.rest_until || self.sent.len() >= at_once {
            return None;
        }
        let place = self.waiting.iter().position(|parcel| parcel.not_before <= now)?;
        let mut parcel = self.waiting.remove(place)?;
        parcel.attempts += 1;
        let id = ParcelId(self.next_id);
        self.next_id += 1;
        let batch = parcel.batch.clone();
        self.sent.insert(id, parcel);
        Some((id, batch))
    }

    /// When [`Delivery::next`] will have something that it does not have now, unless an answer comes before.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let earliest = self.waiting.iter().map(|parcel| parcel.not_before).min()?;
        Some(earliest.max(self.rest_until))
    }

    /// Takes the answer to a request; `random` decides the backoff. `None` where it settled nothing.
    pub fn answer(
        &mut self,
        id: ParcelId,
        answer: Result<Vec<Disposition>, WriteError>,
        now: Duration,
        random: u64,
    ) -> Option<Settled> {
        let parcel = self.sent.remove(&id)?;
        self.bytes -= parcel.batch.body().len();
        match answer {
            Ok(dispositions) if dispositions.len() == parcel.batch.lines().len() => {
                self.failures = 0;
                self.trouble = None;
                self.rest_until = now;
                Some(self.settle(parcel, dispositions, now, random))
            }
            Ok(_) => {
                let cause = Cause::new(0, "the store answered for another number of lines");
                self.rest(parcel, cause, false, now, random);
                None
            }
            Err(WriteError::Unavailable(cause)) => {
                self.retries.unavailable += 1;
                self.rest(parcel, cause, false, now, random);
                None
            }
            Err(WriteError::Refused(cause)) => {
                self.retries.refused += 1;
                self.rest(parcel, cause, true, now, random);
                None
            }
            Err(WriteError::TooLarge(cause)) => {
                self.retries.too_large += 1;
                self.halve(parcel, cause)
            }
            Err(WriteError::Rejected(cause)) => {
                self.retries.rejected += 1;
                self.halve(parcel, cause)
            }
        }
    }

    fn settle(&mut self, parcel: Parcel, dispositions: Vec<Disposition>, now: Duration, random: u64) -> Settled {
        let Parcel { batch, attempts, .. } = parcel;
        let again = |place: &usize| matches!(dispositions[*place], Disposition::Retry(_));
        let retry: Vec<usize> = (0..dispositions.len()).filter(again).collect();
        if !retry.is_empty() {
            self.retries.lines += retry.len() as u64;
            let not_before = now + self.backoff(attempts, random);
            self.push(Parcel { batch: batch.select(retry), attempts, not_before });
        }
        Settled { batch, dispositions, attempts }
    }

    /// The whole parcel goes again, and nothing goes before the backoff is over.
    fn rest(&mut self, parcel: Parcel, cause: Cause, refused: bool, now: Duration, random: u64) {
        self.failures = self.failures.saturating_add(1);
        self.rest_until = self.rest_until.max(now + self.backoff(self.failures, random));
        self.trouble = Some(Trouble { cause, refused });
        self.bytes += parcel.batch.body().len();
        self.waiting.push_front(parcel);
    }

    fn halve(&mut self, parcel: Parcel, cause: Cause) -> Option<Settled> {
        let count = parcel.batch.lines().len();
        if count <= 1 {
            let Parcel { batch, attempts, .. } = parcel;
            return Some(Settled { batch, dispositions: vec![Disposition::DeadLetter(cause)], attempts });
        }
        for half in [count / 2..count, 0..count / 2] {
            let half =
                Parcel { batch: parcel.batch.slice(half), attempts: parcel.attempts, not_before: Duration::ZERO };
            self.bytes += half.batch.body().len();
            self.waiting.push_front(half);
        }
        None
    }

    /// Full jitter: anything between nothing and the bound, which doubles with each attempt
    /// (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    fn backoff(&self, attempts: u32, random: u64) -> Duration {
        let bound = self.settings.retry_min.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let bound = bound.min(self.settings.retry_max);
        bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use store::{BatchBuilder, GenerationId, LineId, Timestamp};

    use super::*;

    const SETTINGS: DeliverySettings = DeliverySettings {
        requests_in_flight: 2,
        retry_min: Duration::from_millis(100),
        retry_max: Duration::from_secs(30),
    };

    fn batch(lines: u64) -> Batch {
        let mut builder = BatchBuilder::new("app-logs");
        for offset in 0..lines {
            let id = LineId { generation: GenerationId::new(1, &[0; 10]), offset };
            builder.push(id, 1, Timestamp::from_unix_ms(0).day(), |body| body.extend_from_slice(b"{}"));
        }
        builder.finish(0)
    }

    fn cause() -> Cause {
        Cause::new(400, "no")
    }

    #[test]
    fn lines_in_need_go_again_alone_and_later() {
        let mut delivery = Delivery::new(SETTINGS);
        delivery.offer(batch(3));
        let (id, _) = delivery.next(Duration::ZERO).unwrap();
        let answer = vec![Disposition::Stored, Disposition::Retry(cause()), Disposition::AlreadyStored];
        let settled = delivery.answer(id, Ok(answer), Duration::ZERO, u64::MAX).unwrap();
        assert_eq!(settled.dispositions.len(), 3);
        assert!(delivery.next(Duration::ZERO).is_none());
        let (_, again) = delivery.next(delivery.next_at().unwrap()).unwrap();
        assert_eq!(again.lines().len(), 1);
        assert_eq!(again.lines()[0].id.offset, 1);
    }

    #[test]
    fn one_spoilt_line_is_found_and_its_neighbours_are_stored() {
        let mut delivery = Delivery::new(SETTINGS);
        delivery.offer(batch(37));
        let (mut stored, mut dead) = (Vec::new(), Vec::new());
        while let Some((id, sent)) = delivery.next(Duration::ZERO) {
            let spoilt = sent.lines().iter().any(|line| line.id.offset == 23);
            let answer = if spoilt {
                Err(WriteError::Rejected(cause()))
            } else {
                Ok(vec![Disposition::Stored; sent.lines().len()])
            };
            let Some(settled) = delivery.answer(id, answer, Duration::ZERO, 0) else { continue };
            for (line, disposition) in settled.batch.lines().iter().zip(settled.dispositions) {
                if disposition == Disposition::Stored { stored.push(line.id.offset) } else { dead.push(line.id.offset) }
            }
        }
        assert_eq!(dead, [23]);
        assert_eq!(stored.len(), 36);
        assert!(delivery.is_empty() && delivery.bytes() == 0);
    }

    #[test]
    fn a_store_in_trouble_is_left_alone_and_then_asked_once() {
        let mut delivery = Delivery::new(SETTINGS);
        for _ in 0..3 {
            delivery.offer(batch(2));
        }
        let (first, _) = delivery.next(Duration::ZERO).unwrap();
        let (second, _) = delivery.next(Duration::ZERO).unwrap();
        for id in [first, second] {
            assert!(delivery.answer(id, Err(WriteError::Unavailable(cause())), Duration::ZERO, u64::MAX / 2).is_none());
        }
        assert!(delivery.next(Duration::from_millis(10)).is_none());
        let later = delivery.next_at().unwrap();
        let (probe, sent) = delivery.next(later).unwrap();
        assert!(delivery.next(later).is_none());
        delivery.answer(probe, Ok(vec![Disposition::Stored; sent.lines().len()]), later, 0).unwrap();
        assert!(delivery.trouble().is_none());
        assert!(delivery.next(later).is_some() && delivery.next(later).is_some());
    }

    #[test]
    fn an_answer_of_another_length_tells_nothing() {
        let mut delivery = Delivery::new(SETTINGS);
        delivery.offer(batch(2));
        let (id, _) = delivery.next(Duration::ZERO).unwrap();
        assert!(delivery.answer(id, Ok(vec![Disposition::Stored]), Duration::ZERO, 0).is_none());
        assert_eq!(delivery.bytes(), batch(2).body().len());
    }
}
