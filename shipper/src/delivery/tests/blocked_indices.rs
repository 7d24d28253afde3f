//! Indices that take no lines while others do.

use super::*;

fn block(index: &str) -> Disposition {
    let reason = format!("cluster_block_exception: index [{index}] blocked by: [FORBIDDEN/8/index write (api)];");
    Disposition::Retry(Cause::new(403, reason).with_kind(CauseKind::Block))
}

/// A store that takes no lines of some indices.
fn but_for(batch: &Batch, is_shut: impl Fn(&str) -> bool) -> Result<Vec<Disposition>, WriteError> {
    let of = |place| match batch.index_name(place) {
        index if is_shut(index) => block(index),
        _ => Disposition::Stored,
    };
    Ok((0..batch.lines().len()).map(of).collect())
}

const FIRST: &str = "app-logs-1970.01.01";
const SECOND: &str = "app-logs-1970.01.02";

/// A batch with lines of both.
fn mixed(offset: u64) -> [Batch; 2] {
    [batch_of(0, offset..offset + 3), batch_of(1, offset + 3..offset + 6)]
}

#[test]
fn an_index_that_is_shut_holds_up_no_other_and_is_asked_seldom() {
    let mut delivery = Delivery::new(settings());
    let sent_there = std::cell::Cell::new(0);
    let store = |batch: &Batch, _: Duration| {
        sent_there
            .set(sent_there.get() + usize::from((0..batch.lines().len()).any(|at| batch.index_name(at) == SECOND)));
        but_for(batch, |index| index == SECOND)
    };
    let mut fates = Fates::default();
    for second in 0..3_600 {
        for batch in mixed(second * 10) {
            delivery.offer(batch);
        }
        let one = deliver(&mut delivery, seconds(second)..seconds(second + 1), false, store);
        // None of the other index's lines waits for the next round.
        assert_eq!((one.stored.len(), one.dead.len()), (3, 0), "{second}");
        fates.stored.extend(one.stored);
        assert!(delivery.hosts()[0].delivery_error.is_none() && delivery.waiting.is_empty());
    }
    assert!(sent_there.get() < 2 * 3_600 / 15 + 20, "{}", sent_there.get());
    let shut = delivery.shut().unwrap();
    assert_eq!((shut.indices, shut.lines), (1, 3 * 3_600));
    assert!(delivery.delivery_error().is_none(), "others go on");
    assert!(shut.delivery_error.refused && shut.delivery_error.cause.kind == CauseKind::Block, "{shut:?}");
    assert!(shut.delivery_error.cause.reason.starts_with(&format!("no lines of {SECOND}: cluster_block")), "{shut:?}");

    let fates = deliver(&mut delivery, seconds(3_600)..seconds(3_700), false, |batch, _| stored(batch));
    assert_eq!((fates.stored.len(), fates.dead.len()), (3 * 3_600, 0));
    assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.shut().is_none());
    assert!(delivery.delivery_error().is_none());
}

#[test]
fn a_store_of_which_nothing_but_a_refusal_is_known_is_in_trouble() {
    let mut delivery = Delivery::new(settings());
    for batch in mixed(0) {
        delivery.offer(batch);
    }
    let refuse = |batch: &Batch, _: Duration| but_for(batch, |index| index == SECOND);
    deliver(&mut delivery, seconds(0)..seconds(60), false, refuse);
    let delivery_error = delivery.delivery_error().unwrap();
    assert!(delivery_error.refused && delivery_error.cause.reason.contains(SECOND), "{delivery_error:?}");
    assert!(delivery.retries().refused >= 4, "{:?}", delivery.retries());
    // It takes something else: not all is refused.
    delivery.offer(batch_of(0, 10..11));
    deliver(&mut delivery, seconds(60)..seconds(61), false, refuse);
    assert!(delivery.delivery_error().is_none() && delivery.shut().is_some());
    // Then that index, too, is shut.
    delivery.offer(batch_of(0, 11..12));
    deliver(&mut delivery, seconds(61)..seconds(90), false, |batch, _| but_for(batch, |_| true));
    let delivery_error = delivery.delivery_error().unwrap();
    assert!(
        delivery_error.cause.reason.starts_with(&format!("no lines of {FIRST} (and another index): ")),
        "{delivery_error:?}"
    );
}

#[test]
fn lines_of_a_shut_index_are_taken_out_of_what_goes() {
    let mut delivery = Delivery::new(settings());
    let mut builder = BatchBuilder::new("app-logs");
    for offset in 0..6 {
        let id = LineId { generation: GenerationId::new(1, &[0; 10]), offset };
        let day = Timestamp::from_unix_ms(i64::try_from(offset % 2).unwrap() * 86_400_000).day();
        builder.push(id, 1, day, |body| body.extend_from_slice(b"{}"));
    }
    let batch = builder.finish(0);
    let size = batch.body().len();
    delivery.offer(batch.clone());
    let request = delivery.next(Duration::ZERO).unwrap();
    let answer = but_for(&request.batch, |index| index == SECOND);
    let settled = delivery.answer(request.id, answer, Duration::ZERO, u64::MAX).unwrap();
    assert_eq!(settled.dispositions.iter().filter(|one| **one == Disposition::Stored).count(), 3);
    assert_eq!(delivery.bytes() * 2, size);
    // The next one goes without them, and what is kept counts as in flight.
    delivery.offer(batch);
    let request = delivery.next(Duration::ZERO).unwrap();
    assert!((0..request.batch.lines().len()).all(|place| request.batch.index_name(place) == FIRST));
    assert_eq!((request.batch.lines().len(), delivery.bytes() * 2), (3, size * 3));
    assert_eq!(delivery.shut().unwrap().lines, 6);
    // One probe at a time, of one line.
    let due = delivery.next_at().unwrap();
    let probe = delivery.next(due).unwrap();
    assert_eq!((probe.batch.lines().len(), probe.batch.index_name(0)), (1, SECOND));
    assert!(delivery.next(due + seconds(100)).is_none());
}

#[test]
fn of_many_shut_indices_few_are_asked_and_those_that_are_open_again_are_found() {
    let mut delivery = Delivery::new(settings());
    let days = 300;
    for day in 0..days {
        delivery.offer(batch_of(day, day as u64 * 2..day as u64 * 2 + 2));
    }
    let sent = std::cell::Cell::new(0);
    let last = batch_of(days - 1, 0..1).index_name(0).to_owned();
    let count = |batch: &Batch, is_shut: &dyn Fn(&str) -> bool| {
        sent.set(sent.get() + 1);
        but_for(batch, is_shut)
    };
    deliver(&mut delivery, seconds(0)..seconds(3_600), false, |batch, _| count(batch, &|_| true));
    assert_eq!(delivery.shut().unwrap().indices, days as usize);
    assert!(sent.get() < days as usize + 32 * (2 * 3_600 / 15 + 20), "{}", sent.get());
    // One of them is open again, then all.
    let fates =
        deliver(&mut delivery, seconds(3_600)..seconds(4_200), false, |batch, _| count(batch, &|name| name != last));
    assert_eq!(fates.stored.len(), 2);
    let fates = deliver(&mut delivery, seconds(4_200)..seconds(4_300), false, |batch, _| stored(batch));
    assert_eq!(fates.stored.len(), 2 * (days as usize - 1));
    assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.shut().is_none());
}

#[test]
fn a_probe_without_a_word_on_its_index_loses_nothing_and_tells_nothing() {
    for lines in [1, 2] {
        for answer in [
            || unavailable(0),
            || unavailable(500),
            || Err(WriteError::Refused(cause(403))),
            || Err(WriteError::Rejected(cause(400))),
            || Err(WriteError::TooLarge(cause(413))),
            || Ok(vec![Disposition::Retry(cause(429))]),
            || Ok(vec![Disposition::Retry(cause(500))]),
            || Ok(Vec::new()),
        ] {
            let mut delivery = Delivery::new(settings());
            delivery.offer(batch_of(1, 0..lines));
            let refuse = |batch: &Batch, _: Duration| but_for(batch, |_| true);
            deliver(&mut delivery, seconds(0)..seconds(10), false, refuse);
            let due = delivery.next_at().unwrap().max(seconds(10));
            let probe = delivery.next(due).unwrap();
            assert!(
                delivery
                    .answer(probe.id, answer(), due, u64::MAX)
                    .is_none_or(|settled| settled.batch.lines().len() == 1)
            );
            assert!(!delivery.is_empty());
            deliver(&mut delivery, due..due + seconds(60), false, refuse);
            assert_eq!(delivery.shut().unwrap().indices, 1);
            let fates = deliver(&mut delivery, due + seconds(60)..due + seconds(200), false, |batch, _| stored(batch));
            assert_eq!((fates.stored.len() as u64, fates.dead.len()), (lines, 0));
            assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.shut().is_none());
        }
    }
}

#[test]
fn after_a_rest_each_shut_index_is_asked_again() {
    let mut shut = BlockedIndices::new(Backoff { min: seconds(1), max: seconds(30) });
    for name in [FIRST, SECOND] {
        shut.shut(name, cause(403), 0, Duration::ZERO, u64::MAX);
        assert!(shut.keep(name, InFlight::new(batch(0..3))).is_none());
    }
    let mut now = shut.probe_at().unwrap();
    for rest in 0..3 {
        for _ in [FIRST, SECOND] {
            let (name, line) = shut.take_probe(now).unwrap_or_else(|| panic!("after rest {rest} only one was asked"));
            assert!(shut.keep(&name, line).is_none());
            shut.judge(&name, crate::delivery::blocked_indices::Probed::Refused(cause(403)), now, u64::MAX);
        }
        assert!(shut.probe_at().is_some_and(|at| at > now), "rest {rest}");
        now = shut.probe_at().unwrap();
    }
}

#[test]
fn the_cause_of_a_shut_index_is_the_last_one() {
    let mut shut = BlockedIndices::new(Backoff { min: seconds(1), max: seconds(30) });
    for reason in ["closed", "read-only"] {
        shut.shut(FIRST, Cause::new(403, reason), 0, Duration::ZERO, 0);
    }
    assert!(shut.report().is_some_and(|shut| shut.delivery_error.cause.reason.ends_with("read-only")));
}
