//! Simplifies filters to a canonical form, the one that parsing returns.

use std::ops::Bound;

use super::{Bounds, FieldTest, Filter, NamedField};

impl Filter {
    /// Returns the simplest equivalent filter: flattened, with sorted and unique values, and with all words of one
    /// conjunction in one place. A text without words, such as a dash, matches nothing on its own. Among other words of
    /// a conjunction it is ignored from here on, so that `order — paid` finds lines with both words.
    #[must_use]
    pub fn simplify(self) -> Self {
        match self {
            Self::All(parts) => all(parts),
            Self::Any(parts) => any(parts),
            Self::Not(part) => not(part.simplify()),
            Self::Is(field, mut values) => {
                values.sort_unstable();
                values.dedup();
                if values.is_empty() { Self::NOTHING } else { Self::Is(field, values) }
            }
            Self::Words(text) => {
                let words: Vec<_> = text.split_whitespace().collect();
                if words.is_empty() { Self::NOTHING } else { Self::Words(words.join(" ")) }
            }
            Self::Number(field, Bounds { from, to }) if is_half_open(from, to) => Self::All(vec![
                Self::Number(field, Bounds { from, to: Bound::Unbounded }),
                Self::Number(field, Bounds { from: Bound::Unbounded, to }),
            ]),
            Self::Named(field, test) => named(field, test),
            Self::Has(_) | Self::Phrase(_) | Self::Number(..) => self,
        }
    }
}

fn named(field: NamedField, test: FieldTest) -> Filter {
    let half = |from, to| Filter::Named(field.clone(), FieldTest::Number(Bounds { from, to }));
    let test = match test {
        FieldTest::OneOf(mut values) => {
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                return Filter::NOTHING;
            }
            FieldTest::OneOf(values)
        }
        FieldTest::Words(text) => {
            let words: Vec<_> = text.split_whitespace().collect();
            if words.is_empty() {
                return Filter::NOTHING;
            }
            FieldTest::Words(words.join(" "))
        }
        FieldTest::Between(from, to) if from > to => return Filter::NOTHING,
        FieldTest::Between(i64::MIN, i64::MAX) | FieldTest::Number(Bounds::ANY) => FieldTest::Any,
        FieldTest::Number(Bounds { from, to }) if is_half_open(from, to) => {
            return Filter::All(vec![half(from, Bound::Unbounded), half(Bound::Unbounded, to)]);
        }
        other => other,
    };
    Filter::Named(field, test)
}

/// Whether a range is bounded on both sides and excludes an end. No single term of a query expresses it.
fn is_half_open(from: Bound<super::Number>, to: Bound<super::Number>) -> bool {
    let bounded = from != Bound::Unbounded && to != Bound::Unbounded;
    bounded && (matches!(from, Bound::Excluded(_)) || matches!(to, Bound::Excluded(_)))
}

fn all(parts: Vec<Filter>) -> Filter {
    let mut simple = Vec::new();
    for part in parts {
        match part.simplify() {
            Filter::All(inner) => inner.into_iter().for_each(|part| add(&mut simple, part)),
            part if part == Filter::NOTHING => return Filter::NOTHING,
            part => add(&mut simple, part),
        }
    }
    single_or(simple, Filter::All)
}

/// Adds a part to a conjunction, and merges words into existing words.
fn add(parts: &mut Vec<Filter>, part: Filter) {
    if let Filter::Named(field, FieldTest::Words(more)) = &part
        && let Some(words) = parts.iter_mut().find_map(|part| match part {
            Filter::Named(own, FieldTest::Words(words)) if own == field => Some(words),
            _ => None,
        })
    {
        words.push(' ');
        words.push_str(more);
    } else if let Filter::Words(more) = &part
        && let Some(Filter::Words(words)) = parts.iter_mut().find(|part| matches!(part, Filter::Words(_)))
    {
        words.push(' ');
        words.push_str(more);
    } else {
        parts.push(part);
    }
}

fn any(parts: Vec<Filter>) -> Filter {
    let mut simple = Vec::new();
    for part in parts {
        match part.simplify() {
            Filter::Any(inner) => simple.extend(inner),
            part if part == Filter::EVERY => return Filter::EVERY,
            part => simple.push(part),
        }
    }
    single_or(simple, Filter::Any)
}

fn not(part: Filter) -> Filter {
    match part {
        Filter::Not(inner) => *inner,
        part if part == Filter::EVERY => Filter::NOTHING,
        part if part == Filter::NOTHING => Filter::EVERY,
        part => Filter::Not(Box::new(part)),
    }
}

fn single_or(mut parts: Vec<Filter>, of: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            of(parts)
        }
        None => of(parts),
    }
}
