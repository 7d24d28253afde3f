//! What is asked of lines, in the parameters of an address: read into the types that the store is asked with.

use observability::{MAX_ID_CHARS, is_valid_id};
use store::{Cursor, Field, Filter, Level, NamedFields, NumberField, Order, Selection, Store, Timestamp};

use crate::problem::Problem;

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
        Ok(Selection {
            filter: Filter::All(parts).plain(),
            from: parse_time("from", given(&self.from).as_deref())?,
            to: parse_time("to", given(&self.to).as_deref())?,
        })
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

/// Reads a time.
///
/// # Errors
/// 400 when it is none.
pub fn parse_time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match Timestamp::parse(text.as_bytes()) {
        Some(time) => Ok(Some(time)),
        None => Err(Problem::bad_request(format!("{name} is a time such as 2026-11-23T18:00:00Z (RFC 3339)"))),
    }
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

/// A number within its bounds.
///
/// # Errors
/// 400 for one outside of them.
pub fn within(name: &str, number: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    match number.unwrap_or(default) {
        number if (1..=most).contains(&number) => Ok(number),
        _ => Err(Problem::bad_request(format!("{name} is a number from 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(wrong.selection_with(&NamedFields::default()).is_err(), "{wrong:?}");
        }
    }
}
