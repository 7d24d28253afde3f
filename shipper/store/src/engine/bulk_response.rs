//! Parses responses to `_bulk`, filtered to errors and each item's status, error and failure store. Parsing does no
//! I/O. Responses without errors, which is nearly all of them, are read without a JSON parser.

use serde::Deserialize;

use crate::disposition::{Cause, CauseKind, Disposition, WriteError};

/// The item of a stored line.
const CREATED: &[u8] = b"{\"create\":{\"status\":201}}";

const HEAD: &[u8] = b"{\"errors\":false,\"items\":[";

/// Error type of a block: read-only, closed for writing, or, with status 503, no cluster yet.
pub(super) const CLUSTER_BLOCK: &str = "cluster_block_exception";

/// Error type of OpenSearch for a block on index creation.
const CREATE_BLOCK: &str = "index_create_block_exception";

/// Error type of a line that is already stored.
const CONFLICT: &str = "version_conflict_engine_exception";

/// Returns the disposition of each of `lines` lines.
///
/// # Errors
/// [`WriteError::Unavailable`] for a truncated or malformed response, or a wrong number of items;
/// [`WriteError::Refused`] if the engine refuses all lines for a reason unrelated to the lines and their index. If only
/// an index refuses lines, each of them is to be retried, with that reason.
pub(super) fn parse(body: &[u8], lines: usize) -> Result<Vec<Disposition>, WriteError> {
    let dispositions = match parse_all_created(body) {
        Some(created) => vec![Disposition::Stored; created],
        None => parse_items(body)?,
    };
    if dispositions.len() == lines {
        return Ok(dispositions);
    }
    let reason = format!("the response has {} items for {lines} lines", dispositions.len());
    Err(WriteError::Unavailable(Cause::new(200, reason)))
}

/// Returns the number of lines if the response only says that all were created.
fn parse_all_created(body: &[u8]) -> Option<usize> {
    let mut rest = body.strip_prefix(HEAD)?;
    let mut created = 0;
    loop {
        rest = rest.strip_prefix(CREATED)?;
        created += 1;
        match rest {
            [b',', next @ ..] => rest = next,
            b"]}" => return Some(created),
            _ => return None,
        }
    }
}

#[derive(Deserialize)]
struct Response {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: ItemResult,
}

#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    error: Option<ItemError>,
    /// Whether Elasticsearch's failure store was used for the line.
    failure_store: Option<String>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    reason: Option<String>,
    caused_by: Option<Box<ItemError>>,
}

/// The meaning of one item.
enum Meaning {
    Line(Disposition),
    /// The index refuses any line.
    IndexRefused(Cause),
    /// The engine refuses any line.
    StoreRefused(Cause),
}

fn parse_items(body: &[u8]) -> Result<Vec<Disposition>, WriteError> {
    let response: Response = serde_json::from_slice(body)
        .map_err(|error| WriteError::Unavailable(Cause::new(200, format!("invalid response: {error}"))))?;
    let mut refused = None;
    let mut dispositions = Vec::with_capacity(response.items.len());
    let mut any_settled = false;
    for item in response.items {
        dispositions.push(match item.create.meaning() {
            Meaning::Line(disposition) => {
                any_settled |= !matches!(disposition, Disposition::Retry(_));
                disposition
            }
            Meaning::IndexRefused(cause) => {
                any_settled = true;
                Disposition::Retry(cause)
            }
            Meaning::StoreRefused(cause) => {
                let retry = Disposition::Retry(cause.clone());
                refused.get_or_insert(cause);
                retry
            }
        });
    }
    match refused {
        // If other lines were stored, these are retried on their own, and a general refusal shows then.
        Some(cause) if !any_settled => Err(WriteError::Refused(cause)),
        _ => Ok(dispositions),
    }
}

impl ItemResult {
    fn meaning(self) -> Meaning {
        let cause = || {
            let reason = self.error.as_ref().map_or_else(|| "no reason given".to_owned(), ItemError::text);
            Cause::new(self.status, reason)
        };
        let kind = self.error.as_ref().map_or("", |error| error.r#type.as_str());
        let about = self.error.as_ref().and_then(|error| store_refusal_kind(kind, error.reason()));
        Meaning::Line(match self.status {
            // The engine did not index the line, but stored it elsewhere under an id of its own.
            200 | 201 if self.failure_store.as_deref() == Some("used") => {
                let reason = "the engine did not index the line: it put it into its failure store";
                Disposition::DeadLetter(Cause::new(self.status, reason).with_kind(CauseKind::Rejected))
            }
            200 | 201 if self.error.is_none() => Disposition::Stored,
            409 if kind.is_empty() || kind == CONFLICT => Disposition::AlreadyStored,
            _ if is_overload(kind) => Disposition::Retry(cause().with_kind(CauseKind::Busy)),
            // The cluster is not formed yet.
            503 => Disposition::Retry(cause()),
            // A disk above the flood-stage watermark is reported as a block with 429, but does not resolve on its own.
            status if about.is_some() && status < 500 => {
                let cause = cause().with_kind(about.unwrap_or(CauseKind::Block));
                let reason = self.error.as_ref().map_or("", |error| error.reason());
                return if affects_all_indices(kind, reason) {
                    Meaning::StoreRefused(cause)
                } else {
                    Meaning::IndexRefused(cause)
                };
            }
            status if status == 429 || status >= 500 => Disposition::Retry(cause()),
            401 => return Meaning::StoreRefused(cause()),
            403 => return Meaning::IndexRefused(cause()),
            404 => return Meaning::IndexRefused(cause().with_kind(CauseKind::MissingIndex)),
            // A conflict with something other than the line itself.
            409 => Disposition::Retry(cause()),
            400..=499 => Disposition::DeadLetter(cause()),
            // No engine returns this for a line, so its result is unknown.
            _ => Disposition::Retry(cause().with_kind(CauseKind::Unreadable)),
        })
    }
}

/// Whether the engine is overloaded. This resolves on its own, whatever the status.
pub(super) fn is_overload(kind: &str) -> bool {
    matches!(kind, "es_rejected_execution_exception" | "rejected_execution_exception" | "circuit_breaking_exception")
}

/// Returns the kind of a refusal that does not depend on the line: a block, a missing index or pipeline, or the shard
/// limit. Engines quote lines in their reasons, so only the beginning of a reason is matched, which lines can't
/// influence.
pub(super) fn store_refusal_kind(kind: &str, reason: &str) -> Option<CauseKind> {
    match kind {
        // Engines report a closed index as a block, or with an error type of its own and 400.
        CLUSTER_BLOCK | CREATE_BLOCK | "index_closed_exception" => Some(CauseKind::Block),
        "index_not_found_exception" => Some(CauseKind::MissingIndex),
        "illegal_argument_exception" => {
            let no_pipeline = reason.starts_with("pipeline with id [") && reason.ends_with("] does not exist");
            no_pipeline.then_some(CauseKind::NotInPlace)
        }
        "validation_exception" => {
            let no_room =
                reason.starts_with("Validation Failed: 1: this action would add [") && reason.contains(" shards");
            no_room.then_some(CauseKind::ShardLimit)
        }
        _ => None,
    }
}

/// Whether a refusal is about more than the line's index: a cluster block does not name an index, and all lines use the
/// same pipeline.
fn affects_all_indices(kind: &str, reason: &str) -> bool {
    match kind {
        CLUSTER_BLOCK => !reason.starts_with("index ["),
        "illegal_argument_exception" => true,
        _ => false,
    }
}

/// Removes the line that a parser quotes at the end of a reason.
pub(super) fn without_source(reason: &str) -> &str {
    reason.split("\n at [Source").next().unwrap_or_default()
}

impl ItemError {
    fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    /// Formats type and reason, followed by those of the causes.
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.r#type, without_source(self.reason()));
        if let Some(cause) = &self.caused_by {
            text.push_str(", caused by ");
            text.push_str(&cause.text());
        }
        text
    }
}

#[cfg(test)]
mod tests;
