//! Elasticsearch and OpenSearch.
//!
//! In the order the data flows: `client` sends requests with a timeout. `bootstrap` puts pipeline and template in
//! place, with the user-named `fields`. `preflight` checks that they work, and `blocks` whether indices or the
//! cluster block writes. `write` sends batches, and `bulk_response` parses the responses. `search` finds lines by a
//! `filter`, `counts` and `patterns` aggregate them, `tail` follows new ones, and `coverage` reports what is stored of
//! a source.
//!
//! PUT requests use the `elasticsearch` crate. All other responses are read by `client`, which enforces a size limit.

mod blocks;
mod bootstrap;
mod bulk_response;
mod client;
mod counts;
mod coverage;
mod fields;
mod filter;
mod mark;
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
use fields::FieldCache;

/// Parses an engine's response to `_bulk` for `lines` lines. For tests and fuzzing.
///
/// # Errors
/// Same as a write.
#[doc(hidden)]
pub fn parse_bulk_response(body: &[u8], lines: usize) -> Result<Vec<Disposition>, WriteError> {
    bulk_response::parse(body, lines)
}

/// A client of a cluster. Clones are cheap and share connections.
#[derive(Clone, Debug)]
pub struct Engine {
    client: Client,
    settings: Arc<EngineSettings>,
    field_cache: FieldCache,
}

impl Engine {
    pub(crate) fn new(addresses: &[Url], settings: &EngineSettings) -> Result<Self, OpenError> {
        for name in settings.pipeline.iter().chain([&settings.index_prefix]) {
            validate_name(name)?;
        }
        let client = Client::new(addresses, settings)?;
        Ok(Self { client, settings: Arc::new(settings.clone()), field_cache: FieldCache::default() })
    }

    /// Returns the names of the nodes, by index.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.client.hosts()
    }

    /// Returns the pattern of this store's index names.
    fn indices(&self) -> String {
        format!("{}-*", self.settings.index_prefix)
    }
}

/// Checks a name of a pipeline or an index. Names are part of URL paths, so only characters that need no escaping and
/// that every engine accepts are allowed.
fn validate_name(name: &str) -> Result<(), OpenError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if starts_well && name.len() <= 200 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(OpenError::Client(format!(
        "{name:?} is not a valid name of a pipeline or an index: use a-z 0-9 - _ . and begin with a letter or a digit"
    )))
}
