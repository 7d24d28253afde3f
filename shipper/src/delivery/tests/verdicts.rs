//! The table of verdicts: what an answer means, by what happened to the request and to the store before.

use super::*;
use crate::delivery::hosts::HostVerdict::{self, Answered, Failed, Refused, Slowed, Took, Unknown};
use crate::delivery::in_flight::State::{self, Clear, Invalid, Poison, Rejected, Suspect};
use crate::delivery::verdict::{Answer, Evidence, LineVerdict, Next, Taken, Verdict, judge};
use Next::{Bisect, BisectLater, DeadLetter, Pause, Retry, RetryLater, Settle};

static NO_CAUSE: Cause = Cause { status: 0, kind: CauseKind::Failing, reason: String::new() };
const EJECT: HostVerdict<'_> = Failed(&NO_CAUSE);
const REFUSE: HostVerdict<'_> = Refused(&NO_CAUSE);

/// The store took something before the request failed, and nothing since. Delivery holds many requests.
const IDLE: Evidence = Evidence {
    now: seconds(9),
    poison_attempts: 4,
    poison_span: seconds(9),
    taken: Taken::Before,
    others_failed: false,
    own_faults: 0,
    requests: 32,
};
/// The same, and delivery holds few requests.
const FEW: Evidence = Evidence { requests: 31, ..IDLE };
/// The store never took anything.
const NEVER: Evidence = Evidence { taken: Taken::Nothing, ..IDLE };
/// The store works: it took a later request.
const WORKS: Evidence = Evidence { taken: Taken::Since, ..IDLE };
/// The store is sound: it took a later request into the same index.
const SOUND: Evidence = Evidence { taken: Taken::SinceInIndex, ..IDLE };
/// The same, but another request failed.
const FLAKY: Evidence = Evidence { others_failed: true, ..SOUND };
/// The same as sound, but 64 failures in a row were the requests' own fault.
const OUT: Evidence = Evidence { own_faults: 64, ..SOUND };

/// The situation, the answer, the request's lines, failures and state, the store's health, and the verdict.
type Row = (&'static str, Answer, (u64, u32, State), Evidence, Expected);
/// What the answer says about the host, what becomes of the lines that failed, and their state.
type Expected = (HostVerdict<'static>, Next, State);

/// Poison is ripe after four attempts over nine seconds.
#[rustfmt::skip]
fn table() -> Vec<Row> {
    let late = || Err(WriteError::Unavailable(cause(0).with_kind(CauseKind::TimedOut)));
    let long = || Err(WriteError::ResponseTooLong(cause(200)));
    let suspect = |failures| Suspect { failures };
    let poison = |failures, since| Poison { failures, since: seconds(since) };
    let times = |times| Rejected { times };
    vec![
    // Each line has its own answer. Lines that did not fail are settled or retried, or block their index (403).
    ("all settled",               each([409, 400]), (2, 0, Clear),        IDLE,  (Took,     Settle,      Clear)),
    ("some busy",                 each([201, 429]), (2, 0, Clear),        IDLE,  (Slowed,   Settle,      Clear)),
    ("some unavailable",          each([201, 503]), (2, 0, Clear),        IDLE,  (Took,     Settle,      Clear)),
    ("all busy",                  each([429, 429]), (2, 0, Clear),        IDLE,  (EJECT,    Settle,      Clear)),
    ("some indices blocked",      each([201, 403]), (2, 0, Clear),        IDLE,  (Took,     Settle,      Clear)),
    ("all indices blocked",       each([403, 403]), (2, 0, Clear),        IDLE,  (Answered, Settle,      Clear)),
    ("blocked or busy",           each([403, 429]), (2, 0, Clear),        IDLE,  (EJECT,    Settle,      Clear)),
    ("some 500",                  each([201, 500]), (2, 0, Clear),        IDLE,  (Took,     RetryLater,  Clear)),
    ("all 500",                   each([500, 500]), (2, 0, Clear),        IDLE,  (EJECT,    RetryLater,  Clear)),
    ("all 500, store works",      each([500, 500]), (2, 1, Clear),        WORKS, (Unknown,  RetryLater,  suspect(2))),
    ("some 500, store sound",     each([201, 500]), (2, 1, Clear),        SOUND, (Took,     RetryLater,  poison(1, 9))),
    ("some 500, ripe poison",     each([201, 500]), (2, 4, poison(3, 0)), SOUND, (Took,     DeadLetter,  poison(4, 0))),
    ("busy or 500, ripe poison",  each([429, 500]), (2, 4, poison(3, 0)), SOUND, (EJECT,    RetryLater,  suspect(4))),
    // The request has no usable answer.
    ("429",                       whole(429),       (2, 5, suspect(5)),   WORKS, (EJECT,    Retry,       suspect(5))),
    ("429, ripe poison",          whole(429),       (1, 5, poison(4, 0)), SOUND, (EJECT,    Retry,       poison(4, 0))),
    ("reset",                     whole(0),         (2, 0, Clear),        IDLE,  (EJECT,    Retry,       Clear)),
    ("reset again, store idle",   whole(0),         (2, 1, Clear),        IDLE,  (EJECT,    Retry,       Clear)),
    ("reset again, store works",  whole(0),         (2, 1, Clear),        WORKS, (Unknown,  RetryLater,  suspect(2))),
    ("suspect, store idle",       whole(0),         (2, 2, suspect(2)),   IDLE,  (Unknown,  RetryLater,  suspect(2))),
    ("third reset, store works",  whole(0),         (2, 2, suspect(2)),   WORKS, (Unknown,  BisectLater, suspect(3))),
    ("third reset, line alone",   whole(0),         (1, 2, suspect(2)),   WORKS, (Unknown,  RetryLater,  suspect(3))),
    ("reset, 64 own faults",      whole(0),         (2, 2, suspect(2)),   OUT,   (EJECT,    Retry,       suspect(3))),
    ("third 503, few requests",   whole(503),       (2, 2, Clear),        FEW,   (EJECT,    Retry,       Clear)),
    ("third late answer, few",    late(),           (2, 2, Clear),        FEW,   (EJECT,    Bisect,      Clear)),
    ("third late answer, many",   late(),           (2, 2, Clear),        IDLE,  (EJECT,    Retry,       Clear)),
    ("third 500, few requests",   whole(500),       (2, 2, Clear),        FEW,   (EJECT,    Bisect,      Clear)),
    ("third 500, suspect, few",   whole(500),       (2, 2, suspect(2)),   FEW,   (Unknown,  BisectLater, suspect(2))),
    ("answer too long, few",      long(),           (2, 0, Clear),        FEW,   (EJECT,    Bisect,      Clear)),
    ("answer too long, many",     long(),           (2, 0, Clear),        IDLE,  (EJECT,    Retry,       Clear)),
    ("answer too long, alone",    long(),           (1, 0, Clear),        FEW,   (EJECT,    Retry,       Clear)),
    ("everything is refused",     whole(401),       (2, 2, suspect(2)),   WORKS, (REFUSE,   Retry,       suspect(2))),
    // A line gets the store's own error by itself.
    ("500 again, store idle",     whole(500),       (1, 1, Clear),        IDLE,  (EJECT,    Retry,       Clear)),
    ("500 again, store works",    whole(500),       (1, 1, Clear),        WORKS, (Unknown,  RetryLater,  suspect(2))),
    ("500 again, another failed", whole(500),       (1, 1, Clear),        FLAKY, (Unknown,  RetryLater,  suspect(2))),
    ("500 again, store sound",    whole(500),       (1, 1, Clear),        SOUND, (Unknown,  RetryLater,  poison(1, 9))),
    ("poison, store idle",        whole(500),       (1, 3, poison(2, 0)), IDLE,  (Unknown,  RetryLater,  poison(2, 0))),
    ("poison, store works",       whole(500),       (1, 3, poison(2, 0)), WORKS, (Unknown,  RetryLater,  poison(2, 0))),
    ("poison, another failed",    whole(500),       (1, 4, poison(3, 0)), FLAKY, (Unknown,  RetryLater,  suspect(4))),
    ("poison, too few attempts",  whole(500),       (1, 3, poison(2, 0)), SOUND, (Unknown,  RetryLater,  poison(3, 0))),
    ("poison, too short a time",  whole(500),       (1, 4, poison(3, 1)), SOUND, (Unknown,  RetryLater,  poison(4, 1))),
    ("ripe poison",               whole(500),       (1, 4, poison(3, 0)), SOUND, (Unknown,  DeadLetter,  poison(4, 0))),
    ("ripe, 64 own faults",       whole(500),       (1, 4, poison(3, 0)), OUT,   (EJECT,    Retry,       suspect(4))),
    ("503, ripe poison",          whole(503),       (1, 5, poison(4, 0)), SOUND, (Unknown,  RetryLater,  poison(4, 0))),
    // The request is rejected as a whole.
    ("413",                       whole(413),       (2, 0, Clear),        IDLE,  (Answered, Bisect,      times(1))),
    ("413, line alone",           whole(413),       (1, 0, Clear),        FEW,   (Answered, Pause,       times(1))),
    ("400, few requests",         whole(400),       (2, 0, Clear),        FEW,   (Answered, Bisect,      times(1))),
    ("400, many requests",        whole(400),       (2, 0, Clear),        IDLE,  (Answered, Pause,       times(1))),
    ("400 again, store idle",     whole(400),       (2, 1, times(1)),     IDLE,  (Answered, Pause,       times(2))),
    ("400 again, store works",    whole(400),       (2, 1, times(1)),     WORKS, (Answered, Bisect,      Invalid)),
    ("400 of a suspect",          whole(400),       (2, 2, suspect(2)),   WORKS, (Answered, Pause,       times(1))),
    ("400, line alone",           whole(400),       (1, 0, Clear),        FEW,   (Answered, Pause,       times(1))),
    ("alone again, store idle",   whole(400),       (1, 1, times(1)),     IDLE,  (REFUSE,   Pause,       times(2))),
    ("alone again, store works",  whole(400),       (1, 1, times(1)),     WORKS, (Answered, DeadLetter,  Invalid)),
    ("alone, invalid before",     whole(400),       (1, 2, Invalid),      IDLE,  (Answered, DeadLetter,  Invalid)),
    ("alone, sixth time",         whole(400),       (1, 5, times(5)),     IDLE,  (Answered, DeadLetter,  Invalid)),
    ("alone, sixth, never took",  whole(400),       (1, 5, times(5)),     NEVER, (REFUSE,   Pause,       times(6))),
    ("reset after a rejection",   whole(0),         (1, 1, times(1)),     WORKS, (Unknown,  RetryLater,  Invalid)),
    ("invalid, then reset",       whole(0),         (2, 2, Invalid),      IDLE,  (Unknown,  BisectLater, Invalid)),
    ]
}

#[test]
fn each_situation_has_its_verdict() {
    for (situation, answer, (lines, failures, state), store, expected) in table() {
        let request = InFlight { failures, state, ..InFlight::new(batch(0..lines), failures) };
        let Verdict { host, next, state } = judge(&answer, &request, &store);
        let host = match host {
            Failed(_) => EJECT,
            Refused(_) => REFUSE,
            host => host,
        };
        assert_eq!((host, next, state), expected, "{situation}");
    }
}

#[test]
fn a_line_blocks_its_index_by_these_causes() {
    use CauseKind::{Address, Block, MissingIndex, NotInPlace, Rights, ShardLimit};
    let line = |kind: &CauseKind| LineVerdict::new(&Disposition::Retry(cause(0).with_kind(*kind)));
    let blocking: Vec<_> = CauseKind::ALL.into_iter().filter(|kind| line(kind) == LineVerdict::Block).collect();
    assert_eq!(blocking, [Rights, Block, MissingIndex, ShardLimit, NotInPlace, Address]);
}
