//! An engine, with names of a test's own.

use std::time::{Duration, Instant};

use crate::lines::TestStore;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use store::{BootstrapMode, EngineSettings, NamedFields, Scope, Search, SearchPage, Target};

/// Held by a test that changes cluster settings, which all tests share.
static CLUSTER_SETTINGS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An engine, with names of this test's own.
pub(crate) struct Rig {
    url: String,
    http: Client,
    pub(crate) settings: EngineSettings,
}

#[track_caller]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`, which starts the engines"))
}

impl Rig {
    /// The engine with ingest processors.
    #[track_caller]
    pub(crate) fn full(name: &str) -> Self {
        Self::new(variable("ENGINE_URL"), name, true)
    }

    /// The engine without ingest processors.
    #[track_caller]
    pub(crate) fn bare(name: &str) -> Self {
        Self::new(variable("BARE_ENGINE_URL"), name, false)
    }

    fn new(url: String, name: &str, with_pipeline: bool) -> Self {
        let name = format!("test-{name}-{}", std::process::id());
        let pipeline = with_pipeline.then(|| name.clone());
        let settings = EngineSettings { index_prefix: name, pipeline, ..EngineSettings::default() };
        Self { url: url.trim_end_matches('/').to_owned(), http: Client::new(), settings }
    }

    /// Sets the user-named fields.
    pub(crate) fn naming(&mut self, fields: &NamedFields) -> &Self {
        self.settings.fields = Some(fields.clone());
        self
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn store(&self) -> TestStore {
        let target: Target = self.url.parse().unwrap();
        TestStore::open(&target, &self.settings).await.unwrap()
    }

    /// Returns the bootstrapped store.
    pub(crate) async fn ready_store(&self) -> TestStore {
        let store = self.store().await;
        store.bootstrap(BootstrapMode::Apply).await.unwrap();
        store
    }

    /// Sends a request to the engine directly.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    /// Locks the cluster's settings for this test.
    pub(crate) async fn cluster_settings(&self) -> tokio::sync::MutexGuard<'static, ()> {
        CLUSTER_SETTINGS.lock().await
    }

    /// Makes earlier writes searchable.
    pub(crate) async fn refresh(&self) {
        self.request(Method::POST, &format!("{}-*/_refresh", self.settings.index_prefix), None).await;
    }

    /// Refreshes and searches.
    pub(crate) async fn find(&self, store: &TestStore, search: &Search) -> SearchPage {
        self.refresh().await;
        store.search(&Scope::All, search).await.unwrap()
    }

    /// Removes what the test created.
    pub(crate) async fn clean(self) {
        let prefix = &self.settings.index_prefix;
        let started = Instant::now();
        // Engines may forbid deletion by wildcard, so name the indices.
        let (_, indices) = self.request(Method::GET, &format!("{prefix}-*?expand_wildcards=all"), None).await;
        for index in indices.as_object().into_iter().flat_map(|indices| indices.keys()) {
            let open = json!({ "index.blocks.read_only_allow_delete": null, "index.blocks.write": null });
            self.request(Method::PUT, &format!("{index}/_settings"), Some(open)).await;
            self.request(Method::DELETE, index, None).await;
        }
        self.request(Method::DELETE, &format!("_index_template/{prefix}"), None).await;
        self.request(Method::DELETE, &format!("_ingest/pipeline/{prefix}"), None).await;
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
