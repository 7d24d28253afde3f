//! Elasticsearch or OpenSearch. What is put in place goes by the `elasticsearch` crate; all other answers are read by
//! `client` itself, which stops at a bound.
//!
//! In flow order: `client` makes requests with a deadline; `bootstrap` puts pipeline and template in place, with the
//! `fields` that the user named, and `preflight` proves that they work, unless `obstacles` are in the way; `write` sends
//! batches, whose answers `bulk_answer` reads; `search` finds lines, by a `filter` in
//! the engine's terms, `counts` and `patterns` count them, `tail` follows what comes in, and `coverage` tells what rests of
//! a source.

mod bootstrap;
mod bulk_answer;
mod client;
mod counts;
mod coverage;
mod fields;
mod filter;
mod obstacles;
mod patterns;
mod preflight;
mod search;
mod tail;
mod write;

use std::sync::Arc;

use url::Url;

use crate::disposition::{Disposition, WriteError};
use crate::error::OpenError;
use crate::settings::EngineSettings;

use client::Client;
use fields::Known;

/// What an engine's answer to `_bulk` says of `lines` lines. For tests, which feed it what no engine says.
///
/// # Errors
/// As a write has them.
#[doc(hidden)]
pub fn read_bulk_answer(body: &[u8], lines: usize) -> Result<Vec<Disposition>, WriteError> {
    bulk_answer::read(body, lines)
}

/// A cluster's client. A copy is cheap and shares its connections.
#[derive(Clone, Debug)]
pub struct Engine {
    client: Client,
    settings: Arc<EngineSettings>,
    known: Known,
}

impl Engine {
    pub(crate) fn new(addresses: &[Url], settings: &EngineSettings) -> Result<Self, OpenError> {
        for name in settings.pipeline.iter().chain([&settings.index_prefix]) {
            check_name(name)?;
        }
        let client = Client::new(addresses, settings)?;
        Ok(Self { client, settings: Arc::new(settings.clone()), known: Known::default() })
    }

    /// The nodes' names, by their places.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.client.hosts()
    }

    /// The pattern of this store's indices.
    fn indices(&self) -> String {
        format!("{}-*", self.settings.index_prefix)
    }
}

/// Names of pipelines and indices stand in paths, so they are kept to what needs no escaping and every engine takes.
fn check_name(name: &str) -> Result<(), OpenError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if starts_well && name.len() <= 200 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(OpenError::Client(format!(
        "{name:?} can't name a pipeline or an index: use a-z 0-9 - _ . and begin with a letter or a digit"
    )))
}
