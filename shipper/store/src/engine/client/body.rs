//! Reads response bodies up to a size limit, regardless of their declared length and encoding.

use std::error::Error;

use bytes::{Bytes, BytesMut};

use super::{RequestError, handshake};
use crate::disposition::{Cause, CauseKind};

/// Reads a whole body; the limit applies to its decompressed size.
pub(super) async fn read_whole(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, RequestError> {
    let status = response.status().as_u16();
    if response.content_length().is_some_and(|length| length > max_bytes as u64) {
        return Err(too_long(status, max_bytes));
    }
    // Most responses are a single chunk, which needs no copy.
    let (mut single, mut body) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error, error.is_timeout()))? {
        if single.len() + body.len() + chunk.len() > max_bytes {
            return Err(too_long(status, max_bytes));
        }
        if single.is_empty() && body.is_empty() {
            single = chunk;
            continue;
        }
        body.extend_from_slice(&std::mem::take(&mut single));
        body.extend_from_slice(&chunk);
    }
    Ok(if body.is_empty() { single } else { body.freeze() })
}

pub(super) fn too_long(status: u16, max_bytes: usize) -> RequestError {
    let reason = format!("the response is longer than {} MiB", max_bytes / (1024 * 1024));
    RequestError::TooLong(Cause::new(status, reason).with_kind(CauseKind::Unreadable))
}

pub(super) fn failed(error: &(dyn Error + 'static), is_timeout: bool) -> RequestError {
    if is_timeout {
        return RequestError::TimedOut;
    }
    // The innermost error says what happened; the outer ones only add context.
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let reason = handshake::cause(error).unwrap_or_else(|| innermost.to_string());
    RequestError::Failed(Cause::new(0, reason).with_kind(CauseKind::Unreachable))
}
