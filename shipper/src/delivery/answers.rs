//! Carries out the verdict on an answer.

use std::time::Duration;

use store::{Cause, Disposition, WriteError};

use super::backoff::Backoff;
use super::hosts::HostVerdict;
use super::in_flight::{InFlight, InFlightId};
use super::verdict::{Answer, Evidence, LineVerdict, Next, Verdict, judge};
use super::{Delivery, Settled, by_index};

impl Delivery {
    /// Handles the answer to a request; `random` decides the backoff. Returns `None` if it settled nothing.
    pub fn answer(
        &mut self,
        id: InFlightId,
        answer: Result<Vec<Disposition>, WriteError>,
        now: Duration,
        random: u64,
    ) -> Option<Settled> {
        let (mut request, ticket) = self.sent.remove(&id)?;
        self.bytes -= request.batch.body().len();
        let backoff = Backoff { min: self.settings.retry_min, max: self.settings.retry_max, now, random };
        let answer = answer.and_then(|dispositions| match dispositions.len() == request.lines() {
            true => Ok(dispositions),
            false => Err(WriteError::Unavailable(Cause::new(200, "the answer has another number of lines"))),
        });
        let line = answer.as_ref().map_or(LineVerdict::Retry, |dispositions| LineVerdict::new(&dispositions[0]));
        self.waiting.extend(self.blocked.probe_answered(id, line, backoff));
        self.learn(&request, id, &answer, now);
        let evidence = self.evidence(&request, &answer, now);
        let Verdict { host, next, state } = judge(&answer, &request, &evidence);
        match host {
            HostVerdict::Failed(_) | HostVerdict::Refused(_) => self.health.failed = self.next_id,
            HostVerdict::Unknown => self.health.own_faults += 1,
            HostVerdict::Took | HostVerdict::Answered | HostVerdict::Slowed => {}
        }
        self.hosts.answered(ticket, host, backoff);
        request.avoid = Some(ticket.host);
        // A refusal of everything says nothing about the request.
        if !matches!(answer, Err(WriteError::Refused(_))) {
            request.fail(self.next_id, state);
        }
        match answer {
            Ok(dispositions) => Some(self.settle(request, dispositions, next, backoff)),
            Err(error) => self.retry(request, error, next, backoff),
        }
    }

    /// Updates the store's health and the counts of retries.
    fn learn(&mut self, request: &InFlight, id: InFlightId, answer: &Answer, now: Duration) {
        let size = request.batch.body().len();
        match answer {
            Ok(dispositions) => {
                self.size.take(size, now);
                let is_held = |one: &Disposition| matches!(one, Disposition::Stored | Disposition::AlreadyStored);
                if dispositions.iter().any(is_held) {
                    self.health.took(id.0);
                    self.rejected = None;
                }
                // Nearly all lines of a batch are of one day; of several days, the first and the last.
                for line in [0, dispositions.len() - 1] {
                    if dispositions[line] == Disposition::Stored {
                        self.health.took_in(id.0, request.batch.index_name(line));
                    }
                }
            }
            Err(WriteError::Unavailable(_) | WriteError::ResponseTooLong(_)) => self.retries.unavailable += 1,
            Err(WriteError::Refused(_)) => self.retries.refused += 1,
            Err(WriteError::TooLarge(_)) => {
                self.retries.too_large += 1;
                self.size.refuse(size, now);
            }
            Err(WriteError::Rejected(_)) => self.retries.rejected += 1,
        }
    }

    /// The store's health, as far as it bears on this request.
    fn evidence(&self, request: &InFlight, answer: &Answer, now: Duration) -> Evidence {
        let has_failed = |line: &usize| {
            answer.as_ref().map_or(true, |dispositions| LineVerdict::new(&dispositions[*line]) == LineVerdict::Fail)
        };
        let mut indices = (0..request.lines()).filter(has_failed).map(|line| request.batch.index_name(line));
        Evidence {
            now,
            poison_attempts: self.settings.poison_attempts,
            poison_span: self.settings.poison_span,
            taken: self.health.taken(request.since, &mut indices),
            others_failed: request.since.is_some_and(|mark| self.health.failed > mark),
            own_faults: self.health.own_faults,
            requests: self.waiting.len() + self.sent.len(),
        }
    }

    /// Settles the lines that have their outcome, and keeps the others.
    fn settle(
        &mut self,
        request: InFlight,
        mut dispositions: Vec<Disposition>,
        next: Next,
        backoff: Backoff,
    ) -> Settled {
        let (mut blocked, mut failed, mut retried) = (Vec::new(), Vec::new(), Vec::new());
        for (line, disposition) in dispositions.iter().enumerate() {
            match LineVerdict::new(disposition) {
                LineVerdict::Settle => {}
                LineVerdict::Block => blocked.push(line),
                LineVerdict::Fail => failed.push(line),
                LineVerdict::Busy | LineVerdict::Retry => retried.push(line),
            }
        }
        match blocked.len() == dispositions.len() {
            true => self.retries.refused += 1,
            false => self.retries.lines += (blocked.len() + failed.len() + retried.len()) as u64,
        }
        self.block(&request, &blocked, &dispositions, backoff);
        let (attempts, not_before) = (request.attempts, backoff.until(request.attempts));
        self.push_back(InFlight { not_before, ..InFlight::new(request.batch.select(retried), attempts) });
        if next == Next::DeadLetter {
            for line in failed {
                if let Disposition::Retry(cause) = &dispositions[line] {
                    dispositions[line] = Disposition::DeadLetter(cause.clone());
                }
            }
        } else {
            self.push_back(InFlight { not_before, ..request.part(failed) });
        }
        Settled { batch: request.batch, dispositions, attempts }
    }

    /// Blocks the indices of these lines, and keeps the lines until their index takes lines again.
    fn block(&mut self, request: &InFlight, lines: &[usize], dispositions: &[Disposition], backoff: Backoff) {
        for (index, lines) in by_index(&request.batch, lines) {
            if let Disposition::Retry(cause) = &dispositions[lines[0]] {
                self.blocked.block(index, cause.clone(), self.next_id, backoff);
            }
            let part = InFlight::new(request.batch.select(lines), request.attempts);
            self.bytes += part.batch.body().len();
            self.waiting.extend(self.blocked.keep(index, part));
        }
    }

    /// Retries a request without a usable answer, or settles its only line as a dead letter.
    fn retry(&mut self, mut request: InFlight, error: WriteError, next: Next, backoff: Backoff) -> Option<Settled> {
        if matches!(next, Next::RetryLater | Next::BisectLater | Next::Pause) {
            request.not_before = backoff.until(request.failures);
        }
        match next {
            Next::Settle | Next::Retry | Next::RetryLater => self.push_back(request),
            Next::Bisect | Next::BisectLater => self.bisect(&request),
            Next::Pause => {
                self.rejected.get_or_insert_with(|| error.cause().clone());
                self.push_back(request);
            }
            Next::DeadLetter => {
                let dispositions = vec![Disposition::DeadLetter(error.cause().clone())];
                return Some(Settled { batch: request.batch, dispositions, attempts: request.attempts });
            }
        }
        None
    }

    fn bisect(&mut self, request: &InFlight) {
        let count = request.lines();
        for half in [count / 2..count, 0..count / 2] {
            let half = request.part(half);
            self.bytes += half.batch.body().len();
            self.waiting.push_front(half);
        }
    }
}
