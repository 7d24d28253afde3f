//! What is usual: how long each step of an endpoint's requests takes, and which of a request's took out of the usual.

use std::collections::HashMap;

use crate::story::steps::{Step, StepKey};

/// With fewer requests that have a step nothing is said of it.
pub const SAMPLES_MIN: usize = 5;

/// A step that took less than this more than usual is not worth a word.
pub const WORTH_US: i64 = 2_000;

/// How many times its usual time a step has to take.
const TIMES_USUAL: i64 = 2;

/// How long something takes, in recent requests, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// Half of them took no longer.
    pub p50_us: i64,
    /// 95 in 100 took no longer.
    pub p95_us: i64,
    /// How many there were.
    pub samples: usize,
}

impl Usual {
    /// Of these times; none of too few.
    #[must_use]
    pub fn of(mut times: Vec<i64>) -> Option<Self> {
        if times.len() < SAMPLES_MIN {
            return None;
        }
        times.sort_unstable();
        // The nearest rank: the smallest value that so many in a hundred do not exceed.
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { p50_us: rank(50), p95_us: rank(95), samples: times.len() })
    }

    /// Whether a time is out of the usual.
    #[must_use]
    pub fn is_exceeded_by(&self, us: i64) -> bool {
        us > self.p95_us && us >= self.p50_us.saturating_mul(TIMES_USUAL) && us.saturating_sub(self.p50_us) >= WORTH_US
    }
}

/// How long each step takes after the one before it.
#[derive(Debug, Default)]
pub struct UsualSteps(HashMap<(Option<StepKey>, StepKey), Usual>);

impl UsualSteps {
    /// Of the steps of recent requests.
    #[must_use]
    pub fn of(requests: &[Vec<Step>]) -> Self {
        let mut times: HashMap<_, Vec<i64>> = HashMap::new();
        for steps in requests {
            for (place, step) in steps.iter().enumerate() {
                if let Some(gap) = step.gap_us {
                    times.entry(key(steps, place)).or_default().push(gap);
                }
            }
        }
        Self(times.into_iter().filter_map(|(key, times)| Some((key, Usual::of(times)?))).collect())
    }

    /// What is usual for a step of a request; none where too few had it.
    #[must_use]
    pub fn for_step(&self, steps: &[Step], place: usize) -> Option<Usual> {
        self.0.get(&key(steps, place)).copied()
    }

    /// What is usual for a step that took out of the usual; none for any other.
    #[must_use]
    pub fn exceeded(&self, steps: &[Step], place: usize) -> Option<Usual> {
        let gap = steps.get(place)?.gap_us?;
        self.for_step(steps, place).filter(|usual| usual.is_exceeded_by(gap))
    }
}

fn key(steps: &[Step], place: usize) -> (Option<StepKey>, StepKey) {
    let before = place.checked_sub(1).and_then(|before| steps.get(before));
    (before.map(|step| step.key.clone()), steps[place].key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Line;

    fn request(gaps_us: [i64; 2]) -> Vec<Step> {
        let step = |message: &str, gap| Step {
            key: StepKey::of(&Line { message: message.to_owned(), ..Line::default() }),
            gap_us: Some(gap),
            at_us: None,
        };
        vec![step("asked", gaps_us[0]), step("answered", gaps_us[1])]
    }

    #[test]
    fn only_the_step_that_took_longer_than_it_does_is_marked() {
        let recent: Vec<_> = (0..20).map(|n| request([1_000 + n, 50_000 + 10 * n])).collect();
        let usual = UsualSteps::of(&recent);
        let of = usual.for_step(&recent[0], 1).unwrap();
        assert_eq!((of.p50_us, of.p95_us, of.samples), (50_090, 50_180, 20));
        let slow = request([1_005, 250_000]);
        assert!(usual.exceeded(&slow, 0).is_none() && usual.exceeded(&slow, 1).is_some());
        // Longer than any other, and yet nothing to speak of.
        assert!(usual.exceeded(&request([2_900, 51_000]), 0).is_none());
        assert!(usual.exceeded(&request([1_000, 51_000]), 1).is_none());
    }

    #[test]
    fn of_too_few_nothing_is_said() {
        let recent = vec![request([1, 1]); SAMPLES_MIN - 1];
        assert!(UsualSteps::of(&recent).exceeded(&request([1, 1_000_000]), 1).is_none());
        assert_eq!(Usual::of(vec![3; SAMPLES_MIN]).unwrap().p95_us, 3);
    }
}
