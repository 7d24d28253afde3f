//! A search as SQL.

use rusqlite::types::Value;

use crate::search::{Order, Search};

/// A statement whose rows are `(document, time, generation, offset)`, and its parameters in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
}

impl Query {
    /// Finds one line more than the search's limit, which tells whether there are more.
    pub(crate) fn new(search: &Search) -> Self {
        let mut query = Self {
            sql: r#"SELECT document, time, generation, "offset" FROM logs WHERE TRUE"#.to_owned(),
            parameters: Vec::new(),
        };
        query.equal("request_id", search.request_id.as_deref());
        query.equal("project_id", search.project_id.as_deref());
        query.equal("service", search.service.as_deref());
        query.levels(search);
        if let Some(text) = search.asked_text() {
            query.add(" AND id IN (SELECT rowid FROM logs_text WHERE logs_text MATCH ?)", quoted(text));
        }
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
        query.add(" LIMIT ?", i64::try_from(search.bounded_limit() + 1).unwrap_or(i64::MAX));
        query
    }

    fn add(&mut self, sql: &str, parameter: impl Into<Value>) {
        self.sql.push_str(sql);
        self.parameters.push(parameter.into());
    }

    fn equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(&format!(" AND {column} = ?"), value.to_owned());
        }
    }

    fn levels(&mut self, search: &Search) {
        for (place, level) in search.levels.iter().enumerate() {
            self.add(if place == 0 { " AND level IN (?" } else { ", ?" }, level.as_str().to_owned());
        }
        if !search.levels.is_empty() {
            self.sql.push(')');
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

/// Every word as a phrase of its own, so that nothing in it means anything to FTS5; all of them have to match.
fn quoted(text: &str) -> String {
    let mut query = String::with_capacity(text.len() + 8);
    for word in text.split(|character: char| character.is_whitespace() || character == '\0') {
        if !word.is_empty() {
            if !query.is_empty() {
                query.push(' ');
            }
            query.push('"');
            query.push_str(&word.replace('"', "\"\""));
            query.push('"');
        }
    }
    // An empty query is an error to FTS5; an empty phrase finds nothing, as in an engine.
    if query.is_empty() { "\"\"".to_owned() } else { query }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_ever_phrases() {
        assert_eq!(quoted("payment failed"), r#""payment" "failed""#);
        assert_eq!(quoted("a\" OR message:b*\0 NEAR(c)"), r#""a""" "OR" "message:b*" "NEAR(c)""#);
        assert_eq!(quoted(" \t"), "\"\"");
    }

    #[test]
    fn nothing_asked_is_a_plain_scan_in_order() {
        let query = Query::new(&Search::default());
        assert!(query.sql.contains("WHERE TRUE ORDER BY time DESC"), "{}", query.sql);
        assert_eq!(query.parameters, [Value::Integer(101)]);
    }
}
