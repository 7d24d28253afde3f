//! Numeric ranges.

use std::fmt;
use std::ops::Bound;

/// A finite number with a total order, in which both zeros are equal.
#[derive(Clone, Copy, Debug)]
pub struct Number(f64);

impl Number {
    /// Returns `None` unless the value is finite.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero turns -0.0 into 0.0.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// Returns the value.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Number {
    /// Writes digits without an exponent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A numeric range; unbounded on both sides, it contains every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Lower bound.
    pub from: Bound<Number>,
    /// Upper bound.
    pub to: Bound<Number>,
}

impl Bounds {
    /// The range of all numbers.
    pub const ANY: Self = Self { from: Bound::Unbounded, to: Bound::Unbounded };

    /// Creates the range of a single number.
    #[must_use]
    pub const fn exactly(number: Number) -> Self {
        Self { from: Bound::Included(number), to: Bound::Included(number) }
    }

    /// Creates a range that includes both ends.
    #[must_use]
    pub const fn between(from: Number, to: Number) -> Self {
        Self { from: Bound::Included(from), to: Bound::Included(to) }
    }

    /// Whether a number is in the range.
    #[must_use]
    pub fn contain(&self, number: Number) -> bool {
        let after = match self.from {
            Bound::Included(from) => number >= from,
            Bound::Excluded(from) => number > from,
            Bound::Unbounded => true,
        };
        let before = match self.to {
            Bound::Included(to) => number <= to,
            Bound::Excluded(to) => number < to,
            Bound::Unbounded => true,
        };
        after && before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_are_contained() {
        let number = |value| Number::new(value).unwrap();
        let bounds = Bounds { from: Bound::Included(number(-0.0)), to: Bound::Excluded(number(2.0)) };
        let within: Vec<_> = [-1.0, 0.0, -0.0, 1.5, 2.0].map(number).map(|number| bounds.contain(number)).into();
        assert_eq!(within, [false, true, true, true, false]);
        assert!(Bounds::ANY.contain(number(f64::MAX)) && Bounds::exactly(number(5.0)).contain(number(5.0)));
        assert_eq!(Number::new(f64::NAN), None);
    }
}
