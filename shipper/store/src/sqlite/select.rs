//! Selects the lines of a run that match a filter, using the run's terms.
//!
//! Terms decide every filter except phrases. The result is therefore two sets: lines that match for certain, and lines
//! that may match. Only the difference has to be read.

use rusqlite::Connection;

use crate::query::words::words;
use crate::query::{Bounds, Field, Filter, Number, NumberField};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::fields::IndexedFields;
use crate::sqlite::matches::{Matches, lines_with_term};
use crate::sqlite::runs::{RunInfo, durations};
use crate::sqlite::terms::{self, STATUS, WORD};

/// Returns the lines of a run that match a filter, among those that the scope may see.
pub(crate) fn matches(
    connection: &Connection,
    named: &IndexedFields,
    run: &RunInfo,
    scope: &Scope,
    filter: &Filter,
) -> rusqlite::Result<Matches> {
    let visible = match scope {
        Scope::All => None,
        Scope::Projects(projects) => {
            let visible = lines_with_values(connection, run, Field::ProjectId, projects.iter().map(String::as_str))?;
            if visible.is_empty() {
                return Ok(Matches::none());
            }
            Some(visible)
        }
    };
    let mut matches = evaluate(connection, named, run, filter)?;
    if let Some(visible) = visible {
        matches.certain.and(&visible);
        matches.possible.and(&visible);
    }
    Ok(matches)
}

fn evaluate(
    connection: &Connection,
    named: &IndexedFields,
    run: &RunInfo,
    filter: &Filter,
) -> rusqlite::Result<Matches> {
    Ok(match filter {
        Filter::All(parts) => {
            let mut matches = Matches::all(run);
            for part in parts {
                let part = evaluate(connection, named, run, part)?;
                matches.certain.and(&part.certain);
                matches.possible.and(&part.possible);
                if matches.possible.is_empty() {
                    break;
                }
            }
            matches
        }
        Filter::Any(parts) => {
            let mut matches = Matches::none();
            for part in parts {
                let part = evaluate(connection, named, run, part)?;
                matches.certain.or(&part.certain);
                matches.possible.or(&part.possible);
            }
            matches
        }
        Filter::Not(part) => {
            let part = evaluate(connection, named, run, part)?;
            let mut matches = Matches::all(run);
            matches.certain.subtract(&part.possible);
            matches.possible.subtract(&part.certain);
            matches
        }
        Filter::Is(field, values) => {
            Matches::exactly(lines_with_values(connection, run, *field, values.iter().map(String::as_str))?)
        }
        Filter::Has(field) => Matches::exactly(lines_with_term(connection, run, &terms::has_field(field.code()))?),
        Filter::Words(text) => Matches::exactly(lines_with_words(connection, run, text)?.0),
        Filter::Phrase(text) => {
            let (possible, count) = lines_with_words(connection, run, text)?;
            if count < 2 { Matches::exactly(possible) } else { Matches { certain: Bits::none(), possible } }
        }
        Filter::Named(field, test) => named.matches(connection, run, field, test)?,
        Filter::Number(NumberField::Status, bounds) => Matches::exactly(lines_with_status(connection, run, bounds)?),
        Filter::Number(NumberField::DurationMs, bounds) => {
            Matches::exactly(lines_with_duration(connection, run, bounds)?)
        }
    })
}

/// Returns the lines whose field has one of some values.
pub(crate) fn lines_with_values<'v>(
    connection: &Connection,
    run: &RunInfo,
    field: Field,
    values: impl Iterator<Item = &'v str>,
) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    for value in values.filter(|value| field.fits(value)) {
        bits.or(&lines_with_term(connection, run, &terms::term(field.code(), value))?);
    }
    Ok(bits)
}

/// Returns the lines that contain all words of a text, and the number of its words.
fn lines_with_words(connection: &Connection, run: &RunInfo, text: &str) -> rusqlite::Result<(Bits, usize)> {
    let mut bits = None::<Bits>;
    let mut count = 0;
    for word in words(text) {
        count += 1;
        if bits.as_ref().is_some_and(Bits::is_empty) {
            continue;
        }
        let own = lines_with_term(connection, run, &terms::term(WORD, &word))?;
        match &mut bits {
            Some(bits) => bits.and(&own),
            None => bits = Some(own),
        }
    }
    Ok((bits.unwrap_or_else(Bits::none), count))
}

fn lines_with_status(connection: &Connection, run: &RunInfo, bounds: &Bounds) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    terms::each_with_prefix(connection, run.terms, &[STATUS], |term, set| {
        let number = terms::status_of(term).and_then(|number| Number::new(f64::from(number)));
        if number.is_some_and(|number| bounds.contain(number)) {
            bits::add(&mut bits, set, run.lines);
        }
    })?;
    Ok(bits)
}

fn lines_with_duration(connection: &Connection, run: &RunInfo, bounds: &Bounds) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    for (index, value) in durations(connection, run.first)? {
        if Number::new(value).is_some_and(|number| bounds.contain(number)) {
            bits.set(usize::from(index));
        }
    }
    Ok(bits)
}
