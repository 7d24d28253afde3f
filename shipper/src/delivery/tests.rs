//! Delivery with a modelled clock and store: what is sent when, and what becomes of each line.

mod blocked_indices;
mod storms;
mod verdicts;

use store::{BatchBuilder, BatchLine, CauseKind, GenerationId, LineId, Timestamp, WriteError};

use super::verdict::{Answer, TRIAL_REQUESTS_MAX};
use super::*;

fn settings() -> DeliverySettings {
    DeliverySettings {
        hosts: vec!["one:9200".to_owned()],
        requests_in_flight: 2,
        retry_min: Duration::from_millis(100),
        retry_max: Duration::from_secs(30),
        poison_attempts: 4,
        poison_span: Duration::from_secs(60),
    }
}

fn with_three_hosts() -> Delivery {
    let hosts = ["one", "two", "three"].map(str::to_owned).to_vec();
    Delivery::new(DeliverySettings { hosts, ..settings() })
}

fn batch(offsets: std::ops::Range<u64>) -> Batch {
    batch_of(0, offsets)
}

/// Lines of a day of 1970.
fn batch_of(day: i64, offsets: std::ops::Range<u64>) -> Batch {
    let mut builder = BatchBuilder::new("app-logs");
    for offset in offsets {
        let id = LineId { generation: GenerationId::new(1, &[0; 10]), offset };
        builder.push(id, 1, Timestamp::from_unix_ms(day * 86_400_000).day(), |body| body.extend_from_slice(b"{}"));
    }
    builder.finish(0)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cause(status: u16) -> Cause {
    Cause::new(status, "no")
}

/// An answer for each line, with these statuses.
fn each<const N: usize>(statuses: [u16; N]) -> Answer {
    let disposition = |status| match status {
        201 => Disposition::Stored,
        409 => Disposition::AlreadyStored,
        400 => Disposition::DeadLetter(cause(400)),
        403 => Disposition::Retry(cause(403).with_kind(CauseKind::Block)),
        _ => Disposition::Retry(cause(status)),
    };
    Ok(statuses.map(disposition).to_vec())
}

/// An answer with this status and without items; 0 for a reset connection.
fn whole(status: u16) -> Answer {
    Err(match status {
        400 => WriteError::Rejected(cause(400)),
        401 => WriteError::Refused(cause(401)),
        413 => WriteError::TooLarge(cause(413)),
        _ => WriteError::Unavailable(cause(status)),
    })
}

fn stored(batch: &Batch) -> Answer {
    Ok(vec![Disposition::Stored; batch.lines().len()])
}

fn has(batch: &Batch, offset: u64) -> bool {
    batch.lines().iter().any(|line| line.id.offset == offset)
}

/// Outcomes of lines, by offset.
#[derive(Default, Debug)]
struct Outcomes {
    stored: Vec<u64>,
    dead: Vec<u64>,
}

impl Outcomes {
    fn take(&mut self, settled: Option<Settled>) {
        let Some(settled) = settled else { return };
        for (line, disposition) in settled.batch.lines().iter().zip(settled.dispositions) {
            match disposition {
                Disposition::DeadLetter(_) => self.dead.push(line.id.offset),
                Disposition::Retry(_) => {}
                _ => self.stored.push(line.id.offset),
            }
        }
    }
}

/// Delivers during `time`; `with_traffic` adds a batch of one line each second, from offset 1000 on.
fn deliver(
    delivery: &mut Delivery,
    time: std::ops::Range<Duration>,
    with_traffic: bool,
    mut store: impl FnMut(&Batch, Duration) -> Answer,
) -> Outcomes {
    let (mut now, mut outcomes, mut traffic) = (time.start, Outcomes::default(), 1_000);
    let mut random = 1_u64;
    while now < time.end {
        if with_traffic && now.as_secs() >= traffic - 1_000 {
            delivery.offer(batch(traffic..traffic + 1));
            traffic += 1;
        }
        while let Some(request) = delivery.next(now) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            outcomes.take(delivery.answer(request.id, store(&request.batch, now), now, random));
        }
        now += Duration::from_millis(50);
    }
    outcomes
}

#[test]
fn lines_that_are_not_settled_are_retried_alone_after_a_backoff() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..3));
    let request = delivery.next(Duration::ZERO).unwrap();
    let settled = delivery.answer(request.id, each([201, 429, 409]), Duration::ZERO, u64::MAX).unwrap();
    assert_eq!(settled.dispositions.len(), 3);
    assert!(delivery.next(Duration::ZERO).is_none());
    let again = delivery.next(delivery.next_at().unwrap()).unwrap().batch;
    assert!(again.lines().len() == 1 && has(&again, 1));
    assert_eq!(delivery.retries().lines, 1);
}

#[test]
fn an_invalid_line_is_found_and_its_neighbours_are_stored() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..37));
    let outcomes =
        deliver(
            &mut delivery,
            seconds(0)..seconds(60),
            false,
            |batch, _| {
                if has(batch, 23) { whole(400) } else { stored(batch) }
            },
        );
    assert_eq!((outcomes.dead.as_slice(), outcomes.stored.len()), (&[23][..], 36));
    assert!(delivery.is_empty() && delivery.bytes() == 0);
}

#[test]
fn a_store_that_rejects_everything_makes_no_dead_letters_and_gets_few_requests() {
    let mut delivery = Delivery::new(settings());
    for offset in 0..40 {
        delivery.offer(batch(offset * 100..offset * 100 + 100));
    }
    let mut sent = 0;
    let outcomes = deliver(&mut delivery, seconds(0)..seconds(600), false, |_, _| {
        sent += 1;
        whole(400)
    });
    assert!(outcomes.dead.is_empty() && delivery.waiting.len() <= 40 + 32, "{}", delivery.waiting.len());
    assert!(delivery.delivery_error().is_some_and(|delivery_error| delivery_error.refused));
    // Each request about once in 15 s, and a few times before.
    assert!(sent < 72 * (600 / 15 + 15), "{sent}");
    let outcomes = deliver(&mut delivery, seconds(600)..seconds(700), false, |batch, _| stored(batch));
    assert_eq!(outcomes.stored.len(), 4_000);
    assert!(delivery.delivery_error().is_none());
}

#[test]
fn what_is_taken_after_the_first_rejection_is_evidence() {
    let mut delivery = with_three_hosts();
    delivery.offer(batch(0..1));
    let first = delivery.next(Duration::ZERO).unwrap();
    assert!(delivery.answer(first.id, whole(400), Duration::ZERO, 0).is_none());
    delivery.offer(batch(1..2));
    let [second, other] = [(); 2].map(|()| delivery.next(Duration::ZERO).unwrap());
    assert!(has(&second.batch, 0) && second.host != first.host && has(&other.batch, 1));
    assert!(delivery.answer(second.id, whole(400), Duration::ZERO, 0).is_none());
    delivery.answer(other.id, each([201]), Duration::ZERO, 0).unwrap();
    let third = delivery.next(Duration::ZERO).unwrap();
    let settled = delivery.answer(third.id, whole(400), Duration::ZERO, 0).unwrap();
    assert_eq!(settled.dispositions, [Disposition::DeadLetter(cause(400))]);
}

#[test]
fn a_refusal_of_everything_says_nothing_about_the_request() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..1));
    let request = delivery.next(Duration::ZERO).unwrap();
    assert!(delivery.answer(request.id, whole(401), Duration::ZERO, 0).is_none());
    let InFlight { failures, since, avoid, .. } = delivery.waiting[0];
    assert_eq!((failures, since, avoid), (0, None, Some(request.host)));
}

#[test]
fn a_size_that_was_too_large_is_not_sent_again() {
    let mut delivery = Delivery::new(settings());
    let limit = batch(0..10).body().len();
    for offset in 0..20 {
        delivery.offer(batch(offset * 64..offset * 64 + 64));
    }
    let mut refused = Vec::new();
    let outcomes = deliver(&mut delivery, seconds(0)..seconds(10), false, |batch, _| {
        if batch.body().len() <= limit {
            return stored(batch);
        }
        refused.push(batch.body().len());
        whole(413)
    });
    assert_eq!((outcomes.stored.len(), outcomes.dead.len()), (20 * 64, 0));
    assert!(refused.len() <= 6, "{refused:?}");
    let line = batch(0..1).body().len();
    assert!(delivery.request_max_bytes().is_some_and(|allowed| allowed < limit + line && allowed > limit / 2));
}

#[test]
fn a_poison_line_holds_up_no_other_and_becomes_a_dead_letter() {
    for as_item in [true, false] {
        for with_traffic in [true, false] {
            let mut delivery = Delivery::new(settings());
            delivery.offer(batch(0..37));
            let bad = || Disposition::Retry(cause(500));
            let each = |line: &BatchLine| if line.id.offset == 23 { bad() } else { Disposition::Stored };
            let store = |batch: &Batch, _: Duration| match as_item || !has(batch, 23) {
                true => Ok(batch.lines().iter().map(each).collect()),
                false => whole(500),
            };
            let outcomes = deliver(&mut delivery, seconds(0)..seconds(1_200), with_traffic, store);
            let own = outcomes.stored.iter().filter(|offset| **offset < 1_000).count();
            assert_eq!(own, 36, "{as_item} {with_traffic}");
            // Without other lines there is no evidence that the store works: the line waits.
            assert_eq!(outcomes.dead, if with_traffic { vec![23] } else { Vec::new() }, "{as_item} {with_traffic}");
        }
    }
}

#[test]
fn a_store_that_is_down_makes_no_dead_letters() {
    // Down for an hour, most of the time, or every other 90 s.
    for status in [0, 429, 500, 502, 503, 504] {
        for pattern in 0..3 {
            let mut delivery = Delivery::new(settings());
            for offset in 0..20 {
                delivery.offer(batch(offset..offset + 1));
            }
            delivery.offer(batch(100..200));
            let outcomes = deliver(&mut delivery, seconds(0)..seconds(3_600), pattern > 0, |batch, now| {
                let is_down = match pattern {
                    0 => true,
                    1 => now.as_millis() / 50 % 7 != 0,
                    _ => now.as_secs() / 90 % 2 == 0,
                };
                if is_down { whole(status) } else { stored(batch) }
            });
            assert!(outcomes.dead.is_empty(), "{status} {pattern}: {outcomes:?}");
            assert!(pattern > 0 || delivery.waiting.len() <= TRIAL_REQUESTS_MAX + 1);
        }
    }
}

#[test]
fn a_half_does_not_keep_the_body_of_the_whole() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..100));
    let request = delivery.next(Duration::ZERO).unwrap();
    let range = request.batch.body().as_ptr_range();
    delivery.answer(request.id, whole(400), Duration::ZERO, 0);
    let half = delivery.next(Duration::ZERO).unwrap().batch;
    assert!(!range.contains(&half.body().as_ptr()));
}

#[test]
fn a_store_that_is_down_now_and_then_makes_no_dead_letters() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..1));
    let outcomes = deliver(&mut delivery, seconds(0)..seconds(3_600), true, |batch, now| match now.as_secs() % 30 {
        0 => whole(503),
        _ if has(batch, 0) => whole(500),
        _ => stored(batch),
    });
    assert!(outcomes.dead.is_empty(), "{:?}", outcomes.dead);
}
