//! Sends a batch, and reads of the answer what became of it.

use elasticsearch::http::Method;

use crate::batch::Batch;
use crate::disposition::{Cause, Disposition, WriteError};
use crate::engine::Engine;
use crate::engine::bulk_answer::{self, CLUSTER_BLOCK, is_about_the_engine};
use crate::engine::client::Answer;

impl Engine {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        if batch.lines().is_empty() {
            return Ok(Vec::new());
        }
        let mut query = vec![("filter_path", "errors,items.*.status,items.*.error")];
        if let Some(pipeline) = &self.settings.pipeline {
            query.push(("pipeline", pipeline));
        }
        let body = Some(batch.body().clone());
        let sent = self.client.send(Method::Post, "_bulk", "application/x-ndjson", &query, body).await;
        match sent {
            Ok(answer) if answer.status == 200 => bulk_answer::read(&answer.body, batch.lines().len()),
            Ok(answer) => Err(refusal(&answer)),
            Err(no_answer) => Err(WriteError::Unavailable(no_answer.into_cause())),
        }
    }
}

/// What a status other than 200 means for the whole request.
fn refusal(answer: &Answer) -> WriteError {
    let cause: Cause = answer.cause();
    let about_the_engine = || {
        let (kind, reason) = answer.error();
        is_about_the_engine(&kind, &reason)
    };
    match answer.status {
        429 if answer.error().0 == CLUSTER_BLOCK => WriteError::Refused(cause),
        _ if answer.is_passing() => WriteError::Unavailable(cause),
        413 => WriteError::TooLarge(cause),
        // Rights, a wrong address, a proxy that knows better: no other batch would fare better.
        401 | 403 | 404 | 405 | 406 | 407 | 415 => WriteError::Refused(cause),
        300..=399 => WriteError::Refused(cause),
        400..=499 if about_the_engine() => WriteError::Refused(cause),
        400..=499 => WriteError::Rejected(cause),
        _ => WriteError::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_status_says_what_to_do_next() {
        let of = |status| refusal(&Answer { status, body: Bytes::from_static(b"{\"error\":\"words\"}") });
        for status in [429, 500, 502, 503, 504, 202] {
            assert!(matches!(of(status), WriteError::Unavailable(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert!(matches!(of(status), WriteError::Refused(_)), "{status}");
        }
        assert!(matches!(of(413), WriteError::TooLarge(_)));
        assert!(matches!(of(400), WriteError::Rejected(cause) if cause.reason == "HTTP 400: words"));
    }
}
