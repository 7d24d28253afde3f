//! Sends batches outside of the pipeline by the same rules: replayed dead letters, and lines that a store lacks.

use std::time::Duration;

use store::{Batch, Cause, Disposition, LineId, StoreWriter};

use crate::clock::Clock;
use crate::delivery::{Delivery, DeliverySettings, Request, Settled};

/// Sends until every line is settled, or the store has taken nothing for too long.
pub struct Resender<'a> {
    /// The store.
    pub store: &'a StoreWriter,
    /// Bounds of retries.
    pub settings: DeliverySettings,
    /// How long to retry while the store takes nothing.
    pub patience: Duration,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Resent {
    /// Lines with their dispositions, none of them [`Disposition::Retry`].
    pub settled: Vec<Settled>,
    /// Why the other lines are not settled.
    pub stopped: Option<Cause>,
}

impl Resent {
    /// The lines that are settled.
    pub fn lines(&self) -> impl Iterator<Item = (LineId, &Disposition)> {
        let of = |settled: &'_ Settled| settled.batch.lines().len();
        self.settled.iter().flat_map(move |settled| {
            (0..of(settled)).map(move |place| (settled.batch.lines()[place].id, &settled.dispositions[place]))
        })
    }
}

impl Resender<'_> {
    /// Sends a batch.
    pub async fn send(&self, batch: Batch) -> Resent {
        let clock = Clock::default();
        let mut delivery = Delivery::new(DeliverySettings { hosts: self.store.hosts(), ..self.settings.clone() });
        let mut resent = Resent::default();
        let mut good_at = Duration::ZERO;
        delivery.offer(batch);
        while !delivery.is_empty() {
            let Some(Request { id, host, batch }) = delivery.next(clock.now().elapsed) else {
                let Some(at) = delivery.next_at() else { break };
                tokio::time::sleep(at.saturating_sub(clock.now().elapsed)).await;
                continue;
            };
            let answer = self.store.write_to(host.0, &batch).await;
            let random = uuid::Uuid::new_v4().as_u64_pair().1;
            let now = clock.now().elapsed;
            if let Some(settled) = delivery.answer(id, answer, now, random) {
                if settled.dispositions.iter().any(|disposition| !matches!(disposition, Disposition::Retry(_))) {
                    good_at = now;
                }
                resent.settled.push(without_retries(settled));
            }
            if now > good_at + self.patience {
                let blocked = || delivery.blocked().map(|blocked| blocked.delivery_error);
                let cause = delivery.delivery_error().or_else(blocked).map(|error| error.cause);
                resent.stopped = Some(cause.unwrap_or_else(|| Cause::new(0, "the store takes none of the lines")));
                break;
            }
        }
        resent
    }
}

/// Only the lines that are settled: the others have another answer to come.
fn without_retries(settled: Settled) -> Settled {
    let is_settled = |place: &usize| !matches!(settled.dispositions[*place], Disposition::Retry(_));
    let places: Vec<_> = (0..settled.dispositions.len()).filter(is_settled).collect();
    let dispositions = places.iter().map(|place| settled.dispositions[*place].clone()).collect();
    Settled { batch: settled.batch.select(places), dispositions, attempts: settled.attempts }
}
