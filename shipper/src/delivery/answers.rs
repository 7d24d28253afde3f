//! What an answer means for the request's lines, for its host, and for what is believed of the store.

use std::time::Duration;

use store::{Cause, CauseKind, Disposition, WriteError};

use super::blocked_indices::{Probed, is_refusal};
use super::hosts::Ticket;
use super::in_flight::{InFlight, InFlightId};
use super::{Delivery, DeliveryError, GIVEN_UP_AFTER, HALVED_AFTER, HALVED_ON_TRIAL_MAX, Settled, by_index};

/// When, and by which luck: what an answer's handling needs besides the answer.
#[derive(Clone, Copy)]
struct At {
    now: Duration,
    random: u64,
}

impl Delivery {
    /// Takes the answer to a request; `random` decides the backoff. `None` where it settled nothing.
    pub fn answer(
        &mut self,
        id: InFlightId,
        answer: Result<Vec<Disposition>, WriteError>,
        now: Duration,
        random: u64,
    ) -> Option<Settled> {
        let (parcel, ticket) = self.sent.remove(&id)?;
        let size = parcel.batch.body().len();
        self.bytes -= size;
        let at = At { now, random };
        if let Some(index) = self.shut.answered(id) {
            let parcels = self.shut.judge(&index, probed(&answer), now, random);
            self.waiting.extend(parcels);
        }
        match answer {
            Ok(dispositions) if dispositions.len() == parcel.lines() => {
                self.size.take(size, now);
                Some(self.settle(parcel, (id, ticket), dispositions, at))
            }
            Ok(_) => {
                let cause = Cause::new(200, "the store answered for another number of lines");
                self.retries.unavailable += 1;
                self.fail(parcel, ticket, cause, at)
            }
            Err(WriteError::Unavailable(cause)) => {
                self.retries.unavailable += 1;
                self.fail(parcel, ticket, cause, at)
            }
            Err(WriteError::ResponseTooLong(cause)) => {
                self.retries.unavailable += 1;
                self.outgrow(parcel, ticket, cause, at);
                None
            }
            Err(WriteError::Refused(cause)) => {
                self.retries.refused += 1;
                self.refuse(parcel, ticket, cause, at);
                None
            }
            Err(WriteError::TooLarge(cause)) => {
                self.retries.too_large += 1;
                self.size.refuse(size, now);
                self.reject(parcel, ticket, cause, at)
            }
            Err(WriteError::Rejected(cause)) => {
                self.retries.rejected += 1;
                self.reject(parcel, ticket, cause, at)
            }
        }
    }

    /// The store spoke of each line.
    fn settle(
        &mut self,
        mut parcel: InFlight,
        (id, ticket): (InFlightId, Ticket),
        mut dispositions: Vec<Disposition>,
        at: At,
    ) -> Settled {
        self.suspect(&mut parcel);
        self.learn(&parcel, id, &dispositions);
        let of_kind = |wanted: fn(CauseKind) -> bool, dispositions: &[Disposition]| -> Vec<usize> {
            let is = |place: &usize| matches!(&dispositions[*place], Disposition::Retry(cause) if wanted(cause.kind));
            (0..dispositions.len()).filter(is).collect()
        };
        let failing = of_kind(|kind| kind == CauseKind::Failing, &dispositions);
        let refused = of_kind(is_refusal, &dispositions);
        let passing = of_kind(|kind| kind != CauseKind::Failing && !is_refusal(kind), &dispositions);
        let retried = failing.len() + passing.len();
        match refused.len() == dispositions.len() {
            true => self.retries.refused += 1,
            false => self.retries.lines += (retried + refused.len()) as u64,
        }
        self.judge_host(&parcel, ticket, &dispositions, retried + refused.len(), at);
        self.set_aside(&parcel, &refused, &dispositions, at);
        if !passing.is_empty() {
            let not_before = at.now + self.backoff.after(parcel.attempts, at.random);
            self.push_back(InFlight {
                not_before,
                attempts: parcel.attempts,
                ..InFlight::new(parcel.batch.select(passing))
            });
        }
        if !failing.is_empty() {
            let mut part = parcel.part(failing.iter().copied());
            self.doubt(&mut part, at.now);
            if self.is_poison(&part, at.now) {
                for place in failing {
                    if let Disposition::Retry(cause) = &dispositions[place] {
                        dispositions[place] = Disposition::DeadLetter(cause.clone());
                    }
                }
            } else {
                part.fail(self.next_id, ticket.host);
                part.not_before = at.now + self.backoff.after(parcel.attempts, at.random);
                self.push_back(part);
            }
        }
        Settled { batch: parcel.batch, dispositions, attempts: parcel.attempts }
    }

    /// The store takes no line of these lines' indices, of which it said so one by one.
    fn set_aside(&mut self, parcel: &InFlight, refused: &[usize], dispositions: &[Disposition], at: At) {
        for (name, places) in by_index(&parcel.batch, refused) {
            if let Some(Disposition::Retry(cause)) = places.first().map(|place| &dispositions[*place]) {
                self.shut.shut(name, cause.clone(), self.next_id, at.now, at.random);
            }
            let part = InFlight { attempts: parcel.attempts, ..InFlight::new(parcel.batch.select(places)) };
            self.bytes += part.batch.body().len();
            if let Some(part) = self.shut.keep(name, part) {
                self.waiting.push_back(part);
            }
        }
    }

    /// Notes what the store took of a request.
    fn learn(&mut self, parcel: &InFlight, id: InFlightId, dispositions: &[Disposition]) {
        if dispositions.iter().any(|one| matches!(one, Disposition::Stored | Disposition::AlreadyStored)) {
            self.health.took(id.0);
            self.rejected = None;
        }
        // Nearly all lines of a batch are of one day; of several days, the first and the last.
        for place in [0, dispositions.len() - 1] {
            if dispositions[place] == Disposition::Stored {
                self.health.took_in(id.0, parcel.batch.index_name(place));
            }
        }
    }

    fn judge_host(&mut self, parcel: &InFlight, ticket: Ticket, dispositions: &[Disposition], retried: usize, at: At) {
        // What it says of an index is no word on the host.
        let retry = dispositions.iter().find_map(|disposition| match disposition {
            Disposition::Retry(cause) if !is_refusal(cause.kind) => Some(cause),
            _ => None,
        });
        let is_busy = |one: &Disposition| matches!(one, Disposition::Retry(cause) if cause.kind == CauseKind::Busy);
        match retry {
            None if retried == dispositions.len() => self.hosts.answered(ticket),
            None => self.hosts.took(ticket),
            Some(cause) if retried == dispositions.len() => {
                if cause.kind == CauseKind::Failing && parcel.is_suspect && self.health.blame() {
                    self.hosts.unknown(ticket, at.now, at.random);
                } else {
                    self.health.upset(self.next_id);
                    let delivery_error = DeliveryError { cause: cause.clone(), refused: false };
                    self.hosts.failed(ticket, delivery_error, at.now, at.random);
                }
            }
            Some(_) if dispositions.iter().any(is_busy) => self.hosts.slowed(ticket),
            Some(_) => self.hosts.took(ticket),
        }
    }

    /// There is no answer that tells what became of the lines.
    fn fail(&mut self, mut parcel: InFlight, ticket: Ticket, cause: Cause, at: At) -> Option<Settled> {
        let is_its_own = cause.kind != CauseKind::Busy && self.suspect(&mut parcel) && self.health.blame();
        if cause.kind == CauseKind::Failing && parcel.lines() == 1 {
            self.doubt(&mut parcel, at.now);
        }
        if is_its_own {
            self.hosts.unknown(ticket, at.now, at.random);
        } else {
            self.health.upset(self.next_id);
            let delivery_error = DeliveryError { cause: cause.clone(), refused: false };
            self.hosts.failed(ticket, delivery_error, at.now, at.random);
        }
        if parcel.lines() == 1 && self.is_poison(&parcel, at.now) {
            return Some(dead(parcel, cause));
        }
        parcel.fail(self.next_id, ticket.host);
        // What only the host is to blame for goes to another host at once; this one rests.
        let own_failures = if is_its_own { parcel.failures } else { 0 };
        parcel.not_before = at.now + self.backoff.after(own_failures, at.random);
        let on_trial = matches!(cause.kind, CauseKind::Failing | CauseKind::TimedOut);
        let contradicted = is_its_own && parcel.contradicted + 1 >= HALVED_AFTER;
        let tried = on_trial && parcel.failures >= HALVED_AFTER && self.parcels() < HALVED_ON_TRIAL_MAX;
        let is_halved = contradicted || tried;
        match is_halved && parcel.lines() > 1 {
            true => self.halve(&parcel),
            false => self.push_back(parcel),
        }
        None
    }

    /// The answer was longer than is read: nothing tells what became of the lines, and fewer have a shorter one.
    fn outgrow(&mut self, mut parcel: InFlight, ticket: Ticket, cause: Cause, at: At) {
        self.health.upset(self.next_id);
        self.hosts.failed(ticket, DeliveryError { cause, refused: false }, at.now, at.random);
        parcel.fail(self.next_id, ticket.host);
        // Who answers everything so is not asked about each line by itself.
        match parcel.lines() > 1 && self.parcels() < HALVED_ON_TRIAL_MAX {
            true => self.halve(&parcel),
            false => self.push_back(parcel),
        }
    }

    /// The store takes nothing until somebody mends something.
    fn refuse(&mut self, mut parcel: InFlight, ticket: Ticket, cause: Cause, at: At) {
        self.health.upset(self.next_id);
        self.hosts.failed(ticket, DeliveryError { cause, refused: true }, at.now, at.random);
        parcel.failed_at = Some(ticket.host);
        self.push_back(parcel);
    }

    /// The store does not take the request as it is, or of its size.
    fn reject(&mut self, mut parcel: InFlight, ticket: Ticket, cause: Cause, at: At) -> Option<Settled> {
        let is_taking = parcel.first_rejected.is_some_and(|mark| self.health.is_taking_since(mark));
        let is_its_own = is_taking || parcel.rejections >= GIVEN_UP_AFTER && self.health.is_taking_since(0);
        if !is_its_own && parcel.lines() == 1 && parcel.rejections > 0 {
            // Nothing gets through, however small: line after line would be sent for nothing.
            let delivery_error = DeliveryError { cause: cause.clone(), refused: true };
            self.hosts.failed(ticket, delivery_error, at.now, at.random);
        } else {
            self.hosts.answered(ticket);
        }
        if is_its_own && parcel.lines() == 1 {
            return Some(dead(parcel, cause));
        }
        parcel.reject(self.next_id, ticket.host);
        let may_halve = is_its_own || cause.kind == CauseKind::TooLarge || self.parcels() < HALVED_ON_TRIAL_MAX;
        if may_halve && parcel.lines() > 1 {
            self.halve(&parcel);
        } else {
            if !is_its_own {
                self.rejected.get_or_insert(cause);
            }
            parcel.not_before = at.now + self.backoff.after(parcel.failures, at.random);
            self.push_back(parcel);
        }
        None
    }

    fn halve(&mut self, parcel: &InFlight) {
        let count = parcel.lines();
        for half in [count / 2..count, 0..count / 2] {
            self.push_front(parcel.part(half));
        }
    }

    fn parcels(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// A parcel failed: whether that is taken for its own fault, since the store took what was sent after it had failed
    /// before.
    fn suspect(&self, parcel: &mut InFlight) -> bool {
        if parcel.last_failed.is_some_and(|mark| self.health.is_taking_since(mark)) {
            parcel.is_suspect = true;
            parcel.contradicted += 1;
        }
        parcel.is_suspect
    }

    /// The store failed over these lines again: counts that if it was sound before, and begins anew if it was not.
    fn doubt(&self, parcel: &mut InFlight, now: Duration) {
        let Some(mark) = parcel.last_failed else { return };
        let sound = |place| self.health.is_sound_since(mark, parcel.batch.index_name(place));
        if (0..parcel.lines()).all(sound) {
            if parcel.doubts == 0 {
                parcel.doubted_since = now;
            }
            parcel.doubts += 1;
        } else if self.health.is_upset_since(mark) {
            parcel.doubts = 0;
        }
    }

    fn is_poison(&self, parcel: &InFlight, now: Duration) -> bool {
        let span = now.saturating_sub(parcel.doubted_since);
        parcel.doubts >= self.settings.poison_attempts && span >= self.settings.poison_span
    }
}

/// What the answer to a single line says of its index.
fn probed(answer: &Result<Vec<Disposition>, WriteError>) -> Probed {
    match answer.as_deref() {
        Ok([Disposition::Retry(cause)]) if is_refusal(cause.kind) => Probed::Refused(cause.clone()),
        Ok([Disposition::Stored | Disposition::AlreadyStored | Disposition::DeadLetter(_)]) => Probed::Open,
        _ => Probed::Unknown,
    }
}

fn dead(parcel: InFlight, cause: Cause) -> Settled {
    Settled { batch: parcel.batch, dispositions: vec![Disposition::DeadLetter(cause)], attempts: parcel.attempts }
}
