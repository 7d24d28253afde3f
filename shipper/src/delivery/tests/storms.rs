//! However a store is out, and however much waits, few requests go there.

use super::*;

type Answer = Box<dyn Fn(&Batch) -> Result<Vec<Disposition>, WriteError>>;

const PARCELS: u64 = 500;

/// Requests that failed while others got through.
const SUSPECTS: u64 = 100;

const HOSTS: u64 = 3;

/// A probe of each host every 15 s on the average once backoffs are long, and those until then; half as many more, since
/// chance is chance.
fn probes(hours: u64) -> u64 {
    HOSTS * (hours * 3_600 / 15 + 20) * 3 / 2
}

fn all_ways_to_be_out() -> Vec<(&'static str, Answer)> {
    let whole = |error: fn() -> WriteError| -> Answer { Box::new(move |_| Err(error())) };
    let each = |status: u16| -> Answer {
        Box::new(move |batch| Ok(vec![Disposition::Retry(cause(status)); batch.lines().len()]))
    };
    vec![
        ("unreachable", whole(|| WriteError::Unavailable(cause(0).with_kind(CauseKind::Unreachable)))),
        ("timed out", whole(|| WriteError::Unavailable(cause(0).with_kind(CauseKind::TimedOut)))),
        ("busy", whole(|| WriteError::Unavailable(cause(429)))),
        ("failing", whole(|| WriteError::Unavailable(cause(500)))),
        ("unavailable", whole(|| WriteError::Unavailable(cause(503)))),
        ("refused", whole(|| WriteError::Refused(cause(401)))),
        ("rejected", whole(|| WriteError::Rejected(cause(400)))),
        ("too large", whole(|| WriteError::TooLarge(cause(413)))),
        ("too long", whole(|| WriteError::ResponseTooLong(cause(200)))),
        ("no answer of this length", Box::new(|_| Ok(Vec::new()))),
        ("each line busy", each(429)),
        ("each line failing", each(500)),
        ("each line without a word", each(302)),
    ]
}

fn of_three_hosts() -> Delivery {
    let hosts = ["one", "two", "three"].map(str::to_owned).to_vec();
    Delivery::new(DeliverySettings { hosts, ..settings() })
}

#[test]
fn a_store_that_is_out_gets_a_probe_a_backoff_from_each_host() {
    for (way, answer) in all_ways_to_be_out() {
        let mut delivery = of_three_hosts();
        // It took something before.
        delivery.offer(batch(5_000..5_001));
        deliver(&mut delivery, seconds(0)..seconds(1), false, |batch, _| stored(batch));
        for offset in 0..PARCELS {
            delivery.offer(batch(offset..offset + 1));
        }
        let sent = std::cell::Cell::new(0);
        let fates = deliver(&mut delivery, seconds(1)..seconds(3_601), false, |batch, _| {
            sent.set(sent.get() + 1);
            answer(batch)
        });
        // What only looks like the request's own fault is tried once for each.
        let tried = if matches!(way, "rejected" | "too large") { 2 * PARCELS } else { 0 };
        assert!(sent.get() <= probes(1) + tried, "{way}: {} requests", sent.get());
        assert!(delivery.delivery_error().is_some(), "{way}");
        assert!(fates.dead.is_empty(), "{way}: {fates:?}");
        let fates = deliver(&mut delivery, seconds(3_601)..seconds(3_800), false, |batch, _| stored(batch));
        assert_eq!(fates.stored.len() as u64, PARCELS, "{way}");
    }
}

#[test]
fn what_failed_by_itself_before_a_store_was_out_is_no_storm_either() {
    for (way, answer) in all_ways_to_be_out() {
        let mut delivery = of_three_hosts();
        for offset in 0..SUSPECTS {
            delivery.offer(batch(offset..offset + 1));
        }
        // These fail and others get through, so that each failure is taken for the request's own.
        let fates = deliver(&mut delivery, seconds(0)..seconds(1_200), true, |batch, _| {
            if has_traffic(batch) { stored(batch) } else { unavailable(0) }
        });
        assert!(fates.stored.len() > 600, "{}", fates.stored.len());
        let sent = std::cell::Cell::new(0);
        let fates = deliver(&mut delivery, seconds(1_200)..seconds(4_800), false, |batch, _| {
            sent.set(sent.get() + 1);
            answer(batch)
        });
        let waiting = delivery.parcels_waiting() as u64;
        let tried = if matches!(way, "rejected" | "too large") { 2 * waiting } else { 0 };
        assert!(sent.get() <= probes(1) + tried + 200, "{way}: {} requests, {waiting} parcels", sent.get());
        assert!(delivery.delivery_error().is_some(), "{way}");
        assert!(fates.dead.is_empty(), "{way}: {fates:?}");
    }
}

fn has_traffic(batch: &Batch) -> bool {
    batch.lines().iter().any(|line| line.id.offset >= 1_000)
}
