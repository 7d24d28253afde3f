//! The steps of a request: its lines in order, each with a key by which it is recognized in other requests.

use store::Level;

use crate::line::Line;

/// Identifies the same step in different requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey {
    service: String,
    level: Option<Level>,
    shape: String,
}

impl StepKey {
    /// The key of a line. Access lines are the same step whatever their outcome.
    #[must_use]
    pub fn new(line: &Line) -> Self {
        let shape = match &line.access {
            Some(access) => format!("access {} {}", access.method, access.endpoint),
            None => store::pattern(&line.message),
        };
        // Some services log failed requests at another level.
        let level = line.level.filter(|_| line.access.is_none());
        Self { service: line.service.clone(), level, shape }
    }
}

/// A line and its times.
#[derive(Clone, Debug)]
pub struct Step {
    /// Identifies the step in other requests.
    pub key: StepKey,
    /// Microseconds since the previous step, or since the start of the request; none if a time is invalid. It is negative if
    /// the clocks of two services differ.
    pub gap_us: Option<i64>,
    /// Microseconds since the start of the request.
    pub at_us: Option<i64>,
}

/// The start of a request, in microseconds since 1970: its first line, or earlier if an access line has a duration.
#[must_use]
pub fn started(lines: &[Line]) -> Option<i64> {
    let micros = |line: &Line| line.time.map(|time| time.unix_micros());
    let by_access = lines.iter().filter_map(|line| Some((micros(line)?, line.access.as_ref()?)));
    let by_access = by_access.filter_map(|(at, access)| Some(at.saturating_sub(access.took_us()?)));
    lines.iter().filter_map(micros).chain(by_access).min()
}

/// The steps of all lines of a request, which are in order.
#[must_use]
pub fn steps(lines: &[Line]) -> Vec<Step> {
    let started = started(lines);
    steps_from(lines, started, started)
}

/// The steps of some lines of a request, which are in order, given the times of its start and of the previous step.
#[must_use]
pub fn steps_from(lines: &[Line], started: Option<i64>, mut before: Option<i64>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(lines.len());
    for line in lines {
        let at = line.time.map(|time| time.unix_micros());
        steps.push(Step {
            key: StepKey::new(line),
            gap_us: at.zip(before).map(|(at, before)| at.saturating_sub(before)),
            at_us: at.zip(started).map(|(at, started)| at.saturating_sub(started)),
        });
        before = at.or(before);
    }
    steps
}

#[cfg(test)]
mod tests {
    use store::Timestamp;

    use super::*;

    #[test]
    fn numbers_do_not_change_the_key_of_a_step() {
        let key = |message: &str| StepKey::new(&Line { message: message.to_owned(), ..Line::default() });
        assert_eq!(key("charged 12.50 EUR"), key("charged 7.00 EUR"));
        assert_ne!(key("payment accepted"), key("payment refused"));
        let failed = crate::line::Access { status: Some(500), ..Default::default() };
        let end = |access, level| StepKey::new(&Line { access: Some(access), level, ..Line::default() });
        assert_eq!(end(failed, Some(Level::Error)), end(crate::line::Access::default(), Some(Level::Info)));
    }

    #[test]
    fn times_are_relative_to_the_start_of_the_request() {
        let at = |micros| Some(Timestamp::from_unix_micros(micros));
        let access = crate::line::Access { duration_ms: Some(5.0), ..Default::default() };
        let lines = [
            Line { time: at(11_000), ..Line::default() },
            Line { time: None, ..Line::default() },
            Line { time: at(15_000), access: Some(access), ..Line::default() },
        ];
        let steps = steps(&lines);
        assert_eq!(started(&lines), Some(10_000));
        assert_eq!(steps.iter().map(|step| step.gap_us).collect::<Vec<_>>(), [Some(1_000), None, Some(4_000)]);
        assert_eq!(steps[2].at_us, Some(5_000));
    }

    #[test]
    fn an_implausible_duration_does_not_move_the_start() {
        for ms in [-1.0, -f64::MAX, f64::MAX, 1e308, 1e12, f64::NAN, f64::INFINITY] {
            let access = crate::line::Access { duration_ms: Some(ms), ..Default::default() };
            assert_eq!(access.took_us(), None, "{ms}");
            for micros in [i64::MIN, 0, i64::MAX] {
                let time = Some(Timestamp::from_unix_micros(micros));
                let lines = [Line { time, access: Some(access.clone()), ..Line::default() }];
                assert_eq!(started(&lines), Some(micros), "{ms}");
            }
        }
        let at = |micros| Line { time: Some(Timestamp::from_unix_micros(micros)), ..Line::default() };
        assert_eq!(steps(&[at(i64::MIN), at(i64::MAX)])[1].gap_us, Some(i64::MAX));
    }
}
