//! The store over real engines: `ENGINE_URL` is an OpenSearch with ingest processors, `BARE_ENGINE_URL` an Elasticsearch
//! 8.8.0 without. `make test` starts both. Each test has an index prefix of its own and removes what it made.
#![allow(clippy::unwrap_used)]

mod bulk;
mod coverage;
#[path = "../lines/mod.rs"]
mod lines;
mod naming;
mod normalisation;
mod plain_model;
mod putting_in_place;
mod questions;
mod rig;
mod same_answers;
mod searching;
