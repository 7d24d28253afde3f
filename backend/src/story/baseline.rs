//! Baselines of durations, from recent requests of an endpoint: which steps of a request were slow.

use std::collections::HashMap;

use crate::story::steps::{Step, StepKey};

/// Minimum number of samples of a baseline.
pub const SAMPLES_MIN: usize = 5;

/// Minimum excess over the median for a duration to be slow, in microseconds.
pub const MIN_EXCESS_US: i64 = 2_000;

/// Minimum factor over the median for a duration to be slow.
const MIN_FACTOR: i64 = 2;

/// Percentiles of durations in recent requests, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Median.
    pub p50_us: i64,
    /// 95th percentile.
    pub p95_us: i64,
    /// Number of samples.
    pub samples: usize,
}

impl Baseline {
    /// The baseline of these durations; none if there are fewer than [`SAMPLES_MIN`].
    #[must_use]
    pub fn from_times(mut times: Vec<i64>) -> Option<Self> {
        if times.len() < SAMPLES_MIN {
            return None;
        }
        times.sort_unstable();
        // Nearest-rank percentiles.
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { p50_us: rank(50), p95_us: rank(95), samples: times.len() })
    }

    /// Whether a duration is slow.
    #[must_use]
    pub fn is_exceeded_by(&self, us: i64) -> bool {
        us > self.p95_us
            && us >= self.p50_us.saturating_mul(MIN_FACTOR)
            && us.saturating_sub(self.p50_us) >= MIN_EXCESS_US
    }
}

/// The baseline of each step, given the step before it.
#[derive(Debug, Default)]
pub struct StepBaselines(HashMap<(Option<StepKey>, StepKey), Baseline>);

impl StepBaselines {
    /// The baselines of the steps of recent requests.
    #[must_use]
    pub fn from_requests(requests: &[Vec<Step>]) -> Self {
        let mut times: HashMap<_, Vec<i64>> = HashMap::new();
        for steps in requests {
            for (index, step) in steps.iter().enumerate() {
                if let Some(gap) = step.gap_us {
                    times.entry(key(steps, index)).or_default().push(gap);
                }
            }
        }
        Self(times.into_iter().filter_map(|(key, times)| Some((key, Baseline::from_times(times)?))).collect())
    }

    /// The baseline of a step; none if too few requests had it.
    #[must_use]
    pub fn for_step(&self, steps: &[Step], index: usize) -> Option<Baseline> {
        self.0.get(&key(steps, index)).copied()
    }

    /// The baseline of a slow step; none for any other.
    #[must_use]
    pub fn exceeded(&self, steps: &[Step], index: usize) -> Option<Baseline> {
        let gap = steps.get(index)?.gap_us?;
        self.for_step(steps, index).filter(|baseline| baseline.is_exceeded_by(gap))
    }
}

fn key(steps: &[Step], index: usize) -> (Option<StepKey>, StepKey) {
    let before = index.checked_sub(1).and_then(|before| steps.get(before));
    (before.map(|step| step.key.clone()), steps[index].key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Line;

    fn request(gaps_us: [i64; 2]) -> Vec<Step> {
        let step = |message: &str, gap| Step {
            key: StepKey::new(&Line { message: message.to_owned(), ..Line::default() }),
            gap_us: Some(gap),
            at_us: None,
        };
        vec![step("requested", gaps_us[0]), step("answered", gaps_us[1])]
    }

    #[test]
    fn only_slow_steps_exceed_their_baseline() {
        let recent: Vec<_> = (0..20).map(|n| request([1_000 + n, 50_000 + 10 * n])).collect();
        let baselines = StepBaselines::from_requests(&recent);
        let of = baselines.for_step(&recent[0], 1).unwrap();
        assert_eq!((of.p50_us, of.p95_us, of.samples), (50_090, 50_180, 20));
        let slow = request([1_005, 250_000]);
        assert!(baselines.exceeded(&slow, 0).is_none() && baselines.exceeded(&slow, 1).is_some());
        // Longer than all samples, but not by much.
        assert!(baselines.exceeded(&request([2_900, 51_000]), 0).is_none());
        assert!(baselines.exceeded(&request([1_000, 51_000]), 1).is_none());
    }

    #[test]
    fn too_few_samples_have_no_baseline() {
        let recent = vec![request([1, 1]); SAMPLES_MIN - 1];
        assert!(StepBaselines::from_requests(&recent).exceeded(&request([1, 1_000_000]), 1).is_none());
        assert_eq!(Baseline::from_times(vec![3; SAMPLES_MIN]).unwrap().p95_us, 3);
    }
}
