//! The meaning of a filter: whether it matches a line.

use std::borrow::Cow;

use super::words::words;
use super::{Facts, Filter};

impl Filter {
    /// Whether the filter matches a line with these fields.
    #[must_use]
    pub fn matches(&self, line: &Facts<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(line)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(line)),
            Self::Not(part) => !part.matches(line),
            Self::Is(field, values) => line.values(*field).any(|own| values.iter().any(|value| value == own)),
            Self::Has(field) => line.value(*field).is_some(),
            Self::Words(text) => {
                let own: Vec<_> = words(line.message()).collect();
                let mut asked = words(text).peekable();
                asked.peek().is_some() && asked.all(|word| own.contains(&word))
            }
            Self::Phrase(text) => has_in_a_row(line.message(), &words(text).collect::<Vec<_>>()),
            Self::Named(field, test) => test.is_met(&line.named(field)),
            Self::Number(field, bounds) => line.numbers(*field).any(|number| bounds.contain(number)),
        }
    }
}

fn has_in_a_row(message: &str, asked: &[Cow<'_, str>]) -> bool {
    let own: Vec<_> = words(message).collect();
    !asked.is_empty() && own.windows(asked.len()).any(|row| row == asked)
}
