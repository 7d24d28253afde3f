//! A store that is down gets few requests, however it answers and however many lines wait.

use super::*;

const REQUESTS: u64 = 500;

/// Requests that failed while the store took others.
const SUSPECTS: u64 = 100;

const HOSTS: u64 = 3;

/// Maximum number of probes: one per host and 15 s, the average of long backoffs, and those until backoffs are long;
/// and half as many more, since backoffs are random.
fn probes(hours: u64) -> u64 {
    HOSTS * (hours * 3_600 / 15 + 20) * 3 / 2
}

/// Answers of a store that is down, to a request of one line.
fn answers() -> [(&'static str, Answer); 13] {
    let unavailable = |kind| Err(WriteError::Unavailable(cause(0).with_kind(kind)));
    [
        ("unreachable", unavailable(CauseKind::Unreachable)),
        ("timed out", unavailable(CauseKind::TimedOut)),
        ("busy", whole(429)),
        ("failing", whole(500)),
        ("unavailable", whole(503)),
        ("refused", whole(401)),
        ("rejected", whole(400)),
        ("too large", whole(413)),
        ("answer too long", Err(WriteError::ResponseTooLong(cause(200)))),
        ("answer of another length", each([])),
        ("each line busy", each([429])),
        ("each line failing", each([500])),
        ("each line redirected", each([302])),
    ]
}

/// The store is down for an hour: it gets few requests, no line becomes a dead letter, and delivery is paused.
fn assert_no_storm(delivery: &mut Delivery, start: u64, way: &str, answer: &Answer) {
    let (waiting, mut sent) = (delivery.waiting.len() as u64, 0);
    let outcomes = deliver(delivery, seconds(start)..seconds(start + 3_600), false, |_, _| {
        sent += 1;
        answer.clone()
    });
    // A rejection may be the request's own fault: each request is tried.
    let tried = if matches!(way, "rejected" | "too large") { 2 * waiting } else { 0 };
    assert!(sent <= probes(1) + tried + 200, "{way}: {sent} requests, {waiting} waiting");
    assert!(delivery.delivery_error().is_some(), "{way}");
    assert!(outcomes.dead.is_empty(), "{way}: {outcomes:?}");
}

#[test]
fn a_store_that_is_down_gets_one_probe_per_backoff_and_host() {
    for (way, answer) in answers() {
        let mut delivery = with_three_hosts();
        // It took something before.
        delivery.offer(batch(5_000..5_001));
        deliver(&mut delivery, seconds(0)..seconds(1), false, |batch, _| stored(batch));
        for offset in 0..REQUESTS {
            delivery.offer(batch(offset..offset + 1));
        }
        assert_no_storm(&mut delivery, 1, way, &answer);
        let outcomes = deliver(&mut delivery, seconds(3_601)..seconds(3_800), false, |batch, _| stored(batch));
        assert_eq!(outcomes.stored.len() as u64, REQUESTS, "{way}");
        assert!(delivery.is_empty() && delivery.bytes() == 0 && delivery.delivery_error().is_none(), "{way}");
    }
}

#[test]
fn suspects_do_not_storm_a_store_that_goes_down() {
    for (way, answer) in answers() {
        let mut delivery = with_three_hosts();
        for offset in 0..SUSPECTS {
            delivery.offer(batch(offset..offset + 1));
        }
        // These fail and others are taken, so that each failure is the request's own fault.
        let outcomes = deliver(&mut delivery, seconds(0)..seconds(1_200), true, |batch, _| {
            if batch.lines().iter().any(|line| line.id.offset >= 1_000) { stored(batch) } else { whole(0) }
        });
        assert!(outcomes.stored.len() > 600, "{}", outcomes.stored.len());
        assert_no_storm(&mut delivery, 1_200, way, &answer);
    }
}
