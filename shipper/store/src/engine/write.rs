//! Sends a batch and parses the result.

use crate::batch::Batch;
use crate::disposition::{CauseKind, Disposition, WriteError};
use crate::engine::Engine;
use crate::engine::bulk_response::{self, is_overload, store_refusal_kind};
use crate::engine::client::{RequestError, Response};

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
            Ok(response) if response.status == 200 => bulk_response::parse(&response.body, batch.lines().len()),
            Ok(response) => Err(refusal(&response)),
            Err(RequestError::TooLong(cause)) => Err(WriteError::ResponseTooLong(cause)),
            Err(error) => Err(WriteError::Unavailable(error.into_cause())),
        }
    }
}

/// Interprets a status other than 200, which applies to the whole request.
fn refusal(response: &Response) -> WriteError {
    let (kind, reason) = response.error();
    let cause = response.cause();
    if let Some(about) = store_refusal_kind(&kind, &reason)
        && (response.status == 429 || !response.is_transient())
    {
        return WriteError::Refused(cause.with_kind(about));
    }
    match response.status {
        _ if is_overload(&kind) => WriteError::Unavailable(cause.with_kind(CauseKind::Busy)),
        _ if response.is_transient() => WriteError::Unavailable(cause),
        413 => WriteError::TooLarge(cause),
        401 | 403 | 407 => WriteError::Refused(cause),
        // A wrong address or an interfering proxy: no other batch would succeed.
        300..=399 | 404 | 405 | 406 | 415 => WriteError::Refused(cause.with_kind(CauseKind::Address)),
        // An engine always names the error's type. Anything else is not an engine, and its status says nothing about
        // lines.
        400..=499 if kind.is_empty() => WriteError::Refused(cause.with_kind(CauseKind::Address)),
        400..=499 => WriteError::Rejected(cause),
        _ => WriteError::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(status: u16, body: &str) -> WriteError {
        refusal(&Response { status, body: Bytes::copy_from_slice(body.as_bytes()), location: None, proxy: None })
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
