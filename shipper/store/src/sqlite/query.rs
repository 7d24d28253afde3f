//! A search as SQL: an index to go by, in the order of time. What the SQL does not say of the filter is looked at line by
//! line ([`Filter::matches`]).

use rusqlite::types::Value;

use crate::query::{Field, Filter};
use crate::scope::Scope;
use crate::search::{Order, Search};

/// A statement whose rows are `(document, time, generation, offset)`, and its parameters in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
}

impl Query {
    /// Finds at least the lines that the search asks for, in its order.
    pub(crate) fn new(scope: &Scope, search: &Search) -> Self {
        let asked = Asked::of(scope, &search.filter);
        let mut query = Self {
            sql: format!(
                r#"SELECT document, time, generation, "offset" FROM logs INDEXED BY {} CROSS JOIN sources ON sources.id = source WHERE TRUE"#,
                asked.index()
            ),
            parameters: Vec::new(),
        };
        query.one_of("request_id", asked.request);
        query.one_of("project_id", asked.project);
        query.one_of("service", asked.service);
        query.one_of("level", asked.level);
        if let Some(from) = search.from {
            query.add(" AND time >= ?", from.unix_micros());
        }
        if let Some(to) = search.to {
            query.add(" AND time < ?", to.unix_micros());
        }
        query.after_cursor(search);
        query.sql.push_str(match search.order {
            Order::OldestFirst => r#" ORDER BY time, generation, "offset""#,
            Order::NewestFirst => r#" ORDER BY time DESC, generation DESC, "offset" DESC"#,
        });
        query
    }

    fn add(&mut self, sql: &str, parameter: impl Into<Value>) {
        self.sql.push_str(sql);
        self.parameters.push(parameter.into());
    }

    fn one_of(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(&format!(" AND {column} = ?"), value.to_owned());
        }
    }

    /// The bound on `time` alone lets an index be used; the other names the place exactly.
    fn after_cursor(&mut self, search: &Search) {
        let Some(cursor) = search.cursor else { return };
        let (at, past) = match search.order {
            Order::OldestFirst => (">=", ">"),
            Order::NewestFirst => ("<=", "<"),
        };
        self.add(&format!(" AND time {at} ?"), cursor.micros);
        if let Some((generation, offset)) = cursor.origin {
            self.add(&format!(r#" AND (time, generation, "offset") {past} (?"#), cursor.micros);
            self.add(", ?", generation.as_str().to_owned());
            self.add(", ?)", offset.cast_signed());
        }
    }
}

/// Single values that every line of a search has.
#[derive(Default)]
struct Asked<'f> {
    request: Option<&'f str>,
    project: Option<&'f str>,
    service: Option<&'f str>,
    level: Option<&'f str>,
}

impl<'f> Asked<'f> {
    fn of(scope: &'f Scope, filter: &'f Filter) -> Self {
        let mut asked = Self::default();
        let parts = match filter {
            Filter::All(parts) => parts.as_slice(),
            other => std::slice::from_ref(other),
        };
        for part in parts {
            let Filter::Is(field, values) = part else { continue };
            let [value] = values.as_slice() else { continue };
            match field {
                Field::RequestId => asked.request = Some(value),
                Field::ProjectId => asked.project = Some(value),
                Field::Service => asked.service = Some(value),
                Field::Level => asked.level = Some(value),
                _ => {}
            }
        }
        if let (None, Scope::Projects(projects)) = (asked.project, scope)
            && projects.len() == 1
        {
            asked.project = projects.first().map(String::as_str);
        }
        asked
    }

    /// The index to go by. SQLite does not know that a request has few lines and a project many, nor that a walk in order
    /// that ends at the limit beats a sort of all.
    fn index(&self) -> &'static str {
        if self.request.is_some() {
            "logs_by_request"
        } else if self.project.is_some() {
            "logs_by_project"
        } else {
            "logs_by_time"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    #[test]
    fn every_search_goes_by_an_index() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        crate::sqlite::schema::make(&mut connection).unwrap();
        let at = Some(Timestamp::from_unix_ms(1));
        let of = |filter: &str| Search::of(filter.parse().unwrap());
        for (search, index) in [
            (of(""), "INDEX logs_by_time"),
            (of("level:error service:x word"), "INDEX logs_by_time"),
            (
                Search { from: at, to: at, order: Order::OldestFirst, ..of("") },
                "INDEX logs_by_time (time>? AND time<?)",
            ),
            (Search { from: at, ..of("project_id:x") }, "INDEX logs_by_project (project_id=? AND time>?)"),
            (of("request_id:x project_id:x word"), "INDEX logs_by_request (request_id=?)"),
        ] {
            let query = Query::new(&Scope::All, &search);
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
            let rows = explain.query_map(rusqlite::params_from_iter(&query.parameters), |row| row.get::<_, String>(3));
            let plan: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
            assert!(plan[0].ends_with(index), "{search:?}: {plan:?}");
        }
        let scoped = Query::new(&Scope::project("p"), &of(""));
        assert!(scoped.sql.contains("logs_by_project"));
    }
}
