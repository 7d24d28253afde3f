//! A search as SQL.

use rusqlite::types::Value;

use crate::search::{Order, Search};

/// So few lines with the words of a search are gathered and sorted.
const FEW: i64 = 5_000;

/// More lines than this are not gathered at all: to gather a million takes some hundred milliseconds, and to look for
/// the words line by line a third of a millisecond a line (measured), of which it then takes few.
const MANY: i64 = 1_000_000;

/// How many lines have the words of a search. It decides how lines are found and not which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spread {
    /// The lines with the words are gathered and sorted.
    #[default]
    Few,
    /// The lines with the words are gathered, and those of an index are held against them, in order, up to the limit.
    Some,
    /// Each line of an index is looked at for the words, in order, up to the limit.
    Many,
}

impl Spread {
    /// By what [`Query::probe`] counted.
    pub(crate) fn of(lines: i64) -> Self {
        if lines <= FEW {
            Self::Few
        } else if lines <= MANY {
            Self::Some
        } else {
            Self::Many
        }
    }
}

/// A statement whose rows are `(document, time, generation, offset)`, and its parameters in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
}

impl Query {
    /// Finds one line more than the search's limit, which tells whether there are more. `spread` is that of its text.
    pub(crate) fn new(search: &Search, spread: Spread) -> Self {
        // A request has few lines, which are looked at one by one.
        let spread = if search.request_id.is_some() { Spread::Many } else { spread };
        let mut query = Self {
            sql: format!(
                r#"SELECT document, time, generation, "offset" FROM logs{} CROSS JOIN sources ON sources.id = source WHERE TRUE"#,
                way(search, spread)
            ),
            parameters: Vec::new(),
        };
        query.equal("request_id", search.request_id.as_deref());
        query.equal("project_id", search.project_id.as_deref());
        query.equal("service", search.service.as_deref());
        query.levels(search);
        if let Some(text) = search.asked_text() {
            let has_text = if spread == Spread::Many {
                " AND EXISTS (SELECT 1 FROM logs_text WHERE rowid = logs.id AND logs_text MATCH ?)"
            } else {
                " AND logs.id IN (SELECT rowid FROM logs_text WHERE logs_text MATCH ?)"
            };
            query.add(has_text, quoted(text));
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

    /// Counts the lines with the words of a search, to one more than [`MANY`]; `None` where it is not worth asking.
    pub(crate) fn probe(search: &Search) -> Option<Self> {
        let text = search.asked_text().filter(|_| search.request_id.is_none())?;
        let sql = "SELECT count(*) FROM (SELECT 1 FROM logs_text".to_owned();
        let mut query = Self { sql, parameters: Vec::new() };
        query.add(" WHERE logs_text MATCH ?", quoted(text));
        query.add(" LIMIT ?)", MANY + 1);
        Some(query)
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

/// The index to go by, in the order of time where there is a choice. SQLite does not know that a request has few lines
/// and a project many, nor that a walk in order that ends at the limit beats a sort of all.
fn way(search: &Search, spread: Spread) -> &'static str {
    if search.request_id.is_some() {
        " INDEXED BY logs_by_request"
    } else if search.asked_text().is_some() && spread == Spread::Few {
        // By the words, which give row ids.
        " NOT INDEXED"
    } else if search.project_id.is_some() {
        " INDEXED BY logs_by_project"
    } else {
        " INDEXED BY logs_by_time"
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
        let query = Query::new(&Search::default(), Spread::Few);
        assert!(query.sql.contains("WHERE TRUE ORDER BY time DESC"), "{}", query.sql);
        assert_eq!(query.parameters, [Value::Integer(101)]);
    }

    #[test]
    fn words_are_counted_before_they_are_gathered() {
        let search = Search { text: Some("a b".to_owned()), ..Search::default() };
        let probe = Query::probe(&search).unwrap();
        assert_eq!(probe.parameters[0], Value::Text("\"a\" \"b\"".to_owned()));
        assert_eq!(Query::probe(&Search { request_id: Some("x".to_owned()), ..search }), None);
        assert_eq!(Query::probe(&Search::default()), None);
    }

    #[test]
    fn every_search_goes_by_an_index() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        crate::sqlite::schema::make(&mut connection).unwrap();
        let id = || Some("x".to_owned());
        let (newest, at) = (Search::default(), Some(crate::timestamp::Timestamp::from_unix_ms(1)));
        for (search, index) in [
            (newest.clone(), "INDEX logs_by_time"),
            (
                Search { levels: vec![crate::level::Level::Error], service: id(), ..newest.clone() },
                "INDEX logs_by_time",
            ),
            (
                Search { from: at, to: at, order: Order::OldestFirst, ..newest.clone() },
                "INDEX logs_by_time (time>? AND time<?)",
            ),
            (
                Search { project_id: id(), from: at, ..newest.clone() },
                "INDEX logs_by_project (project_id=? AND time>?)",
            ),
            (Search { project_id: id(), text: id(), ..newest.clone() }, "INTEGER PRIMARY KEY (rowid=?)"),
            (Search { request_id: id(), project_id: id(), ..newest.clone() }, "INDEX logs_by_request (request_id=?)"),
            (Search { request_id: id(), text: id(), ..newest.clone() }, "INDEX logs_by_request (request_id=?)"),
            (Search { text: id(), ..newest.clone() }, "INTEGER PRIMARY KEY (rowid=?)"),
        ] {
            let query = Query::new(&search, Spread::Few);
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
            let rows = explain.query_map(rusqlite::params_from_iter(&query.parameters), |row| row.get::<_, String>(3));
            let plan: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
            assert!(plan[0].ends_with(index), "{search:?}: {plan:?}");
        }
        let words = Search { text: id(), ..newest };
        for spread in [Spread::of(FEW + 1), Spread::of(MANY + 1)] {
            assert!(Query::new(&words, spread).sql.contains("INDEXED BY logs_by_time"), "{spread:?}");
        }
    }

    #[test]
    fn the_spread_of_words_changes_no_answer() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        crate::sqlite::schema::make(&mut connection).unwrap();
        connection.execute("INSERT INTO sources (id, generation) VALUES (1, 'g')", []).unwrap();
        for line in 0..40 {
            let project = (line % 2 == 0).then_some("p");
            let row = (line, line * 7 % 40, project);
            let insert = r#"INSERT INTO logs (id, time, source, "offset", service, level, project_id, document)
                            VALUES (?1, ?2, 1, ?1, 's', 'info', ?3, ?1)"#;
            connection.execute(insert, row).unwrap();
            let message = if line % 3 == 0 { "the quick fox" } else { "a lazy dog" };
            connection.execute("INSERT INTO logs_text (rowid, message) VALUES (?1, ?2)", (line, message)).unwrap();
        }
        for project_id in [None, Some("p".to_owned()), Some("other".to_owned())] {
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let text = Some("Fox quick".to_owned());
                let search = Search { project_id: project_id.clone(), text, order, limit: 5, ..Search::default() };
                let [few, some, many] = [Spread::Few, Spread::Some, Spread::Many].map(|spread| {
                    let query = Query::new(&search, spread);
                    let mut statement = connection.prepare(&query.sql).unwrap();
                    let rows = statement.query_map(rusqlite::params_from_iter(&query.parameters), |row| row.get(0));
                    rows.unwrap().map(Result::unwrap).collect::<Vec<String>>()
                });
                assert_eq!(few.len(), if project_id.as_deref() == Some("other") { 0 } else { 6 });
                assert!(few == some && some == many, "{few:?} {some:?} {many:?}");
            }
        }
    }
}
