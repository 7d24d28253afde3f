//! Sends batches outside of the pipeline, by the same rules: replayed dead letters, and missing lines sent again.

use std::time::Duration;

use store::{Batch, Cause, Disposition, LineId, StoreWriter};

use crate::clock::Clock;
use crate::delivery::{Delivery, DeliverySettings, Request, Settled};

/// Sends batches until every line has its disposition, or the store has accepted nothing for too long.
pub struct Resender<'a> {
    /// The store.
    pub store: &'a StoreWriter,
    /// Delivery settings.
    pub settings: DeliverySettings,
    /// How long to wait for a store that does not accept lines.
    pub timeout: Duration,
}

/// The result of sending a batch.
#[derive(Debug, Default)]
pub struct Resent {
    /// Lines with their dispositions, none of them [`Disposition::Retry`].
    pub settled: Vec<Settled>,
    /// Why the other lines have no disposition.
    pub stopped: Option<Cause>,
}

impl Resent {
    /// The lines that have their disposition.
    pub fn lines(&self) -> impl Iterator<Item = (LineId, &Disposition)> {
        self.settled.iter().flat_map(|settled| {
            let ids = settled.batch.lines().iter().map(|line| line.id);
            ids.zip(&settled.dispositions)
        })
    }
}

impl Resender<'_> {
    /// Sends a batch.
    pub async fn send(&self, batch: Batch) -> Resent {
        let clock = Clock::default();
        let mut delivery = Delivery::new(DeliverySettings { hosts: self.store.hosts(), ..self.settings.clone() });
        let mut resent = Resent::default();
        let mut last_progress = Duration::ZERO;
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
                    last_progress = now;
                }
                resent.settled.push(without_retries(settled));
            }
            if now > last_progress + self.timeout {
                let blocked = || delivery.blocked().map(|blocked| blocked.delivery_error);
                let cause = delivery.delivery_error().or_else(blocked).map(|error| error.cause);
                resent.stopped = Some(cause.unwrap_or_else(|| Cause::new(0, "the store accepts none of the lines")));
                break;
            }
        }
        resent
    }
}

/// Removes lines that will be sent again; a later answer has their disposition.
fn without_retries(settled: Settled) -> Settled {
    let is_settled = |index: &usize| !matches!(settled.dispositions[*index], Disposition::Retry(_));
    let indices: Vec<_> = (0..settled.dispositions.len()).filter(is_settled).collect();
    let dispositions = indices.iter().map(|index| settled.dispositions[*index].clone()).collect();
    Settled { batch: settled.batch.select(indices), dispositions, attempts: settled.attempts }
}
