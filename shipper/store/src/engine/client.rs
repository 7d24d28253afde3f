//! HTTP requests to an engine, each with a timeout and a size limit. Content types are plain JSON, which every engine
//! supports.

mod body;
mod handshake;
mod node;
mod tls;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use flate2::write::GzEncoder;
use serde_json::Value;
use url::Url;

use self::node::{Node, Request};
use crate::disposition::{Cause, CauseKind};
use crate::engine::bulk_response::without_source;
use crate::error::OpenError;
use crate::settings::{Compression, EngineSettings};

/// Maximum size of a response to `_bulk`. An item takes about 25 bytes if the line was stored and a few hundred
/// otherwise, so this is a multiple of what a batch needs. A longer response is not used: it is unknown what was
/// stored, and the lines are retried in smaller requests ([`WriteError::ResponseTooLong`](crate::WriteError)).
const BULK_RESPONSE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Maximum size of any other response: a page of long lines, an aggregation, a template. A request with a longer
/// response fails.
const RESPONSE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// What to do about a proxy that requires authentication.
const PROXY_ADVICE: &str = "the proxy requires credentials, or other ones: set proxy_user and proxy_password_file \
     (STORE_PROXY_USER and STORE_PROXY_PASSWORD_FILE), or both in the environment's proxy address";

/// An engine's response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// Target of a redirect, without secrets. Redirects are not followed.
    pub(super) location: Option<String>,
    /// The proxy, if it may have sent the response itself and the status is one that proxies use.
    pub(super) proxy: Option<String>,
}

/// A request failed without a usable response.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The timeout expired.
    TimedOut,
    /// The connection failed, or the response was incomplete.
    Failed(Cause),
    /// The response exceeds the size limit.
    TooLong(Cause),
}

impl RequestError {
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::TimedOut => Cause::new(0, "no response within the timeout").with_kind(CauseKind::TimedOut),
            Self::Failed(cause) | Self::TooLong(cause) => cause,
        }
    }
}

impl Response {
    /// Parses the body as JSON; null if it is not.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the engine's error.
    pub(super) fn cause(&self) -> Cause {
        if (300..=399).contains(&self.status) {
            return self.redirect();
        }
        if self.status == 407 {
            return Cause::new(self.status, format!("HTTP 407: {PROXY_ADVICE}"));
        }
        let json = self.json();
        let error = &json["error"];
        let root = if error["root_cause"][0]["reason"].is_string() { &error["root_cause"][0] } else { error };
        let reason = match (root["type"].as_str(), root["reason"].as_str()) {
            (Some(kind), Some(reason)) => format!("{kind}: {}", without_source(reason)),
            (None, Some(reason)) => without_source(reason).to_owned(),
            _ => match (error.as_str(), &self.proxy) {
                (Some(text), _) => text.to_owned(),
                // The body is not in an engine's format.
                (None, Some(proxy)) => format!("from the proxy {proxy} or the store behind it: {}", self.beginning()),
                (None, None) => self.beginning(),
            },
        };
        Cause::new(self.status, format!("HTTP {}: {reason}", self.status))
    }

    /// Returns the beginning of a body of unknown format.
    fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }

    /// Describes a redirect. It is not followed: that would send credentials to any host it names, and turn a POST into
    /// a GET.
    fn redirect(&self) -> Cause {
        let target = self.location.as_deref().unwrap_or("an unspecified location");
        let advice = "set --to to the store's own address";
        Cause::new(self.status, format!("HTTP {}: redirect to {target}, which is not followed: {advice}", self.status))
    }

    /// Returns type and reason of the engine's error, or empty strings.
    pub(super) fn error(&self) -> (String, String) {
        let json = self.json();
        let text = |key: &str| json["error"][key].as_str().unwrap_or_default().to_owned();
        (text("type"), text("reason"))
    }

    /// Whether a retry may succeed without anyone's intervention.
    pub(super) fn is_transient(&self) -> bool {
        self.status == 429 || self.status >= 500
    }
}

/// Connections to the nodes of one cluster. Each node has a client of its own, since the `elasticsearch` crate rotates
/// over a list of nodes including dead ones.
#[derive(Clone, Debug)]
pub(super) struct Client {
    nodes: Arc<[Node]>,
    /// The node to try first in the next request that may go to any node.
    next_node: Arc<AtomicUsize>,
    timeout: Duration,
    compression: Compression,
}

impl Client {
    pub(super) fn new(addresses: &[Url], settings: &EngineSettings) -> Result<Self, OpenError> {
        let tls = tls::config(settings)?;
        let node = |address: &Url| Node::new(address, settings, &tls);
        let nodes: Arc<[Node]> = addresses.iter().map(node).collect::<Result<_, OpenError>>()?;
        if nodes.is_empty() {
            return Err(OpenError::Client("no address".to_owned()));
        }
        let (timeout, compression) = (settings.request_timeout, settings.compression);
        Ok(Self { nodes, next_node: Arc::default(), timeout, compression })
    }

    /// Returns the nodes' names: host and port.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// Sends a request with an optional JSON body to any node.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, RequestError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.send(method, path, "application/json", &[], body).await
    }

    /// Sends a request to any node. Each is tried at most once, within one timeout.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Response, RequestError> {
        let headers = self.headers(content_type);
        let first = self.next_node.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let mut response = Err(RequestError::TimedOut);
        for index in 0..self.nodes.len() {
            let left = self.timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            let node = &self.nodes[first.wrapping_add(index) % self.nodes.len()];
            let request = Request { method, path, headers: headers.clone(), query, body: body.clone(), timeout: left };
            response = node.send(request, RESPONSE_MAX_BYTES).await;
            if !matches!(response, Err(RequestError::Failed(_))) {
                break;
            }
        }
        response
    }

    /// Sends a `_bulk` request to the node with index `host`, or to any node.
    pub(super) async fn bulk(
        &self,
        host: Option<usize>,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, RequestError> {
        const NDJSON: &str = "application/x-ndjson";
        let first = || self.next_node.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let Some(node) = self.nodes.get(host.unwrap_or_else(first)) else {
            return Err(RequestError::Failed(Cause::new(0, "no such host").with_kind(CauseKind::Unreachable)));
        };
        let mut headers = self.headers(NDJSON);
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(body).await?
            }
        };
        let (method, path, body, timeout) = (Method::Post, "_bulk", Some(body), self.timeout);
        node.send(Request { method, path, headers, query, body, timeout }, BULK_RESPONSE_MAX_BYTES).await
    }

    fn headers(&self, content_type: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.compression == Compression::None {
            // Otherwise the client requests gzip by default, and the length of a response is unknown before it is read.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        headers
    }
}

/// Compresses a body with gzip on a blocking thread.
async fn gzip(body: Bytes) -> Result<Bytes, RequestError> {
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish())
    };
    let failed = |reason: String| RequestError::Failed(Cause::new(0, format!("can't compress the batch: {reason}")));
    match tokio::task::spawn_blocking(compress).await {
        Ok(Ok(compressed)) => Ok(Bytes::from(compressed)),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}
