//! What is asked of lines, in the parameters of an address: read into the types that the store is asked with.

use std::ops::RangeInclusive;

use observability::{MAX_ID_CHARS, is_valid_id};
use store::{Cursor, Field, Filter, Level, NamedFields, NumberField, Order, Selection, Store, Timestamp};

use crate::problem::Problem;
use crate::times;

/// Lines of a page unless `limit` says otherwise.
pub const DEFAULT_LIMIT: usize = 100;

/// Parameters that choose lines. All of them must hold at once; an empty one is as if it were not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// A query (`docs/search.md`).
    pub query: Option<&'a str>,
    /// Not before this time, RFC 3339.
    pub from: Option<&'a str>,
    /// Before this time, RFC 3339.
    pub to: Option<&'a str>,
    /// One level or several, by comma.
    pub level: Option<&'a str>,
    /// The service that wrote them.
    pub service: Option<&'a str>,
    /// Their project.
    pub project: Option<&'a str>,
    /// Their endpoint.
    pub endpoint: Option<&'a str>,
    /// A status or a range of them, as in a query after `status:`.
    pub status: Option<&'a str>,
}

/// The fields that the store has beside its own, where there is a query that may ask for them.
///
/// # Errors
/// 503 or 504 where the store does not answer.
pub async fn fields(store: &Store, query: Option<&str>) -> Result<NamedFields, Problem> {
    match query.filter(|query| query.contains(':')) {
        Some(_) => Ok(store.fields().await?),
        None => Ok(NamedFields::default()),
    }
}

impl Asked<'_> {
    /// The lines that are chosen, of a store that has these fields beside its own.
    ///
    /// # Errors
    /// 400, of a query with the place where it is wrong; as [`fields`].
    pub async fn selection(&self, store: &Store) -> Result<Selection, Problem> {
        self.selection_with(&fields(store, self.query).await?)
    }

    fn selection_with(&self, fields: &NamedFields) -> Result<Selection, Problem> {
        let given = |text: &Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let mut parts = Vec::new();
        if let Some(query) = given(&self.query) {
            parts.push(Filter::parse(&query, fields)?);
        }
        let fields =
            [(Field::Service, self.service), (Field::ProjectId, self.project), (Field::Endpoint, self.endpoint)];
        parts.extend(fields.into_iter().filter_map(|(field, value)| Some(Filter::is(field, given(&value)?))));
        let levels = parse_levels(given(&self.level).as_deref())?;
        parts.extend((!levels.is_empty()).then(|| Filter::levels(levels)));
        if let Some(status) = given(&self.status) {
            parts.push(parse_status(&status)?);
        }
        let (from, to) = parse_range(self.from, self.to)?;
        Ok(Selection { filter: Filter::All(parts).simplify(), from, to })
    }
}

/// Reads a status as a query does after `status:`.
fn parse_status(text: &str) -> Result<Filter, Problem> {
    match format!("status:{text}").parse() {
        Ok(filter @ Filter::Number(NumberField::Status, _)) => Ok(filter),
        _ => Err(Problem::bad_request("status is such as 404, 5xx, 400..404 or >=500")),
    }
}

/// Reads levels by comma.
///
/// # Errors
/// 400 for another level than the contract's five.
pub fn parse_levels(text: Option<&str>) -> Result<Vec<Level>, Problem> {
    let levels = text.into_iter().flat_map(|text| text.split(',')).map(str::parse);
    levels
        .collect::<Result<_, _>>()
        .map_err(|error: store::level::ParseLevelError| Problem::bad_request(error.to_string()))
}

/// Reads a range of time.
///
/// # Errors
/// 400 where one is no time, or the range ends before it begins.
pub fn parse_range(from: Option<&str>, to: Option<&str>) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let (from, to) = (times::parse("from", from.unwrap_or_default())?, times::parse("to", to.unwrap_or_default())?);
    times::check_range(from, to)?;
    Ok((from, to))
}

/// Refuses what is no id; `what` says whose it would be, such as "a request id".
///
/// # Errors
/// 400 when it is none.
pub fn check_id(what: &str, id: &str) -> Result<(), Problem> {
    if is_valid_id(id.as_bytes()) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("{what} is 1 to {MAX_ID_CHARS} characters of A-Z a-z 0-9 . _ - : / + =")))
}

/// Reads a cursor.
///
/// # Errors
/// 400 when it is none.
pub fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Problem> {
    text.map(str::parse)
        .transpose()
        .map_err(|error: store::search::ParseCursorError| Problem::bad_request(error.to_string()))
}

/// Reads which lines come first.
///
/// # Errors
/// 400 for anything but `newest` and `oldest`.
pub fn parse_order(text: Option<&str>) -> Result<Order, Problem> {
    match text {
        None | Some("newest") => Ok(Order::NewestFirst),
        Some("oldest") => Ok(Order::OldestFirst),
        Some(_) => Err(Problem::bad_request("order is newest or oldest")),
    }
}

/// Reads a number within its bounds; an empty one is as if it were not there.
///
/// # Errors
/// 400 for one outside of them, and for what is none.
pub fn within(name: &str, text: Option<&str>, default: usize, bounds: RangeInclusive<usize>) -> Result<usize, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(default) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|number| is_number && bounds.contains(number)) {
        Some(number) => Ok(number),
        None => {
            let (least, most) = (bounds.start(), bounds.end());
            Err(Problem::bad_request(format!("{name} is a number from {least} to {most}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_within_its_bounds_or_told_by_its_name() {
        let of = |text: Option<&str>| within("top", text, 10, 1..=1_000);
        assert_eq!([None, Some(""), Some("007")].map(|text| of(text).unwrap()), [10, 10, 7]);
        for text in ["0", "1001", "-1", "+1", "1e3", " 1", "ten", "99999999999999999999999"] {
            assert_eq!(of(Some(text)).unwrap_err().to_string(), "top is a number from 1 to 1000", "{text}");
        }
    }

    #[test]
    fn parameters_are_one_filter() {
        let asked = Asked {
            query: Some("a OR b"),
            level: Some("warn,error"),
            status: Some("5xx"),
            service: Some(""),
            ..Asked::default()
        };
        let filter = asked.selection_with(&NamedFields::default()).unwrap().filter;
        assert_eq!(filter.to_string(), "(a OR b) level:(error OR warn) status:500..599");
        for wrong in [
            Asked { query: Some("(a"), ..Asked::default() },
            Asked { status: Some("5xx OR *"), ..Asked::default() },
            Asked { level: Some("loud"), ..Asked::default() },
            Asked { from: Some("now"), ..Asked::default() },
            Asked { from: Some("2026-11-24"), to: Some("2026-11-23"), ..Asked::default() },
        ] {
            assert!(wrong.selection_with(&NamedFields::default()).is_err(), "{wrong:?}");
        }
    }
}
