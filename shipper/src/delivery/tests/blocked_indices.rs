//! Indices that accept no lines while others do.

use super::*;
use crate::delivery::backoff::Backoff;
use crate::delivery::verdict::LineVerdict;

fn block(index: &str) -> Disposition {
    let reason = format!("cluster_block_exception: index [{index}] blocked by: [FORBIDDEN/8/index write (api)];");
    Disposition::Retry(Cause::new(403, reason).with_kind(CauseKind::Block))
}

/// A store that accepts no lines for some indices.
fn stored_unless(batch: &Batch, is_blocked: impl Fn(&str) -> bool) -> Answer {
    let disposition = |line| match batch.index_name(line) {
        index if is_blocked(index) => block(index),
        _ => Disposition::Stored,
    };
    Ok((0..batch.lines().len()).map(disposition).collect())
}

const FIRST: &str = "app-logs-1970.01.01";
const SECOND: &str = "app-logs-1970.01.02";

/// A batch for each of them.
fn mixed(offset: u64) -> [Batch; 2] {
    [batch_of(0, offset..offset + 3), batch_of(1, offset + 3..offset + 6)]
}

#[test]
fn a_blocked_index_holds_up_no_other_and_is_probed_seldom() {
    let mut delivery = Delivery::new(settings());
    let mut sent = 0;
    let mut store = |batch: &Batch, _: Duration| {
        sent += usize::from((0..batch.lines().len()).any(|line| batch.index_name(line) == SECOND));
        stored_unless(batch, |index| index == SECOND)
    };
    let mut outcomes = Outcomes::default();
    for second in 0..3_600 {
        for batch in mixed(second * 10) {
            delivery.offer(batch);
        }
        let one = deliver(&mut delivery, seconds(second)..seconds(second + 1), false, &mut store);
        // No line of the other index is left for the next round.
        assert_eq!((one.stored.len(), one.dead.len()), (3, 0), "{second}");
        outcomes.stored.extend(one.stored);
        assert!(delivery.hosts()[0].delivery_error.is_none() && delivery.waiting.is_empty());
    }
    assert!(sent < 2 * 3_600 / 15 + 20, "{sent}");
    let blocked = delivery.blocked().unwrap();
    assert_eq!((blocked.indices, blocked.lines), (1, 3 * 3_600));
    assert!(delivery.delivery_error().is_none(), "the other index takes lines");
    assert!(blocked.delivery_error.refused && blocked.delivery_error.cause.kind == CauseKind::Block, "{blocked:?}");
    assert!(blocked.delivery_error.cause.reason.starts_with(&format!("index {SECOND} is blocked: cluster_block")));

    let outcomes = deliver(&mut delivery, seconds(3_600)..seconds(3_700), false, |batch, _| stored(batch));
    assert_eq!((outcomes.stored.len(), outcomes.dead.len()), (3 * 3_600, 0));
    assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.blocked().is_none());
    assert!(delivery.delivery_error().is_none());
}

#[test]
fn delivery_is_paused_while_every_known_index_is_blocked() {
    let mut delivery = Delivery::new(settings());
    for batch in mixed(0) {
        delivery.offer(batch);
    }
    let refuse = |batch: &Batch, _: Duration| stored_unless(batch, |index| index == SECOND);
    deliver(&mut delivery, seconds(0)..seconds(60), false, refuse);
    let delivery_error = delivery.delivery_error().unwrap();
    assert!(delivery_error.refused && delivery_error.cause.reason.contains(SECOND), "{delivery_error:?}");
    assert!(delivery.retries().refused >= 4, "{:?}", delivery.retries());
    // It takes something else: not everything is refused.
    delivery.offer(batch_of(0, 10..11));
    deliver(&mut delivery, seconds(60)..seconds(61), false, refuse);
    assert!(delivery.delivery_error().is_none() && delivery.blocked().is_some());
    // Then that index is blocked, too.
    delivery.offer(batch_of(0, 11..12));
    deliver(&mut delivery, seconds(61)..seconds(90), false, |batch, _| stored_unless(batch, |_| true));
    let delivery_error = delivery.delivery_error().unwrap();
    assert!(delivery_error.cause.reason.starts_with(&format!("index {FIRST} (and another index) is blocked: ")));
}

#[test]
fn lines_of_a_blocked_index_are_held_back_from_requests() {
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
    let answer = stored_unless(&request.batch, |index| index == SECOND);
    let settled = delivery.answer(request.id, answer, Duration::ZERO, u64::MAX).unwrap();
    assert_eq!(settled.dispositions.iter().filter(|one| **one == Disposition::Stored).count(), 3);
    assert_eq!(delivery.bytes() * 2, size);
    // The next request is sent without them, and lines that wait count as in flight.
    delivery.offer(batch);
    let request = delivery.next(Duration::ZERO).unwrap();
    assert!((0..request.batch.lines().len()).all(|line| request.batch.index_name(line) == FIRST));
    assert_eq!((request.batch.lines().len(), delivery.bytes() * 2), (3, size * 3));
    assert_eq!(delivery.blocked().unwrap().lines, 6);
    // Only one probe is in flight, with one line.
    let due = delivery.next_at().unwrap();
    let probe = delivery.next(due).unwrap();
    assert_eq!((probe.batch.lines().len(), probe.batch.index_name(0)), (1, SECOND));
    assert!(delivery.next(due + seconds(100)).is_none());
}

#[test]
fn many_blocked_indices_get_few_probes_and_those_that_open_are_found() {
    let mut delivery = Delivery::new(settings());
    let days = 300;
    for day in 0..days {
        delivery.offer(batch_of(day, day as u64 * 2..day as u64 * 2 + 2));
    }
    let mut sent = 0;
    let last = batch_of(days - 1, 0..1).index_name(0).to_owned();
    deliver(&mut delivery, seconds(0)..seconds(3_600), false, |batch, _| {
        sent += 1;
        stored_unless(batch, |_| true)
    });
    assert_eq!(delivery.blocked().unwrap().indices, days as usize);
    assert!(sent < days as usize + 32 * (2 * 3_600 / 15 + 20), "{sent}");
    // One of them opens, then all.
    let store = |batch: &Batch, _: Duration| stored_unless(batch, |name| name != last);
    let outcomes = deliver(&mut delivery, seconds(3_600)..seconds(4_200), false, store);
    assert_eq!(outcomes.stored.len(), 2);
    let outcomes = deliver(&mut delivery, seconds(4_200)..seconds(4_300), false, |batch, _| stored(batch));
    assert_eq!(outcomes.stored.len(), 2 * (days as usize - 1));
    assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.blocked().is_none());
}

#[test]
fn a_probe_whose_answer_says_nothing_about_its_index_loses_nothing() {
    for lines in [1, 2] {
        for answer in [whole(0), whole(500), whole(401), whole(400), whole(413), each([429]), each([500]), each([])] {
            let mut delivery = Delivery::new(settings());
            delivery.offer(batch_of(1, 0..lines));
            let refuse = |batch: &Batch, _: Duration| stored_unless(batch, |_| true);
            deliver(&mut delivery, seconds(0)..seconds(10), false, refuse);
            let due = delivery.next_at().unwrap().max(seconds(10));
            let probe = delivery.next(due).unwrap();
            let settled = delivery.answer(probe.id, answer, due, u64::MAX);
            assert!(settled.is_none_or(|settled| settled.batch.lines().len() == 1) && !delivery.is_empty());
            let opened = due + seconds(60);
            deliver(&mut delivery, due..opened, false, refuse);
            assert_eq!(delivery.blocked().unwrap().indices, 1);
            let outcomes = deliver(&mut delivery, opened..opened + seconds(140), false, |batch, _| stored(batch));
            assert_eq!((outcomes.stored.len() as u64, outcomes.dead.len()), (lines, 0));
            assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.blocked().is_none());
        }
    }
}

fn backoff(now: Duration) -> Backoff {
    Backoff { min: seconds(1), max: seconds(30), now, random: u64::MAX }
}

#[test]
fn after_a_backoff_each_blocked_index_is_probed_again() {
    let mut blocked = BlockedIndices::default();
    for name in [FIRST, SECOND] {
        blocked.block(name, cause(403), 0, backoff(Duration::ZERO));
        assert!(blocked.keep(name, InFlight::new(batch(0..3), 0)).is_none());
    }
    let mut now = blocked.probe_at().unwrap();
    for round in 0..3 {
        for id in [0, 1].map(InFlightId) {
            let (name, line) = blocked.take_probe(now).unwrap_or_else(|| panic!("round {round}: only one was probed"));
            assert!(blocked.keep(&name, line).is_none());
            blocked.sent_probe(id, name);
            assert!(blocked.probe_answered(id, LineVerdict::Block, backoff(now)).is_empty());
        }
        assert!(blocked.probe_at().is_some_and(|at| at > now), "round {round}");
        now = blocked.probe_at().unwrap();
    }
}

#[test]
fn the_cause_of_a_blocked_index_is_the_last_one() {
    let mut blocked = BlockedIndices::default();
    for reason in ["closed", "read-only"] {
        blocked.block(FIRST, Cause::new(403, reason), 0, backoff(Duration::ZERO));
    }
    assert!(blocked.report().is_some_and(|blocked| blocked.delivery_error.cause.reason.ends_with("read-only")));
}
