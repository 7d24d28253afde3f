//! Tests of the store with real engines. `ENGINE_URL` is an OpenSearch with ingest processors, `BARE_ENGINE_URL` an
//! Elasticsearch 8.8.0 without; `make test` starts both. Each test has its own index prefix and removes what it
//! created.
#![allow(clippy::unwrap_used)]

mod bootstrap;
mod bulk;
mod coverage;
mod equivalence;
#[path = "../lines/mod.rs"]
mod lines;
mod model;
mod named_fields;
mod normalisation;
mod queries;
mod rig;
mod search;
