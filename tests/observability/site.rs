//! A service with pages to look at, and a shipper that carries a file's lines to it as they are written. What the file
//! begins with is an hour of a shop: good requests, a slow one, and two that failed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use observability_tests::browser::Page;
use observability_tests::program::{Program, Start};
use observability_tests::{http, port, wait};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::test_access::{TOKEN_OF_ALL, TokensFile};

/// Good requests of the shop.
const GOOD: u32 = 20;

/// A service over a store that a shipper fills from a file.
pub(crate) struct Site {
    address: SocketAddr,
    file: PathBuf,
    store: PathBuf,
    _programs: [Program; 2],
    _folder: TempDir,
}

impl Site {
    /// With the shop's lines in its store; with tokens, where there are any.
    #[track_caller]
    pub(crate) fn start(tokens: Option<&TokensFile>) -> Self {
        let site = Self::of(&shop(), tokens);
        site.wait_for("shop", shop().len());
        site
    }

    /// Without a line.
    #[track_caller]
    pub(crate) fn empty() -> Self {
        Self::of(&[], None)
    }

    #[track_caller]
    fn of(lines: &[String], tokens: Option<&TokensFile>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (folder.path().join("shop.log"), folder.path().join("logs.db"));
        std::fs::write(&file, lines.concat()).unwrap();
        let (admin, address) = (port::free_address(), port::free_address());
        let target = format!("sqlite:{}", store.display());
        let shipper = Start::program("shipper")
            .args(["run", "--to", &target, "--admin-listen", &admin.to_string(), "--scan-interval-ms", "100"])
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .arg("--file")
            .arg(&file)
            .start_healthy(admin);
        let mut backend = Start::program("backend").env("LISTEN", address.to_string()).env("STORE", &target);
        if let Some(tokens) = tokens {
            backend = backend.env("TOKENS_FILE", tokens.path());
        }
        Self { address, file, store, _programs: [backend.start_healthy(address), shipper], _folder: folder }
    }

    /// A browser on a desk, at no page yet.
    #[track_caller]
    pub(crate) fn page(&self) -> Page {
        Page::on_a_desk(format!("http://{}", self.address))
    }

    /// As [`Site::page`], without JavaScript.
    #[track_caller]
    pub(crate) fn page_without_javascript(&self) -> Page {
        Page::without_javascript(format!("http://{}", self.address))
    }

    /// Writes further lines to the file.
    #[track_caller]
    pub(crate) fn append(&self, lines: &[String]) {
        let mut file = OpenOptions::new().append(true).open(&self.file).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
    }

    /// Waits until the store has so many lines of a service, of the project that is named like it.
    #[track_caller]
    pub(crate) fn wait_for(&self, service: &str, lines: usize) {
        let authorization = format!("Bearer {TOKEN_OF_ALL}");
        let path = format!("/api/projects/{service}/logs?limit=500");
        wait::until_ok(&format!("{lines} lines of {service}"), || {
            let answer = http::get_with(self.address, &path, &[("Authorization", authorization.as_bytes())]);
            match answer.json()["lines"].as_array().map(Vec::len) {
                Some(found) if found == lines => Ok(()),
                found => Err(format!("there are {found:?}")),
            }
        });
    }

    /// Takes a request's line out of the store, as if it had never come there.
    #[track_caller]
    pub(crate) fn remove(&self, request_id: &str, message: &str) {
        let store = rusqlite::Connection::open(&self.store).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        let sql = "DELETE FROM logs WHERE id IN (SELECT id FROM lines WHERE request_id = ?1 AND message = ?2)";
        assert_eq!(store.execute(sql, [request_id, message]).unwrap(), 1, "{request_id}: {message}");
    }
}

/// A line of a service, and of the project that is named like it, written so many milliseconds after its hour began.
pub(crate) fn line(service: &str, level: &str, message: &str, request_id: Option<&str>, at_ms: i64) -> String {
    let began = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - Duration::minutes(10);
    let time = (began + Duration::milliseconds(at_ms)).format(&Rfc3339).unwrap();
    text(&json!({ "timestamp": time, "service": service, "level": level, "message": message, "request_id": request_id,
        "project_id": service, "target": service }))
}

/// A request of the shop: its lines up to the last one by message and milliseconds, and how it ended.
fn request(id: &str, began_ms: i64, steps: &[(&str, &str, i64)], status: u16, took_ms: i64) -> Vec<String> {
    let mut lines: Vec<_> =
        steps.iter().map(|(level, message, at)| line("shop", level, message, Some(id), began_ms + at)).collect();
    let access = line("shop", "info", "request", Some(id), began_ms + took_ms);
    let mut access: Value = serde_json::from_str(&access).unwrap();
    let rest = json!({ "target": "access", "method": "POST", "endpoint": "/orders/{id}", "status": status,
        "duration_ms": took_ms, "outcome": "answered" });
    access.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
    lines.push(text(&access));
    lines
}

/// The lines of a good request.
fn good(number: u32) -> Vec<String> {
    let jitter = i64::from(number % 5);
    let steps =
        [("info", "order received", 0), ("info", "payment asked", 4), ("info", "payment answered", 40 + jitter)];
    request(&format!("good-{number}"), i64::from(number) * 10_000, &steps, 200, 47 + jitter)
}

fn shop() -> Vec<String> {
    let mut lines: Vec<_> = (0..GOOD).flat_map(good).collect();
    let slow = [("info", "order received", 0), ("info", "payment asked", 4), ("info", "payment answered", 944)];
    lines.extend(request("slow-1", 210_000, &slow, 200, 951));
    for number in [1, 2] {
        let failed = [("info", "order received", 0), ("info", "payment asked", 4), ("error", "card refused", 31)];
        lines.extend(request(&format!("bad-{number}"), 220_000 + 5_000 * number, &failed, 500, 35));
    }
    lines
}

fn text(line: &Value) -> String {
    format!("{line}\n")
}
