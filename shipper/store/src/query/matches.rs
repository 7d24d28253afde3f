//! The meaning of a filter: whether it matches a line.

use std::borrow::Cow;

use super::words::words;
use super::{DocumentFields, Filter};

impl Filter {
    /// Whether the filter matches a line with these fields.
    #[must_use]
    pub fn matches(&self, line: &DocumentFields<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(line)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(line)),
            Self::Not(part) => !part.matches(line),
            Self::Is(field, values) => line.values(*field).any(|own| values.iter().any(|value| value == own)),
            Self::Has(field) => line.value(*field).is_some(),
            Self::Words(text) => {
                let own: Vec<_> = words(line.message()).collect();
                let mut wanted = words(text).peekable();
                wanted.peek().is_some() && wanted.all(|word| own.contains(&word))
            }
            Self::Phrase(text) => contains_phrase(line.message(), &words(text).collect::<Vec<_>>()),
            Self::Named(field, test) => test.is_satisfied_by(&line.named(field)),
            Self::Number(field, bounds) => line.numbers(*field).any(|number| bounds.contain(number)),
        }
    }
}

fn contains_phrase(message: &str, wanted: &[Cow<'_, str>]) -> bool {
    let own: Vec<_> = words(message).collect();
    !wanted.is_empty() && own.windows(wanted.len()).any(|window| window == wanted)
}
