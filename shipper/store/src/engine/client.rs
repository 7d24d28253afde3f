//! Requests to an engine: one deadline each, plain JSON types that every engine knows, answers in whole.

use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::Credentials as ClientCredentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::headers::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{MultiNodeConnectionPool, Transport, TransportBuilder};
use serde_json::Value;
use url::Url;

use crate::disposition::Cause;
use crate::engine::bulk_answer::without_source;
use crate::error::OpenError;
use crate::settings::{Credentials, EngineSettings};

/// A longer answer is not read further; it is then no answer.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// An engine's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// No answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Not within the deadline.
    TimedOut,
    /// The connection failed, or the answer did not come whole.
    Failed(Cause),
}

impl NoAnswer {
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::TimedOut => Cause::new(0, "no answer in time"),
            Self::Failed(cause) => cause,
        }
    }
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Why the engine said no, in its words.
    pub(super) fn cause(&self) -> Cause {
        let json = self.json();
        let error = &json["error"];
        let root = if error["root_cause"][0]["reason"].is_string() { &error["root_cause"][0] } else { error };
        let reason = match (root["type"].as_str(), root["reason"].as_str()) {
            (Some(kind), Some(reason)) => format!("{kind}: {}", without_source(reason)),
            (None, Some(reason)) => without_source(reason).to_owned(),
            _ => match error.as_str() {
                Some(text) => text.to_owned(),
                None => String::from_utf8_lossy(&self.body).chars().take(200).collect(),
            },
        };
        Cause::new(self.status, format!("HTTP {}: {reason}", self.status))
    }

    /// Type and reason of the engine's error; empty where it gives none.
    pub(super) fn error(&self) -> (String, String) {
        let json = self.json();
        let text = |key: &str| json["error"][key].as_str().unwrap_or_default().to_owned();
        (text("type"), text("reason"))
    }

    /// Another try may be answered otherwise without anybody's help.
    pub(super) fn is_passing(&self) -> bool {
        self.status == 429 || self.status >= 500
    }
}

/// Connections to the nodes of one cluster, asked in turn.
#[derive(Clone, Debug)]
pub(super) struct Client {
    transport: Transport,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(addresses: &[Url], settings: &EngineSettings) -> Result<Self, OpenError> {
        let pool = MultiNodeConnectionPool::round_robin(addresses.to_vec(), None);
        let mut builder = TransportBuilder::new(pool).disable_proxy().enable_meta_header(false);
        if let Some(path) = &settings.ca_certificate {
            let unusable = |reason: String| OpenError::Certificate { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
            builder = builder.cert_validation(CertificateValidation::Full(certificate));
        }
        if let Some(credentials) = &settings.credentials {
            builder = builder.auth(client_credentials(credentials)?);
        }
        let transport = builder.build().map_err(|error| OpenError::Client(error.to_string()))?;
        Ok(Self { transport, timeout: settings.request_timeout })
    }

    /// Sends a request with a JSON body, or none.
    pub(super) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, NoAnswer> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.send(method, path, "application/json", &[], body).await
    }

    /// Sends a request.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, NoAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let sent = self.transport.send(method, path, headers, Some(query), body, Some(self.timeout)).await;
        let response = sent.map_err(|error| failed(&error))?;
        let status = response.status_code().as_u16();
        if response.content_length().is_some_and(|length| length > ANSWER_MAX_BYTES as u64) {
            return Err(NoAnswer::Failed(Cause::new(status, "the answer is too long")));
        }
        let body = response.bytes().await.map_err(|error| failed(&error))?;
        Ok(Answer { status, body })
    }
}

fn failed(error: &elasticsearch::Error) -> NoAnswer {
    if error.is_timeout() {
        return NoAnswer::TimedOut;
    }
    // The innermost error says what happened; those around it say that something did.
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    NoAnswer::Failed(Cause::new(0, innermost.to_string()))
}

fn client_credentials(credentials: &Credentials) -> Result<ClientCredentials, OpenError> {
    match credentials {
        Credentials::Basic { user, password } => Ok(ClientCredentials::Basic(user.clone(), password.clone())),
        Credentials::ApiKey(key) if key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(ClientCredentials::EncodedApiKey(key.clone()))
        }
        Credentials::ApiKey(_) => Err(OpenError::Client("the API key has characters that no API key has".to_owned())),
    }
}
