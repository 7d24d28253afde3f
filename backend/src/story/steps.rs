//! The steps of a request: its lines in order, each known again in other requests by what does not change in it.

use store::Level;

use crate::line::Line;

/// A longer shape is cut; two messages that differ only beyond it are one.
pub const SHAPE_MAX_BYTES: usize = 300;

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
            None => shape(&line.message),
        };
        Self { service: line.service.clone(), level: line.level, shape }
    }

    /// What does not change in its message.
    #[must_use]
    pub fn shape(&self) -> &str {
        &self.shape
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

/// When a request began: its first line, or before it where its access line says so. Microseconds since 1970.
#[must_use]
pub fn began(lines: &[Line]) -> Option<i64> {
    let micros = |line: &Line| line.time.map(|time| time.unix_micros());
    let by_access = lines.iter().filter_map(|line| Some((micros(line)?, line.access.as_ref()?)));
    let by_access = by_access.map(|(at, access)| at - (access.duration_ms * 1_000.0) as i64);
    lines.iter().filter_map(micros).chain(by_access).min()
}

/// The steps of a request's lines, which are in order.
#[must_use]
pub fn steps(lines: &[Line]) -> Vec<Step> {
    let began = began(lines);
    let mut before = began;
    let mut steps = Vec::with_capacity(lines.len());
    for line in lines {
        let at = line.time.map(|time| time.unix_micros());
        steps.push(Step {
            key: StepKey::of(line),
            gap_us: at.zip(before).map(|(at, before)| at - before),
            at_us: at.zip(began).map(|(at, began)| at - began),
        });
        before = at.or(before);
    }
    steps
}

/// A message without what differs from one request to the next: numbers, ids, and what stands in quotes.
#[must_use]
pub fn shape(message: &str) -> String {
    let mut shape = String::with_capacity(message.len().min(SHAPE_MAX_BYTES));
    let mut rest = message;
    while let Some(first) = rest.chars().next().filter(|_| shape.len() < SHAPE_MAX_BYTES) {
        let length = if first.is_ascii_alphanumeric() {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            push_word(&mut shape, &rest[..length]);
            length
        } else if let Some(end) = rest.strip_prefix('"').and_then(|quoted| quoted.find('"')) {
            shape.push_str("\"…\"");
            end + 2
        } else {
            shape.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    shape
}

fn push_word(shape: &mut String, word: &str) {
    if !word.bytes().any(|byte| byte.is_ascii_digit()) {
        return shape.push_str(word);
    }
    let is_id = word.bytes().all(|byte| byte.is_ascii_hexdigit()) || word.len() >= 16;
    let mut plain = String::new();
    for character in word.chars() {
        match character {
            _ if is_id => {}
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    // What is joined by a mark was one thing: an id, a time, an address, a version.
    let joined = ["#-", "#.", "#:", "#_"].into_iter().find(|joined| shape.ends_with(joined));
    if let Some(joined) = joined.filter(|_| is_id || plain.starts_with('#')) {
        shape.truncate(shape.len() - joined.len());
        plain = plain.trim_start_matches('#').to_owned();
        shape.push('#');
        shape.push_str(&plain);
        return;
    }
    shape.push_str(if is_id { "#" } else { &plain });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::Timestamp;

    use super::*;

    proptest! {
        #[test]
        fn any_message_has_a_shape(message in ".{0,400}") {
            prop_assert!(shape(&message).len() <= SHAPE_MAX_BYTES + message.len());
        }
    }

    #[test]
    fn what_differs_from_request_to_request_is_left_out() {
        for (one, other) in [
            ("charged 12.50 EUR", "charged 7.00 EUR"),
            ("order 123e4567-e89b-12d3-a456-426614174000 found", "order 00000000-e89b-12d3-a456-426614174fff found"),
            ("user \"ann b\" came", "user \"bob\" came"),
            ("took 12ms", "took 3ms"),
            ("from 10.0.0.1:8080", "from 127.0.0.1:9"),
            ("at 2026-11-24T10:00:00Z", "at 2027-01-02T03:04:05Z"),
        ] {
            assert_eq!(shape(one), shape(other));
        }
        assert_ne!(shape("payment accepted"), shape("payment refused"));
        assert_eq!(shape("say \"never ended 7"), "say \"never ended #");
        assert_eq!(shape("größe 5"), "größe #");
    }

    #[test]
    fn time_is_counted_from_where_the_request_began() {
        let at = |micros| Some(Timestamp::from_unix_micros(micros));
        let access = crate::line::Access { duration_ms: 5.0, ..Default::default() };
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
}
