//! A log explorer with a shipper that ships lines of a file to its store. The file starts with requests of a shop:
//! successful ones, a slow one and two failed ones.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use observability_tests::browser::Page;
use observability_tests::http::{self, Answer};
use observability_tests::program::{Program, Start};
use observability_tests::{port, wait};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::test_access::{TOKEN_OF_ALL, TokensFile};
use crate::test_store::{TestStore, unique_name};

/// Number of successful requests of the shop.
const GOOD: u32 = 20;

/// A log explorer over a store that a shipper fills from a file.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// The log explorer.
    pub(crate) backend: Program,
    file: PathBuf,
    store: TestStore,
    /// Prefix of the indices in an engine, which keeps lines of other tests out of the screenshots.
    index_prefix: String,
    _shipper: Program,
    _folder: TempDir,
}

/// Builder of a [`Site`].
pub(crate) struct Plan<'a> {
    store: TestStore,
    lines: Vec<String>,
    tokens: Option<&'a TokensFile>,
    /// Address at which the log explorer, but not the shipper, reaches the engine.
    engine: Option<SocketAddr>,
    knows_dead_letters: bool,
    docker: bool,
    public_url: Option<&'a str>,
}

impl<'a> Plan<'a> {
    /// The shop's lines in this store.
    pub(crate) fn shop(store: TestStore) -> Self {
        let (tokens, engine, public_url) = (None, None, None);
        Self { store, lines: shop(), tokens, engine, knows_dead_letters: true, docker: false, public_url }
    }

    /// Starts without lines.
    pub(crate) fn without_lines(self) -> Self {
        self.with_lines(Vec::new())
    }

    /// Replaces the lines.
    pub(crate) fn with_lines(self, lines: Vec<String>) -> Self {
        Self { lines, ..self }
    }

    /// Requires tokens.
    pub(crate) fn with_tokens(self, tokens: &'a TokensFile) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Makes the log explorer reach the engine at this address.
    pub(crate) fn with_engine_at(self, engine: SocketAddr) -> Self {
        Self { engine: Some(engine), ..self }
    }

    /// Sets `PUBLIC_URL` of the log explorer.
    pub(crate) fn at_public_url(self, public_url: &'a str) -> Self {
        Self { public_url: Some(public_url), ..self }
    }

    /// Runs the log explorer without `SHIPPER_STATE_DIR`.
    pub(crate) fn without_dead_letters(self) -> Self {
        Self { knows_dead_letters: false, ..self }
    }

    /// Replaces the lines by entries of Docker's log format.
    pub(crate) fn with_docker_lines(self, lines: Vec<String>) -> Self {
        Self { lines, docker: true, ..self }
    }

    /// Starts the site and waits for the shop's lines.
    #[track_caller]
    pub(crate) fn start(self) -> Site {
        let shop_lines = self.lines.iter().filter(|line| line.contains("\"project_id\":\"shop\"")).count();
        self.start_with(shop_lines)
    }

    /// Starts the site and waits until its store has this many lines of the shop.
    #[track_caller]
    pub(crate) fn start_with(self, shop_lines: usize) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let index_prefix = unique_name("site");
        let file = folder.path().join("shop.log");
        std::fs::write(&file, self.lines.concat()).unwrap();
        let (admin, address, state) = (port::free_address(), port::free_address(), folder.path().join("state"));
        let mut shipper = self.store.shipper("run", &state).arg("--file").arg(&file);
        shipper = shipper.args(["--admin-listen", &admin.to_string(), "--scan-interval-ms", "100"]);
        shipper = shipper.args(["--index-prefix", &index_prefix]);
        if self.docker {
            shipper = shipper.args(["--format", "docker"]);
        }
        let shipper = shipper.start_healthy(admin);
        let target = self.engine.map_or_else(|| self.store.target(), |engine| format!("http://{engine}"));
        let mut backend = Start::program("backend").env("LISTEN", address.to_string()).env("STORE", target);
        backend = backend.env("STORE_INDEX_PREFIX", &index_prefix);
        if let Some(tokens) = self.tokens {
            backend = backend.env("TOKENS_FILE", tokens.path());
        }
        if let Some(public_url) = self.public_url {
            backend = backend.env("PUBLIC_URL", public_url);
        }
        if self.knows_dead_letters {
            backend = backend.env("SHIPPER_STATE_DIR", state);
        }
        let backend = backend.start_healthy(address);
        let site = Site { address, backend, file, store: self.store, index_prefix, _shipper: shipper, _folder: folder };
        site.wait_for("shop", shop_lines);
        site
    }
}

impl Site {
    /// Starts a site with the shop's lines in an embedded store.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Plan::shop(TestStore::embedded()).start()
    }

    /// Whether the store is the embedded one.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.store, TestStore::Embedded(_))
    }

    /// Opens a desktop browser without a page.
    #[track_caller]
    pub(crate) fn page(&self) -> Page {
        Page::on_desktop(format!("http://{}", self.address))
    }

    /// As [`Site::page`], without JavaScript.
    #[track_caller]
    pub(crate) fn page_without_javascript(&self) -> Page {
        Page::without_javascript(format!("http://{}", self.address))
    }

    /// Sends a `GET` request.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path)
    }

    /// Sends a `GET` request with a token.
    #[track_caller]
    pub(crate) fn get_with_token(&self, path: &str, token: &str) -> Answer {
        http::get_with(self.address, path, &[("Authorization", format!("Bearer {token}").as_bytes())])
    }

    /// Appends lines to the file.
    #[track_caller]
    pub(crate) fn append(&self, lines: &[String]) {
        let mut file = OpenOptions::new().append(true).open(&self.file).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
    }

    /// Waits until the store has this many lines of a service, in the project of the same name.
    #[track_caller]
    pub(crate) fn wait_for(&self, service: &str, lines: usize) {
        let authorization = format!("Bearer {TOKEN_OF_ALL}");
        let path = format!("/api/facets?fields=service&project={service}");
        wait::until_ok(&format!("{lines} lines of {service}"), || {
            let answer = http::get_with(self.address, &path, &[("Authorization", authorization.as_bytes())]);
            match answer.json()["lines"].as_u64() {
                Some(found) if found == lines as u64 => Ok(()),
                found => Err(format!("found {found:?}")),
            }
        });
    }

    /// Deletes a line of a request from the store.
    #[track_caller]
    pub(crate) fn remove(&self, request_id: &str, message: &str) {
        match &self.store {
            TestStore::Engine(engine, _) => {
                let query = json!({ "bool": { "filter": [
                    { "term": { "request_id": request_id } }, { "match_phrase": { "message": message } }] } });
                let hits = engine.search_in(&self.index_prefix, &query);
                assert_eq!(hits.len(), 1, "{request_id}: {message}: {hits:?}");
                let [index, id] = ["_index", "_id"].map(|name| hits[0][name].as_str().unwrap());
                let path = format!("/{index}/_doc/{id}?refresh=true");
                assert_eq!(engine.request("DELETE", &path, &Value::Null).0, 200);
            }
            TestStore::Embedded(_) => {
                let store = self.store.target();
                let store = rusqlite::Connection::open(store.strip_prefix("sqlite:").unwrap()).unwrap();
                store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
                let sql = "DELETE FROM logs WHERE id IN (SELECT id FROM lines WHERE request_id = ?1 AND message = ?2)";
                assert_eq!(store.execute(sql, [request_id, message]).unwrap(), 1, "{request_id}: {message}");
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let TestStore::Engine(engine, _) = &self.store {
            engine.remove_indices_of(&self.index_prefix);
        }
    }
}

/// A line of a service, in the project of the same name, `at_ms` milliseconds after a fixed start ten minutes ago.
pub(crate) fn line(service: &str, level: &str, message: &str, request_id: Option<&str>, at_ms: i64) -> String {
    let began = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - Duration::minutes(10);
    let time = (began + Duration::milliseconds(at_ms)).format(&Rfc3339).unwrap();
    text(&json!({ "timestamp": time, "service": service, "level": level, "message": message, "request_id": request_id,
        "project_id": service, "target": service }))
}

/// A request of the shop: its steps as level, message and milliseconds, then its access line.
pub(crate) fn request(id: &str, began_ms: i64, steps: &[(&str, &str, i64)], status: u16, took_ms: i64) -> Vec<String> {
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

/// The lines of a successful request.
fn successful(number: u32) -> Vec<String> {
    let jitter = i64::from(number % 5);
    let steps =
        [("info", "order received", 0), ("info", "payment requested", 4), ("info", "payment answered", 40 + jitter)];
    request(&format!("good-{number}"), i64::from(number) * 10_000, &steps, 200, 47 + jitter)
}

fn shop() -> Vec<String> {
    let mut lines: Vec<_> = (0..GOOD).flat_map(successful).collect();
    let slow = [("info", "order received", 0), ("info", "payment requested", 4), ("info", "payment answered", 944)];
    lines.extend(request("slow-1", 210_000, &slow, 200, 951));
    for number in [1, 2] {
        let failed = [("info", "order received", 0), ("info", "payment requested", 4), ("error", "card refused", 31)];
        lines.extend(request(&format!("bad-{number}"), 220_000 + 5_000 * number, &failed, 500, 35));
    }
    lines
}

pub(crate) fn text(line: &Value) -> String {
    format!("{line}\n")
}
