//! Delivery by a clock that is handed in: what goes when, and what each answer does to a batch.

mod blocked_indices;
mod storms;

use store::{BatchBuilder, CauseKind, GenerationId, LineId, Timestamp, WriteError};

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

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cause(status: u16) -> Cause {
    Cause::new(status, "no")
}

fn unavailable(status: u16) -> Result<Vec<Disposition>, WriteError> {
    Err(WriteError::Unavailable(cause(status)))
}

fn stored(batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
    Ok(vec![Disposition::Stored; batch.lines().len()])
}

fn has(batch: &Batch, offset: u64) -> bool {
    batch.lines().iter().any(|line| line.id.offset == offset)
}

/// What became of lines, by offset.
#[derive(Default, Debug)]
struct Fates {
    stored: Vec<u64>,
    dead: Vec<u64>,
}

impl Fates {
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

/// Delivers until nothing is left or the time is over, with a batch of one good line from offset 1000 on each second.
fn deliver(
    delivery: &mut Delivery,
    time: std::ops::Range<Duration>,
    with_traffic: bool,
    store: impl Fn(&Batch, Duration) -> Result<Vec<Disposition>, WriteError>,
) -> Fates {
    let (mut now, mut fates, mut traffic) = (time.start, Fates::default(), 1_000);
    let mut random = 1_u64;
    while now < time.end {
        if with_traffic && now.as_secs() >= traffic - 1_000 {
            delivery.offer(batch(traffic..traffic + 1));
            traffic += 1;
        }
        while let Some(request) = delivery.next(now) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            fates.take(delivery.answer(request.id, store(&request.batch, now), now, random));
        }
        now += Duration::from_millis(50);
    }
    fates
}

#[test]
fn lines_in_need_go_again_alone_and_later() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..3));
    let request = delivery.next(Duration::ZERO).unwrap();
    let answer = vec![Disposition::Stored, Disposition::Retry(cause(429)), Disposition::AlreadyStored];
    let settled = delivery.answer(request.id, Ok(answer), Duration::ZERO, u64::MAX).unwrap();
    assert_eq!(settled.dispositions.len(), 3);
    assert!(delivery.next(Duration::ZERO).is_none());
    let again = delivery.next(delivery.next_at().unwrap()).unwrap().batch;
    assert_eq!(again.lines().len(), 1);
    assert_eq!(again.lines()[0].id.offset, 1);
    assert_eq!(delivery.retries().lines, 1);
}

#[test]
fn one_spoilt_line_is_found_and_its_neighbours_are_stored() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..37));
    let fates = deliver(&mut delivery, seconds(0)..seconds(60), false, |batch, _| {
        if has(batch, 23) { Err(WriteError::Rejected(cause(400))) } else { stored(batch) }
    });
    assert_eq!((fates.dead.as_slice(), fates.stored.len()), (&[23][..], 36));
    assert!(delivery.is_empty() && delivery.bytes() == 0);
}

#[test]
fn a_store_that_rejects_everything_makes_no_dead_letters_and_is_not_stormed() {
    let mut delivery = Delivery::new(settings());
    for offset in 0..40 {
        delivery.offer(batch(offset * 100..offset * 100 + 100));
    }
    let sent = std::cell::Cell::new(0);
    let fates = deliver(&mut delivery, seconds(0)..seconds(600), false, |_, _| {
        sent.set(sent.get() + 1);
        Err(WriteError::Rejected(cause(400)))
    });
    assert!(fates.dead.is_empty() && delivery.parcels_waiting() <= 40 + 32, "{}", delivery.parcels_waiting());
    assert!(delivery.delivery_error().is_some_and(|delivery_error| delivery_error.refused));
    // Each parcel about once in 15 s, and a few times before.
    assert!(sent.get() < 72 * (600 / 15 + 15), "{}", sent.get());
    let fates = deliver(&mut delivery, seconds(600)..seconds(700), false, |batch, _| stored(batch));
    assert_eq!(fates.stored.len(), 4_000);
    assert!(delivery.delivery_error().is_none());
}

#[test]
fn a_store_in_trouble_is_left_alone_and_then_asked_once() {
    let mut delivery = Delivery::new(settings());
    for offset in 0..4 {
        delivery.offer(batch(offset..offset + 1));
    }
    let first = delivery.next(Duration::ZERO).unwrap();
    delivery.answer(first.id, stored(&first.batch), Duration::ZERO, 0).unwrap();
    let (first, second) = (delivery.next(Duration::ZERO).unwrap(), delivery.next(Duration::ZERO).unwrap());
    for request in [first, second] {
        assert!(delivery.answer(request.id, unavailable(503), Duration::ZERO, u64::MAX / 2).is_none());
    }
    assert!(delivery.next(Duration::from_millis(10)).is_none() && delivery.delivery_error().is_some());
    let later = delivery.next_at().unwrap();
    let probe = delivery.next(later).unwrap();
    assert!(delivery.next(later).is_none() && delivery.next_at().is_none());
    delivery.answer(probe.id, stored(&probe.batch), later, 0).unwrap();
    assert!(delivery.delivery_error().is_none());
    assert!(delivery.next(later).is_some());
}

#[test]
fn a_host_that_fails_does_not_pause_the_others() {
    let hosts = ["one", "two", "three"].map(str::to_owned).to_vec();
    let mut delivery = Delivery::new(DeliverySettings { hosts, ..settings() });
    for offset in 0..100 {
        delivery.offer(batch(offset..offset + 1));
    }
    let (mut fates, mut failed) = (Fates::default(), 0);
    while let Some(request) = delivery.next(Duration::ZERO) {
        let answer = if request.host.0 == 1 { unavailable(0) } else { stored(&request.batch) };
        failed += usize::from(answer.is_err());
        fates.take(delivery.answer(request.id, answer, Duration::ZERO, u64::MAX));
        assert!(delivery.delivery_error().is_none());
    }
    assert_eq!((fates.stored.len(), failed), (100, 1));
    assert!(delivery.hosts()[1].delivery_error.is_some());
}

#[test]
fn an_answer_of_another_length_tells_nothing() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..2));
    let request = delivery.next(Duration::ZERO).unwrap();
    assert!(delivery.answer(request.id, Ok(vec![Disposition::Stored]), Duration::ZERO, 0).is_none());
    assert_eq!(delivery.bytes(), batch(0..2).body().len());
}

#[test]
fn a_size_that_was_refused_is_not_sent_again() {
    let mut delivery = Delivery::new(settings());
    let limit = batch(0..10).body().len();
    for offset in 0..20 {
        delivery.offer(batch(offset * 64..offset * 64 + 64));
    }
    let refused = std::cell::RefCell::new(Vec::new());
    let fates = deliver(&mut delivery, seconds(0)..seconds(10), false, |batch, _| {
        if batch.body().len() <= limit {
            return stored(batch);
        }
        refused.borrow_mut().push(batch.body().len());
        Err(WriteError::TooLarge(cause(413)))
    });
    assert_eq!((fates.stored.len(), fates.dead.len()), (20 * 64, 0));
    assert!(refused.borrow().len() <= 6, "{refused:?}");
    let line = batch(0..1).body().len();
    assert!(delivery.request_max_bytes().is_some_and(|allowed| allowed < limit + line && allowed > limit / 2));
}

#[test]
fn a_line_that_the_store_fails_over_holds_up_no_other_and_is_given_up_in_time() {
    for as_item in [true, false] {
        for with_traffic in [true, false] {
            let mut delivery = Delivery::new(settings());
            delivery.offer(batch(0..37));
            let fates = deliver(&mut delivery, seconds(0)..seconds(1_200), with_traffic, |batch, _| {
                if !has(batch, 23) {
                    return stored(batch);
                }
                if !as_item {
                    return unavailable(500);
                }
                let of = |line: &store::BatchLine| {
                    if line.id.offset == 23 { Disposition::Retry(cause(500)) } else { Disposition::Stored }
                };
                Ok(batch.lines().iter().map(of).collect())
            });
            let own = fates.stored.iter().filter(|offset| **offset < 1_000).count();
            assert_eq!(own, 36, "{as_item} {with_traffic}");
            // With nothing else to go by, nobody knows whether the store is well: the line waits.
            assert_eq!(fates.dead, if with_traffic { vec![23] } else { Vec::new() }, "{as_item} {with_traffic}");
        }
    }
}

#[test]
fn a_store_that_is_down_is_never_taken_for_a_poison_line() {
    // Down for an hour in each way that there is; or now and then; or for one index only.
    for status in [0, 429, 500, 502, 503, 504] {
        for pattern in 0..3 {
            let mut delivery = Delivery::new(settings());
            for offset in 0..20 {
                delivery.offer(batch(offset..offset + 1));
            }
            delivery.offer(batch(100..200));
            let fates = deliver(&mut delivery, seconds(0)..seconds(3_600), pattern > 0, |batch, now| {
                let is_down = match pattern {
                    0 => true,
                    1 => now.as_millis() / 50 % 7 != 0,
                    _ => now.as_secs() / 90 % 2 == 0,
                };
                if is_down { unavailable(status) } else { stored(batch) }
            });
            assert!(fates.dead.is_empty(), "{status} {pattern}: {fates:?}");
            assert!(pattern > 0 || delivery.parcels_waiting() <= HALVED_ON_TRIAL_MAX + 1);
        }
    }
}

#[test]
fn parts_of_a_parcel_do_not_keep_the_whole() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..100));
    let request = delivery.next(Duration::ZERO).unwrap();
    let whole = request.batch.body().as_ptr_range();
    delivery.answer(request.id, Err(WriteError::Rejected(cause(400))), Duration::ZERO, 0);
    let half = delivery.next(Duration::ZERO).unwrap().batch;
    assert!(!whole.contains(&half.body().as_ptr()));
}

impl Delivery {
    fn parcels_waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[test]
fn after_an_answer_that_is_too_long_to_read_smaller_requests_go_and_nothing_is_given_up() {
    let too_long = || Err(WriteError::ResponseTooLong(Cause::new(200, "too long").with_kind(CauseKind::Unreadable)));
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..64));
    let fates = deliver(&mut delivery, seconds(0)..seconds(60), false, |batch, _| {
        if batch.lines().len() > 10 { too_long() } else { stored(batch) }
    });
    assert_eq!((fates.stored.len(), fates.dead.len()), (64, 0));
    // Who answers everything so is not flooded with requests of a line each, and takes no line with him.
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..1_000));
    let fates = deliver(&mut delivery, seconds(0)..seconds(600), false, |_, _| too_long());
    assert_eq!((fates.stored.len(), fates.dead.len()), (0, 0));
    assert!(delivery.waiting.len() <= HALVED_ON_TRIAL_MAX, "{}", delivery.waiting.len());
    let fates = deliver(&mut delivery, seconds(600)..seconds(900), false, |batch, _| stored(batch));
    assert_eq!((fates.stored.len(), fates.dead.len()), (1_000, 0));
}

#[test]
fn a_busy_store_is_left_alone_whatever_failed_before() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..1));
    // It fails by its own fault: others get through.
    deliver(
        &mut delivery,
        seconds(0)..seconds(20),
        true,
        |batch, _| {
            if has(batch, 0) { unavailable(500) } else { stored(batch) }
        },
    );
    assert!(delivery.delivery_error().is_none());
    let at = delivery.next_at().unwrap().max(seconds(20));
    let request = delivery.next(at).unwrap();
    assert!(has(&request.batch, 0));
    assert!(delivery.answer(request.id, unavailable(429), at, u64::MAX).is_none());
    assert!(delivery.delivery_error().is_some_and(|delivery_error| delivery_error.cause.kind == CauseKind::Busy));
}

#[test]
fn a_store_that_is_down_now_and_then_makes_no_line_poison() {
    let mut delivery = Delivery::new(settings());
    delivery.offer(batch(0..1));
    let fates = deliver(&mut delivery, seconds(0)..seconds(3_600), true, |batch, now| match now.as_secs() % 30 {
        0 => unavailable(503),
        _ if has(batch, 0) => unavailable(500),
        _ => stored(batch),
    });
    assert!(fates.dead.is_empty(), "{:?}", fates.dead);
}

#[test]
fn a_line_that_the_store_fails_over_has_its_time() {
    let mut delivery = Delivery::new(DeliverySettings { poison_span: seconds(1_800), ..settings() });
    delivery.offer(batch(0..1));
    let fails = |batch: &Batch, _: Duration| if has(batch, 0) { unavailable(500) } else { stored(batch) };
    let fates = deliver(&mut delivery, seconds(0)..seconds(1_700), true, fails);
    assert!(fates.dead.is_empty());
    let fates = deliver(&mut delivery, seconds(1_700)..seconds(3_600), true, fails);
    assert_eq!(fates.dead, [0]);
}

#[test]
fn a_host_that_is_busy_for_some_lines_gets_half_as_many_requests() {
    let mut delivery = Delivery::new(DeliverySettings { requests_in_flight: 8, ..settings() });
    for offset in 0..100 {
        delivery.offer(batch(offset * 2..offset * 2 + 2));
    }
    for _ in 0..50 {
        let request = delivery.next(Duration::ZERO).unwrap();
        delivery.answer(request.id, stored(&request.batch), Duration::ZERO, 0).unwrap();
    }
    assert_eq!(delivery.hosts()[0].in_flight_max, 8);
    let request = delivery.next(Duration::ZERO).unwrap();
    let answer = vec![Disposition::Stored, Disposition::Retry(cause(429))];
    delivery.answer(request.id, Ok(answer), Duration::ZERO, 0).unwrap();
    assert_eq!(delivery.hosts()[0].in_flight_max, 4);
}
