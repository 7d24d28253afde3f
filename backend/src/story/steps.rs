//! The steps of a request: its lines in order, each known again in other requests by what does not change in it.

use store::Level;

use crate::line::Line;

/// What makes a line the same step in two requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey {
    service: String,
    level: Option<Level>,
    shape: String,
}

impl StepKey {
    /// The key of a line. An access line is the same step whatever came of it.
    #[must_use]
    pub fn of(line: &Line) -> Self {
        let shape = match &line.access {
            Some(access) => format!("access {} {}", access.method, access.endpoint),
            None => store::pattern(&line.message),
        };
        // Some write the end of a request that failed at another level.
        let level = line.level.filter(|_| line.access.is_none());
        Self { service: line.service.clone(), level, shape }
    }
}

/// A line and the time since what was before it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What makes it the same step elsewhere.
    pub key: StepKey,
    /// Microseconds since the step before it, or since the request began; none where a time can't be read. Clocks of two
    /// services may make it negative.
    pub gap_us: Option<i64>,
    /// Microseconds since the request began.
    pub at_us: Option<i64>,
}

/// When a request began: its first line, or before it where its access line says how long it took. Microseconds since 1970.
#[must_use]
pub fn began(lines: &[Line]) -> Option<i64> {
    let micros = |line: &Line| line.time.map(|time| time.unix_micros());
    let by_access = lines.iter().filter_map(|line| Some((micros(line)?, line.access.as_ref()?)));
    let by_access = by_access.filter_map(|(at, access)| Some(at.saturating_sub(access.took_us()?)));
    lines.iter().filter_map(micros).chain(by_access).min()
}

/// The steps of all of a request's lines, which are in order.
#[must_use]
pub fn steps(lines: &[Line]) -> Vec<Step> {
    let began = began(lines);
    steps_from(lines, began, began)
}

/// The steps of some of a request's lines, which are in order: when it began, and when the step before them was, where that
/// is known.
#[must_use]
pub fn steps_from(lines: &[Line], began: Option<i64>, mut before: Option<i64>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(lines.len());
    for line in lines {
        let at = line.time.map(|time| time.unix_micros());
        steps.push(Step {
            key: StepKey::of(line),
            gap_us: at.zip(before).map(|(at, before)| at.saturating_sub(before)),
            at_us: at.zip(began).map(|(at, began)| at.saturating_sub(began)),
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
    fn a_line_is_the_same_step_whatever_its_numbers_are() {
        let key = |message: &str| StepKey::of(&Line { message: message.to_owned(), ..Line::default() });
        assert_eq!(key("charged 12.50 EUR"), key("charged 7.00 EUR"));
        assert_ne!(key("payment accepted"), key("payment refused"));
        let failed = crate::line::Access { status: Some(500), ..Default::default() };
        let end = |access, level| StepKey::of(&Line { access: Some(access), level, ..Line::default() });
        assert_eq!(end(failed, Some(Level::Error)), end(crate::line::Access::default(), Some(Level::Info)));
    }

    #[test]
    fn time_is_counted_from_where_the_request_began() {
        let at = |micros| Some(Timestamp::from_unix_micros(micros));
        let access = crate::line::Access { duration_ms: Some(5.0), ..Default::default() };
        let lines = [
            Line { time: at(11_000), ..Line::default() },
            Line { time: None, ..Line::default() },
            Line { time: at(15_000), access: Some(access), ..Line::default() },
        ];
        let steps = steps(&lines);
        assert_eq!(began(&lines), Some(10_000));
        assert_eq!(steps.iter().map(|step| step.gap_us).collect::<Vec<_>>(), [Some(1_000), None, Some(4_000)]);
        assert_eq!(steps[2].at_us, Some(5_000));
    }

    #[test]
    fn an_absurd_duration_says_nothing_of_when_a_request_began() {
        for ms in [-1.0, -f64::MAX, f64::MAX, 1e308, 1e12, f64::NAN, f64::INFINITY] {
            let access = crate::line::Access { duration_ms: Some(ms), ..Default::default() };
            assert_eq!(access.took_us(), None, "{ms}");
            for micros in [i64::MIN, 0, i64::MAX] {
                let time = Some(Timestamp::from_unix_micros(micros));
                let lines = [Line { time, access: Some(access.clone()), ..Line::default() }];
                assert_eq!(began(&lines), Some(micros), "{ms}");
            }
        }
        let at = |micros| Line { time: Some(Timestamp::from_unix_micros(micros)), ..Line::default() };
        assert_eq!(steps(&[at(i64::MIN), at(i64::MAX)])[1].gap_us, Some(i64::MAX));
    }
}
