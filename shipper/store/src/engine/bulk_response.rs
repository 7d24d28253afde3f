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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(items: &[&str]) -> Vec<u8> {
        format!("{{\"errors\":true,\"items\":[{}]}}", items.join(",")).into_bytes()
    }

    fn error(status: u16, kind: &str, reason: &str) -> String {
        format!("{{\"create\":{{\"status\":{status},\"error\":{{\"type\":\"{kind}\",\"reason\":\"{reason}\"}}}}}}")
    }

    #[test]
    fn a_response_without_errors_stores_all_lines() {
        let body = br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
        assert_eq!(parse(body, 2), Ok(vec![Disposition::Stored; 2]));
        assert!(matches!(parse(body, 3), Err(WriteError::Unavailable(_))));
        assert!(matches!(parse(&body[..body.len() - 1], 2), Err(WriteError::Unavailable(_))));
    }

    #[test]
    fn each_line_has_its_own_disposition() {
        let conflict = error(409, "version_conflict_engine_exception", "document already exists");
        let busy = error(429, "es_rejected_execution_exception", "queue full");
        let mapping = error(400, "document_parsing_exception", "failed to parse field [status]");
        let body = response(&["{\"create\":{\"status\":201}}", &conflict, &busy, &mapping]);
        let read = parse(&body, 4).unwrap();
        assert_eq!(read[..2], [Disposition::Stored, Disposition::AlreadyStored]);
        assert!(matches!(&read[2], Disposition::Retry(cause) if cause.status == 429));
        assert!(matches!(&read[3], Disposition::DeadLetter(cause) if cause.reason.contains("failed to parse field")));
    }

    #[test]
    fn transient_errors_are_retried() {
        for (status, kind) in [
            (429, "es_rejected_execution_exception"),
            (429, "circuit_breaking_exception"),
            (400, "rejected_execution_exception"),
            (503, "unavailable_shards_exception"),
            (503, "cluster_block_exception"),
            (500, "some_exception"),
        ] {
            let read = parse(&response(&[&error(status, kind, "busy")]), 1).unwrap();
            assert!(matches!(&read[..], [Disposition::Retry(cause)] if cause.status == status), "{kind}: {read:?}");
        }
    }

    #[test]
    fn blocks_refuse_their_index_or_all_lines() {
        for (status, kind, reason) in [
            (403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];"),
            (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];"),
            (429, "cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded …];"),
            (403, "index_create_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];"),
            (404, "index_not_found_exception", "no such index [x]"),
            (400, "index_closed_exception", "closed"),
            (400, "illegal_argument_exception", "pipeline with id [app-logs] does not exist"),
            (
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] \
                 maximum normal shards open;",
            ),
            (
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] total shards, but this cluster currently has \
                 [1000]/[1000] maximum shards open;",
            ),
            (403, "security_exception", "action is unauthorized"),
        ] {
            let item = error(status, kind, reason);
            let refused = parse(&response(&[&item, &item]), 2);
            if reason.starts_with("blocked by: [FORBIDDEN/6") || kind == "illegal_argument_exception" {
                assert!(matches!(refused, Err(WriteError::Refused(_))), "{kind}: {refused:?}");
            } else {
                let refused = refused.unwrap();
                let is_shut = |one: &Disposition| {
                    let kinds = [CauseKind::Block, CauseKind::MissingIndex, CauseKind::ShardLimit, CauseKind::Rights];
                    matches!(one, Disposition::Retry(cause) if kinds.contains(&cause.kind))
                };
                assert!(refused.iter().all(is_shut), "{kind}: {refused:?}");
            }
            let mixed = parse(&response(&["{\"create\":{\"status\":201}}", &item]), 2).unwrap();
            assert!(matches!(mixed[..], [Disposition::Stored, Disposition::Retry(_)]), "{kind}");
        }
    }

    #[test]
    fn one_stored_line_rules_out_a_general_refusal() {
        let through = "{\"create\":{\"status\":201}}".to_owned();
        let refused = error(400, "illegal_argument_exception", "pipeline with id [app-logs] does not exist");
        let busy = error(429, "es_rejected_execution_exception", "queue full");
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let items = order.map(|place| [&through, &refused, &busy][place].as_str());
            let read = parse(&response(&items), 3).unwrap();
            let stored = order.iter().position(|place| *place == 0).unwrap();
            for (place, disposition) in read.iter().enumerate() {
                assert_eq!(*disposition == Disposition::Stored, place == stored, "{order:?}: {read:?}");
            }
        }
        assert!(matches!(parse(&response(&[&busy, &refused, &busy]), 3), Err(WriteError::Refused(_))));
    }

    #[test]
    fn unexpected_statuses_settle_nothing() {
        for status in [0, 100, 202, 204, 302, 308, 399, 600, 999] {
            for item in [format!("{{\"create\":{{\"status\":{status}}}}}"), error(status, "some_exception", "words")] {
                let read = parse(&response(&[&item]), 1).unwrap();
                assert!(matches!(&read[..], [Disposition::Retry(_)]), "{item}: {read:?}");
            }
        }
        // Created and refused at the same time; a conflict that is not about ids.
        for (status, kind) in [(201, "mapper_parsing_exception"), (409, "some_exception")] {
            let read = parse(&response(&[&error(status, kind, "words")]), 1).unwrap();
            assert!(matches!(&read[..], [Disposition::Retry(_)]), "{status}: {read:?}");
        }
        for body in [
            r#"{"errors":false,"items":[{"index":{"status":201}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":-1}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":65737}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":"201"}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}]} and more"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}],"items":[]}"#,
            r#"{"errors":false,"items":[]}"#,
            r#"{"errors":false}"#,
            r#"[{"create":{"status":201}}]"#,
            "<html>200</html>",
            "",
        ] {
            assert!(matches!(parse(body.as_bytes(), 1), Err(WriteError::Unavailable(_))), "{body}");
        }
    }

    #[test]
    fn items_are_read_whatever_the_errors_flag_says() {
        let mapping = error(400, "document_parsing_exception", "failed to parse field [status]");
        let body = format!("{{\"errors\":false,\"items\":[{{\"create\":{{\"status\":201}}}},{mapping}]}}");
        let mixed = parse(body.as_bytes(), 2).unwrap();
        assert!(matches!(mixed[..], [Disposition::Stored, Disposition::DeadLetter(_)]), "{mixed:?}");
        assert_eq!(parse(&response(&["{\"create\":{\"status\":201}}"]), 1), Ok(vec![Disposition::Stored]));
    }

    #[test]
    fn a_line_in_the_failure_store_is_not_stored() {
        let body = br#"{"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}},
            {"create":{"status":201,"failure_store":"not_applicable_or_unknown"}}]}"#;
        let read = parse(body, 2).unwrap();
        assert!(matches!(&read[..], [Disposition::DeadLetter(cause), Disposition::Stored] if cause.status == 201));
    }

    #[test]
    fn a_reason_does_not_repeat_the_line() {
        let reason = r#"Unrecognized token 'tru'\n at [Source: (byte[])\"{\"password\":tru}\"; line: 1, column: 10]"#;
        let read = parse(&response(&[&error(400, "document_parsing_exception", reason)]), 1).unwrap();
        let [Disposition::DeadLetter(cause)] = &read[..] else { panic!("{read:?}") };
        assert_eq!(cause.reason, "document_parsing_exception: Unrecognized token 'tru'");
    }

    #[test]
    fn a_quoted_line_can_not_cause_a_refusal() {
        for quoted in ["pipeline with id [x] does not exist", "Validation Failed: 1: this action would add [2] shards"]
        {
            let item = error(400, "document_parsing_exception", &format!("failed to parse field: '{quoted}'"));
            let read = parse(&response(&[&item]), 1).unwrap();
            assert!(matches!(read[..], [Disposition::DeadLetter(_)]), "{read:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes, 1);
        }

        #[test]
        fn a_truncated_response_stores_nothing(lines in 1_usize..6, cut in 1_usize..40) {
            let items = vec!["{\"create\":{\"status\":201}}"; lines].join(",");
            let body = format!("{{\"errors\":false,\"items\":[{items}]}}").into_bytes();
            prop_assert_eq!(parse(&body, lines), Ok(vec![Disposition::Stored; lines]));
            let kept = body.len().saturating_sub(cut);
            prop_assert!(parse(&body[..kept], lines).is_err());
        }
    }
}
