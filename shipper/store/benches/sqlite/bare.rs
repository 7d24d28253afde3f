//! Minimal programs with rusqlite that write the same lines, with the same pragmas and transaction sizes.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::lines::{BATCH_LINES, STEP_LINES, batches, message, project_id, request_id, time};
use crate::{Steps, cpu_now};

fn bare(path: &Path, tables: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    let pragmas = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                   PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4096;";
    connection.execute_batch(pragmas).unwrap();
    connection.execute_batch(tables).unwrap();
    connection.execute("INSERT INTO sources (id, generation) VALUES (1, 'g')", []).unwrap();
    connection
}

/// Fills the store's tables with the rows that the store wrote.
pub(crate) fn same_tables(folder: &Path, made: &Path, total: u64) -> f64 {
    let made = Connection::open(made).unwrap();
    let tables = "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE type != 'view' AND sql IS NOT NULL";
    let tables: String = made.query_row(tables, [], |row| row.get(0)).unwrap();
    let mut connection = bare(&folder.join("same.db"), &tables);
    let mut steps = Steps::default();
    while steps.lines < total {
        let batches = batches(steps.lines);
        let range = [steps.lines, steps.lines + STEP_LINES];
        let runs: Vec<Vec<rusqlite::types::Value>> =
            rows(&made, "SELECT * FROM runs WHERE first >= ?1 AND first < ?2", range);
        let terms =
            "SELECT * FROM terms WHERE run >= ?1 AND run < ?2 OR run > -1 - ?2 AND run <= -1 - ?1 ORDER BY run, first";
        let terms = rows(&made, terms, range);
        let ids = rows(&made, "SELECT * FROM ids WHERE place >= ?1 << 10 AND place < ?2 << 10", range);
        let (cpu, began) = (cpu_now(), Instant::now());
        for (number, batch) in batches.iter().enumerate() {
            let transaction = connection.transaction().unwrap();
            {
                let insert =
                    "INSERT INTO logs VALUES (?1, ?2, 1, ?1, 343, ?3) ON CONFLICT (source, \"offset\") DO NOTHING";
                let mut insert = transaction.prepare_cached(insert).unwrap();
                for place in 0..batch.lines().len() {
                    let line = steps.lines + number as u64 * BATCH_LINES + place as u64;
                    let document = std::str::from_utf8(batch.document(place)).unwrap();
                    insert.execute((line.cast_signed(), time(line).unix_micros(), document)).unwrap();
                }
                if number + 1 == batches.len() {
                    let mut insert =
                        transaction.prepare_cached("INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)").unwrap();
                    for row in &runs {
                        insert.execute(rusqlite::params_from_iter(row)).unwrap();
                    }
                    let mut insert = transaction.prepare_cached("INSERT INTO terms VALUES (?1, ?2, ?3)").unwrap();
                    for row in &terms {
                        insert.execute(rusqlite::params_from_iter(row)).unwrap();
                    }
                    let mut insert = transaction.prepare_cached("INSERT INTO ids VALUES (?1, ?2)").unwrap();
                    for row in &ids {
                        insert.execute(rusqlite::params_from_iter(row)).unwrap();
                    }
                }
            }
            transaction.commit().unwrap();
        }
        steps.add("bare, same tables", cpu_now() - cpu, began);
    }
    steps.rate("bare, same tables")
}

fn rows(made: &Connection, select: &str, range: [u64; 2]) -> Vec<Vec<rusqlite::types::Value>> {
    let mut statement = made.prepare(select).unwrap();
    let columns = statement.column_count();
    let rows =
        statement.query_map(range.map(u64::cast_signed), |row| (0..columns).map(|column| row.get(column)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

/// Fills tables with B-tree indexes and FTS5, which can answer most of the same queries.
pub(crate) fn usual_indexes(folder: &Path, total: u64) -> f64 {
    let mut connection = bare(&folder.join("usual.db"), include_str!("../../tests/lines/version_1.sql"));
    let mut steps = Steps::default();
    while steps.lines < total {
        let batches = batches(steps.lines);
        let (cpu, began) = (cpu_now(), Instant::now());
        for (number, batch) in batches.iter().enumerate() {
            let transaction = connection.transaction().unwrap();
            {
                let insert = "INSERT INTO logs (id, time, source, \"offset\", service, level, request_id, project_id, document)
                              VALUES (?1, ?2, 1, ?1, 'shop', 'info', ?3, ?4, ?5) ON CONFLICT (source, \"offset\") DO NOTHING";
                let mut insert = transaction.prepare_cached(insert).unwrap();
                let mut words =
                    transaction.prepare_cached("INSERT INTO logs_text (rowid, message) VALUES (?1, ?2)").unwrap();
                for place in 0..batch.lines().len() {
                    let line = steps.lines + number as u64 * BATCH_LINES + place as u64;
                    let document = std::str::from_utf8(batch.document(place)).unwrap();
                    let at =
                        (line.cast_signed(), time(line).unix_micros(), request_id(line), project_id(line), document);
                    insert.execute(at).unwrap();
                    words.execute((line.cast_signed(), message(line))).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        steps.add("bare, usual indexes", cpu_now() - cpu, began);
    }
    steps.rate("bare, usual indexes")
}
