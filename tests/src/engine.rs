//! Clients of the real engines that the tests run against.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http;

/// A running engine.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The engine's URL, as passed to the programs.
    pub url: String,
    address: SocketAddr,
}

impl Engine {
    /// OpenSearch with the ingest processors, from `ENGINE_URL`.
    #[track_caller]
    pub fn with_processors() -> Self {
        Self::from_variable("ENGINE_URL")
    }

    /// Elasticsearch without ingest processors, from `BARE_ENGINE_URL`.
    #[track_caller]
    pub fn bare() -> Self {
        Self::from_variable("BARE_ENGINE_URL")
    }

    #[track_caller]
    fn from_variable(name: &str) -> Self {
        let url = std::env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set: run `make test` or `make integration`, which start the engines, or set it")
        });
        Self::at(&url)
    }

    /// An engine at a URL, `http://HOST:PORT`.
    #[track_caller]
    pub fn at(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        let address = url
            .strip_prefix("http://")
            .and_then(|address| std::net::ToSocketAddrs::to_socket_addrs(address).ok()?.next())
            .unwrap_or_else(|| panic!("{url}: these tests need http://HOST:PORT"));
        Self { url, address }
    }

    /// The engine's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request with a JSON body and returns the status and the JSON response.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let answer = http::send(self.address, method, path, &[("Content-Type", b"application/json")], &body);
        (answer.status, answer.json())
    }

    /// Sends a `GET` request, which must succeed.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, &Value::Null);
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }

    /// Refreshes the log indices and returns all documents that match a query, at most 10,000.
    #[track_caller]
    pub fn search(&self, query: &Value) -> Vec<Value> {
        self.search_in("app-logs", query)
    }

    /// As [`Engine::search`], in the indices of another prefix.
    #[track_caller]
    pub fn search_in(&self, prefix: &str, query: &Value) -> Vec<Value> {
        let path = |what: &str| format!("/{prefix}-*/{what}?ignore_unavailable=true");
        let (status, answer) = self.request("POST", &path("_refresh"), &Value::Null);
        assert_eq!(status, 200, "{answer}");
        let body = json!({ "size": 10_000, "track_total_hits": true, "query": query });
        let (status, answer) = self.request("POST", &path("_search"), &body);
        assert_eq!(status, 200, "{answer}");
        let hits = answer["hits"]["hits"].as_array().unwrap().clone();
        assert_eq!(answer["hits"]["total"]["value"], hits.len(), "more than one page");
        hits
    }

    /// Deletes the indices of a prefix and their template.
    #[track_caller]
    pub fn remove_indices_of(&self, prefix: &str) {
        self.request("DELETE", &format!("/{prefix}-*"), &Value::Null);
        self.request("DELETE", &format!("/_index_template/{prefix}"), &Value::Null);
    }

    /// Refreshes the log indices and counts the documents that match a query.
    #[track_caller]
    pub fn count(&self, query: &Value) -> u64 {
        self.request("POST", "/app-logs-*/_refresh?ignore_unavailable=true", &Value::Null);
        let (status, answer) =
            self.request("POST", "/app-logs-*/_count?ignore_unavailable=true", &json!({ "query": query }));
        assert_eq!(status, 200, "{answer}");
        answer["count"].as_u64().unwrap()
    }
}
