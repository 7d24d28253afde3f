//! Selects the lines of a run that match a filter, using the run's terms.
//!
//! Terms decide every filter except phrases. The result is therefore two sets: lines that match for certain, and lines
//! that may match. Only the difference has to be read.

use rusqlite::Connection;

use crate::query::words::words;
use crate::query::{Bounds, Field, Filter, Number, NumberField};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::fields::Namings;
use crate::sqlite::runs::{RunInfo, durations};
use crate::sqlite::terms::{self, STATUS, WORD};

/// The lines of a run that match a filter.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Lines that match for certain.
    pub(crate) surely: Bits,
    /// Lines that may match, including the certain ones.
    pub(crate) maybe: Bits,
}

impl Found {
    pub(crate) fn exactly(bits: Bits) -> Self {
        Self { surely: bits.clone(), maybe: bits }
    }

    pub(crate) fn none() -> Self {
        Self::exactly(Bits::none())
    }

    fn all(run: &RunInfo) -> Self {
        Self::exactly(Bits::first(run.lines))
    }
}

/// Returns the lines of a run that match a filter, among those that the scope may see.
pub(crate) fn found(
    connection: &Connection,
    named: &Namings,
    run: &RunInfo,
    scope: &Scope,
    filter: &Filter,
) -> rusqlite::Result<Found> {
    let seen = match scope {
        Scope::All => None,
        Scope::Projects(projects) => {
            let seen = one_of(connection, run, Field::ProjectId, projects.iter().map(String::as_str))?;
            if seen.is_empty() {
                return Ok(Found::none());
            }
            Some(seen)
        }
    };
    let mut found = of(connection, named, run, filter)?;
    if let Some(seen) = seen {
        found.surely.and(&seen);
        found.maybe.and(&seen);
    }
    Ok(found)
}

fn of(connection: &Connection, named: &Namings, run: &RunInfo, filter: &Filter) -> rusqlite::Result<Found> {
    Ok(match filter {
        Filter::All(parts) => {
            let mut found = Found::all(run);
            for part in parts {
                let part = of(connection, named, run, part)?;
                found.surely.and(&part.surely);
                found.maybe.and(&part.maybe);
                if found.maybe.is_empty() {
                    break;
                }
            }
            found
        }
        Filter::Any(parts) => {
            let mut found = Found::none();
            for part in parts {
                let part = of(connection, named, run, part)?;
                found.surely.or(&part.surely);
                found.maybe.or(&part.maybe);
            }
            found
        }
        Filter::Not(part) => {
            let part = of(connection, named, run, part)?;
            let mut found = Found::all(run);
            found.surely.minus(&part.maybe);
            found.maybe.minus(&part.surely);
            found
        }
        Filter::Is(field, values) => {
            Found::exactly(one_of(connection, run, *field, values.iter().map(String::as_str))?)
        }
        Filter::Has(field) => Found::exactly(having(connection, run, &terms::has(terms::code(*field)))?),
        Filter::Words(text) => Found::exactly(having_words(connection, run, text)?.0),
        Filter::Phrase(text) => {
            let (maybe, count) = having_words(connection, run, text)?;
            if count < 2 { Found::exactly(maybe) } else { Found { surely: Bits::none(), maybe } }
        }
        Filter::Named(field, test) => named.found(connection, run, field, test)?,
        Filter::Number(NumberField::Status, bounds) => Found::exactly(statuses(connection, run, bounds)?),
        Filter::Number(NumberField::DurationMs, bounds) => Found::exactly(lasting(connection, run, bounds)?),
    })
}

/// Returns the lines that have a term.
pub(crate) fn having(connection: &Connection, run: &RunInfo, term: &[u8]) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    if let Some(set) = terms::find(connection, run.terms, term)? {
        bits::add(&mut bits, &set, run.lines);
    }
    Ok(bits)
}

/// Returns the lines whose field has one of some values.
pub(crate) fn one_of<'v>(
    connection: &Connection,
    run: &RunInfo,
    field: Field,
    values: impl Iterator<Item = &'v str>,
) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    for value in values.filter(|value| field.holds(value)) {
        bits.or(&having(connection, run, &terms::term(terms::code(field), value))?);
    }
    Ok(bits)
}

/// Returns the lines that contain all words of a text, and the number of its words.
fn having_words(connection: &Connection, run: &RunInfo, text: &str) -> rusqlite::Result<(Bits, usize)> {
    let mut bits = None::<Bits>;
    let mut count = 0;
    for word in words(text) {
        count += 1;
        if bits.as_ref().is_some_and(Bits::is_empty) {
            continue;
        }
        let own = having(connection, run, &terms::term(WORD, &word))?;
        match &mut bits {
            Some(bits) => bits.and(&own),
            None => bits = Some(own),
        }
    }
    Ok((bits.unwrap_or_else(Bits::none), count))
}

fn statuses(connection: &Connection, run: &RunInfo, bounds: &Bounds) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    terms::each_with(connection, run.terms, &[STATUS], |term, set| {
        let number = terms::status_of(term).and_then(|number| Number::new(f64::from(number)));
        if number.is_some_and(|number| bounds.contain(number)) {
            bits::add(&mut bits, set, run.lines);
        }
    })?;
    Ok(bits)
}

fn lasting(connection: &Connection, run: &RunInfo, bounds: &Bounds) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    for (place, value) in durations(connection, run.first)? {
        if Number::new(value).is_some_and(|number| bounds.contain(number)) {
            bits.set(usize::from(place));
        }
    }
    Ok(bits)
}
