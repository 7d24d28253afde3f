//! Parses the parameters that choose lines into a filter and a time range.

use store::query::MAX_QUERY_BYTES;
use store::{Cursor, Field, Filter, Level, NamedFields, NumberField, Order, Search, Selection, Store, Timestamp};

use crate::line_query::error::LineQueryError;
use crate::line_query::param::Param;
use crate::line_query::params::LineParams;
use crate::line_query::range::TimeRange;
use crate::problem::Problem;

/// Maximum bytes of a parameter's value.
pub(super) const VALUE_MAX_BYTES: usize = MAX_QUERY_BYTES;

/// Which lines a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineQuery {
    filter: Filter,
    range: TimeRange,
}

/// The user-defined fields of a store, if there is a query that may name one.
///
/// # Errors
/// 503 or 504 if the store does not respond.
pub async fn named_fields(params: &LineParams, store: &Store) -> Result<NamedFields, Problem> {
    if params.get(Param::Query).contains(':') { Ok(store.fields().await?) } else { Ok(NamedFields::default()) }
}

impl LineQuery {
    /// Parses parameters against the fields of a store.
    ///
    /// # Errors
    /// 400 for an invalid value; 503 or 504 if the store does not respond.
    pub async fn for_store(params: &LineParams, store: &Store) -> Result<Self, Problem> {
        Ok(Self::parse(params, &named_fields(params, store).await?, Timestamp::now())?)
    }

    /// Parses parameters as of `now`, with these user-defined fields.
    ///
    /// # Errors
    /// The first invalid value.
    pub fn parse(params: &LineParams, fields: &NamedFields, now: Timestamp) -> Result<Self, LineQueryError> {
        let [from, to, last] = [Param::From, Param::To, Param::Last].map(|param| params.get(param));
        let range = TimeRange::parse(from, to, last, now)?;
        let mut filters = Vec::new();
        if let Some(query) = params.given(Param::Query) {
            filters.push(Filter::parse(query, fields)?);
        }
        for (param, field) in
            [(Param::Service, Field::Service), (Param::Project, Field::ProjectId), (Param::Endpoint, Field::Endpoint)]
        {
            filters.extend(params.given(param).map(|value| Filter::is(field, value)));
        }
        if let Some(level) = params.given(Param::Level) {
            filters.push(Filter::levels(levels(level)?));
        }
        if let Some(status) = params.given(Param::Status) {
            filters.push(status_filter(status)?);
        }
        Ok(Self { filter: Filter::All(filters).simplify(), range })
    }

    /// The filter of its lines.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The time range of its lines.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// Only those of its lines that another filter finds, too.
    #[must_use]
    pub fn and(self, other: Filter) -> Self {
        Self { filter: other.and(self.filter), ..self }
    }

    /// What to count.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection { filter: self.filter.clone(), from: self.range.from, to: self.range.to }
    }

    /// A page of its lines.
    #[must_use]
    pub fn search(&self, order: Order, limit: usize, cursor: Option<Cursor>) -> Search {
        let Selection { filter, from, to } = self.selection();
        Search { filter, from, to, order, limit, cursor, ..Search::default() }
    }
}

/// Parses `warn`, `warn,error` or `>=warn`.
fn levels(text: &str) -> Result<Vec<Level>, LineQueryError> {
    let level = |name: &str| name.trim().parse::<Level>().ok();
    let levels = match text.strip_prefix(">=") {
        Some(least) => level(least).map(|least| Level::ALL.into_iter().filter(|level| *level >= least).collect()),
        None => text.split(',').map(level).collect::<Option<Vec<_>>>(),
    };
    levels.ok_or_else(|| {
        let names = Level::ALL.map(Level::as_str).join(", ");
        let detail = format!("invalid level: expected one of {names}, several of them by comma, or >=LEVEL");
        LineQueryError::new(Param::Level.name(), detail)
    })
}

/// Parses a status as a query does after `status:`.
fn status_filter(text: &str) -> Result<Filter, LineQueryError> {
    match format!("status:{text}").parse() {
        Ok(filter @ Filter::Number(NumberField::Status, _)) => Ok(filter),
        _ => {
            let detail = "invalid status: expected 404, 5xx, 400..404 or >=500, for example".to_owned();
            Err(LineQueryError::new(Param::Status.name(), detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[(Param, &str)]) -> Result<LineQuery, LineQueryError> {
        let params = values.iter().fold(LineParams::default(), |params, (param, value)| params.with(*param, value));
        LineQuery::parse(&params, &NamedFields::default(), Timestamp::from_unix_ms(0))
    }

    #[test]
    fn parameters_are_one_filter() {
        let query = parse(&[(Param::Query, "a OR b"), (Param::Level, "warn,error"), (Param::Status, "5xx")]).unwrap();
        assert_eq!(query.filter().to_string(), "(a OR b) level:(error OR warn) status:500..599");
        assert_eq!(*parse(&[]).unwrap().filter(), Filter::EVERY);
        let query = parse(&[(Param::Query, "a OR b"), (Param::Service, "s")]).unwrap().and(Filter::project("p"));
        assert_eq!(query.filter().to_string(), "project_id:p (a OR b) service:s");
    }

    #[test]
    fn a_level_is_one_several_or_a_minimum() {
        let of = |text: &str| parse(&[(Param::Level, text)]).map(|query| query.filter().to_string());
        assert_eq!(of("warn").unwrap(), "level:warn");
        assert_eq!(of("warn, error").unwrap(), of(">=warn").unwrap());
        assert_eq!(of(">=trace").unwrap().matches("OR").count(), 4);
        for wrong in ["loud", "warn+", "warn,", ",", ">warn", ">=", ">=warn,info", "WARN", "warn error"] {
            assert!(of(wrong).unwrap_err().to_string().starts_with("invalid level: expected one of"), "{wrong}");
        }
    }

    #[test]
    fn a_status_is_written_as_in_a_query() {
        let of = |text: &str| parse(&[(Param::Status, text)]).map(|query| query.filter().to_string());
        for text in ["404", "5xx", "400..404", ">=500", "<400", "-1", "*"] {
            assert_eq!(of(text).unwrap(), format!("status:{text}").parse::<Filter>().unwrap().to_string());
        }
        for wrong in ["teapot", "x:1", "5xx OR *", "500 a"] {
            assert!(of(wrong).is_err(), "{wrong}: {:?}", of(wrong));
        }
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_parameter_and_column() {
        for (param, value, column) in [
            (Param::Query, "a (b", Some(3)),
            (Param::Level, "loud", None),
            (Param::From, "2026-13-01", Some(6)),
            (Param::Last, "2y", None),
        ] {
            assert_eq!(parse(&[(param, value)]).unwrap_err().position(), (param.name(), column), "{value}");
        }
    }
}
