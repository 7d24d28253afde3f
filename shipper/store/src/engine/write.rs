//! Sends a batch and parses the result.

use crate::batch::Batch;
use crate::disposition::{CauseKind, Disposition, WriteError};
use crate::engine::Engine;
use crate::engine::bulk_answer::{self, about_the_engine, is_overload};
use crate::engine::client::{Answer, NoAnswer};

impl Engine {
    /// Sends a batch to the node with index `host`, or to any node.
    pub(crate) async fn write(&self, batch: &Batch, host: Option<usize>) -> Result<Vec<Disposition>, WriteError> {
        if batch.lines().is_empty() {
            return Ok(Vec::new());
        }
        let mut query = vec![("filter_path", "errors,items.*.status,items.*.error,items.*.failure_store")];
        if let Some(pipeline) = &self.settings.pipeline {
            query.push(("pipeline", pipeline));
        }
        match self.client.bulk(host, &query, batch.body().clone()).await {
            Ok(answer) if answer.status == 200 => bulk_answer::read(&answer.body, batch.lines().len()),
            Ok(answer) => Err(refusal(&answer)),
            Err(NoAnswer::TooLong(cause)) => Err(WriteError::AnswerTooLong(cause)),
            Err(no_answer) => Err(WriteError::Unavailable(no_answer.into_cause())),
        }
    }
}

/// Interprets a status other than 200, which applies to the whole request.
fn refusal(answer: &Answer) -> WriteError {
    let (kind, reason) = answer.error();
    let cause = answer.cause();
    if let Some(about) = about_the_engine(&kind, &reason)
        && (answer.status == 429 || !answer.is_passing())
    {
        return WriteError::Refused(cause.of_kind(about));
    }
    match answer.status {
        _ if is_overload(&kind) => WriteError::Unavailable(cause.of_kind(CauseKind::Busy)),
        _ if answer.is_passing() => WriteError::Unavailable(cause),
        413 => WriteError::TooLarge(cause),
        401 | 403 | 407 => WriteError::Refused(cause),
        // A wrong address or an interfering proxy: no other batch would succeed.
        300..=399 | 404 | 405 | 406 | 415 => WriteError::Refused(cause.of_kind(CauseKind::Address)),
        // An engine always names the error's type. Anything else is not an engine, and its status says nothing about
        // lines.
        400..=499 if kind.is_empty() => WriteError::Refused(cause.of_kind(CauseKind::Address)),
        400..=499 => WriteError::Rejected(cause),
        _ => WriteError::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(status: u16, body: &str) -> WriteError {
        refusal(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()), location: None, proxy: None })
    }

    #[test]
    fn statuses_map_to_errors() {
        let of = |status| of(status, r#"{"error":{"type":"some_exception","reason":"words"}}"#);
        for status in [429, 500, 502, 503, 504, 202] {
            assert!(matches!(of(status), WriteError::Unavailable(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert!(matches!(of(status), WriteError::Refused(_)), "{status}");
        }
        assert!(matches!(of(413), WriteError::TooLarge(_)));
        assert!(matches!(of(400), WriteError::Rejected(cause) if cause.reason == "HTTP 400: some_exception: words"));
    }

    #[test]
    fn responses_of_other_servers_refuse_no_line() {
        for body in ["<html>The plain HTTP request was sent to HTTPS port</html>", "{\"error\":\"words\"}", ""] {
            let WriteError::Refused(cause) = of(400, body) else { panic!("{body}") };
            assert_eq!(cause.kind, CauseKind::Address, "{body}");
        }
    }

    #[test]
    fn cluster_wide_refusals_have_kinds_of_their_own() {
        for (status, kind, expected) in [
            (403, "cluster_block_exception", CauseKind::Block),
            (429, "cluster_block_exception", CauseKind::Block),
            (404, "index_not_found_exception", CauseKind::MissingIndex),
            (403, "security_exception", CauseKind::Rights),
        ] {
            let WriteError::Refused(cause) = of(status, &format!(r#"{{"error":{{"type":"{kind}","reason":"r"}}}}"#))
            else {
                panic!("{kind}")
            };
            assert_eq!(cause.kind, expected, "{kind}");
        }
        // The cluster is not formed yet: transient.
        let starting = of(503, r#"{"error":{"type":"cluster_block_exception","reason":"state not recovered"}}"#);
        assert!(matches!(starting, WriteError::Unavailable(_)), "{starting:?}");
    }
}
