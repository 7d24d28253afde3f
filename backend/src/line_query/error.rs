//! Errors of the parameters that choose lines.

use store::QueryError;

use crate::line_query::param::Param;
use crate::problem::Problem;

/// A parameter that can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LineQueryError {
    parameter: &'static str,
    detail: String,
    column: Option<usize>,
    query: Option<Box<QueryError>>,
}

impl LineQueryError {
    pub(super) fn new(parameter: &'static str, detail: String) -> Self {
        Self { parameter, detail, column: None, query: None }
    }

    pub(super) fn at_column(self, column: usize) -> Self {
        Self { column: Some(column), ..self }
    }

    /// The parameter's name, and the invalid character in its value, counted from 1, if it is known.
    #[must_use]
    pub fn position(&self) -> (&'static str, Option<usize>) {
        (self.parameter, self.column)
    }
}

impl From<QueryError> for LineQueryError {
    fn from(error: QueryError) -> Self {
        let detail = format!("invalid query {error}");
        Self { query: Some(Box::new(error.clone())), ..Self::new(Param::Query.name(), detail) }.at_column(error.column)
    }
}

impl From<LineQueryError> for Problem {
    fn from(error: LineQueryError) -> Self {
        let problem = Self::bad_request(error.detail);
        match error.query {
            Some(query) => problem.with_query(*query),
            None => problem,
        }
    }
}
