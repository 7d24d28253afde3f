//! A node of the cluster, and its HTTP clients.
//!
//! PUT requests use the `elasticsearch` crate, unless certificates or a proxy are configured: the crate can neither
//! trust a server's self-signed certificate nor exempt hosts from a proxy. It returns a response's body only as a
//! whole, so the body is read only if its declared length is within the limit; otherwise the status is enough. All
//! other responses are read in chunks, up to their limit.
//!
//! Redirects are not followed. The crate does follow them, without credentials; the result is then reported as a
//! redirect.

use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::Credentials as ClientCredentials;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use rustls::ClientConfig;
use url::Url;

use super::body::{failed, read_whole, too_long};
use super::{PROXY_ADVICE, RequestError, Response};
use crate::error::OpenError;
use crate::proxy::Route;
use crate::settings::{Credentials, EngineSettings};

/// Status reported for a response from another URL than the requested one.
const REDIRECTED: u16 = 308;

/// Maximum length of a redirect's target in messages.
const TARGET_MAX_CHARS: usize = 200;

/// An HTTP request.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
}

/// A node of the cluster.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    /// Ends with a slash, so that paths can be joined.
    address: Url,
    transport: Option<Transport>,
    http: reqwest::Client,
    proxy: Option<Route>,
    credentials: Option<Credentials>,
}

impl Node {
    /// Creates a node at `address`. `tls` applies to HTTPS addresses.
    pub(super) fn new(address: &Url, settings: &EngineSettings, tls: &ClientConfig) -> Result<Self, OpenError> {
        let mut joinable = address.clone();
        if !joinable.path().ends_with('/') {
            joinable.set_path(&format!("{}/", joinable.path()));
        }
        let proxy = settings.proxy.route(address).map_err(|error| OpenError::Client(error.to_string()))?;
        let is_default = proxy.is_none() && settings.ca_certificate.is_none() && settings.client_certificate.is_none();
        Ok(Self {
            name: host_and_port(address),
            address: joinable,
            transport: is_default.then(|| transport(address, settings)).transpose()?,
            http: http(tls, proxy.as_ref())?,
            proxy,
            credentials: settings.credentials.clone(),
        })
    }

    /// Returns host and port.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request and reads at most `max_bytes` of the response.
    pub(super) async fn send(&self, request: Request<'_>, max_bytes: usize) -> Result<Response, RequestError> {
        let response = match request.method {
            Method::Put => match &self.transport {
                Some(transport) => self.put(transport, request, max_bytes).await,
                None => self.send_directly(reqwest::Method::PUT, request, max_bytes).await,
            },
            Method::Get => self.send_directly(reqwest::Method::GET, request, max_bytes).await,
            Method::Post => self.send_directly(reqwest::Method::POST, request, max_bytes).await,
            Method::Delete => self.send_directly(reqwest::Method::DELETE, request, max_bytes).await,
            Method::Head => self.send_directly(reqwest::Method::HEAD, request, max_bytes).await,
        };
        match response {
            Ok(mut response) => {
                response.proxy = self.answering_proxy(response.status);
                Ok(response)
            }
            Err(error) => Err(self.with_proxy(error)),
        }
    }

    /// Returns the proxy if it may have sent the response itself, which is only possible without TLS.
    fn answering_proxy(&self, status: u16) -> Option<String> {
        let proxy = self.proxy.as_ref().filter(|_| self.address.scheme() == "http")?;
        matches!(status, 403 | 407 | 502..=504).then(|| proxy.name())
    }

    /// Adds the proxy's name to a failure that it may have caused.
    fn with_proxy(&self, error: RequestError) -> RequestError {
        match (error, &self.proxy) {
            (RequestError::Failed(mut cause), Some(proxy)) => {
                // The error's type is private to reqwest.
                if cause.reason.contains("proxy authorization required") {
                    cause.reason = PROXY_ADVICE.to_owned();
                }
                cause.reason = format!("via the proxy {}: {}", proxy.name(), cause.reason);
                RequestError::Failed(cause)
            }
            (error, _) => error,
        }
    }

    async fn send_directly(
        &self,
        method: reqwest::Method,
        request: Request<'_>,
        max_bytes: usize,
    ) -> Result<Response, RequestError> {
        let Request { path, headers, query, body, timeout, .. } = request;
        let url = self.address.join(path).map_err(|error| failed(&error, false))?;
        let mut request = self.http.request(method, url).timeout(timeout).headers(headers).query(query);
        request = match &self.credentials {
            None => request,
            Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password)),
            Some(Credentials::ApiKey(key)) => request.header(AUTHORIZATION, format!("ApiKey {key}")),
        };
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| failed(&error, error.is_timeout()))?;
        let status = response.status().as_u16();
        let location =
            response.headers().get(LOCATION).and_then(|to| redirect_target(response.url(), to.to_str().ok()?));
        Ok(Response { status, body: read_whole(response, max_bytes).await?, location, proxy: None })
    }

    async fn put(
        &self,
        transport: &Transport,
        request: Request<'_>,
        max_bytes: usize,
    ) -> Result<Response, RequestError> {
        let Request { method, path, mut headers, query, body, timeout } = request;
        // The length of a compressed response is unknown before it is read, and the text of an error is needed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let sent = transport.send(method, path, headers, Some(query), body, Some(timeout)).await;
        let response = sent.map_err(|error| failed(&error, error.is_timeout()))?;
        // The crate follows redirects, without credentials. The response then is not from the requested URL.
        if !is_from(response.url(), &self.address, path) {
            let location = redirect_target(response.url(), "");
            return Ok(Response { status: REDIRECTED, body: Bytes::new(), location, proxy: None });
        }
        let status = response.status_code().as_u16();
        let body = match response.content_length() {
            None => Bytes::new(),
            Some(length) if length > max_bytes as u64 => return Err(too_long(status, max_bytes)),
            Some(_) => response.bytes().await.map_err(|error| failed(&error, error.is_timeout()))?,
        };
        Ok(Response { status, body, location: None, proxy: None })
    }
}

/// Returns host and port of an address.
fn host_and_port(address: &Url) -> String {
    let port = address.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", address.host_str().unwrap_or_default())
}

/// Whether a response is from the requested URL.
fn is_from(url: &Url, address: &Url, path: &str) -> bool {
    address.join(path).is_ok_and(|requested| requested.origin() == url.origin() && requested.path() == url.path())
}

/// Returns a redirect's target for messages, without anything secret.
fn redirect_target(from: &Url, to: &str) -> Option<String> {
    let mut target = from.join(to).ok()?;
    // This fails only for addresses that can't have credentials.
    let _ = (target.set_username(""), target.set_password(None));
    target.set_query(None);
    target.set_fragment(None);
    Some(target.as_str().chars().take(TARGET_MAX_CHARS).collect())
}

fn transport(address: &Url, settings: &EngineSettings) -> Result<Transport, OpenError> {
    let pool = SingleNodeConnectionPool::new(address.clone());
    let mut builder = TransportBuilder::new(pool).disable_proxy().enable_meta_header(false);
    if let Some(credentials) = &settings.credentials {
        builder = builder.auth(client_credentials(credentials)?);
    }
    builder.build().map_err(|error| OpenError::Client(error.to_string()))
}

fn http(tls: &ClientConfig, proxy: Option<&Route>) -> Result<reqwest::Client, OpenError> {
    let client = |error: reqwest::Error| OpenError::Client(error.to_string());
    // The proxy is selected here, once, not by the client.
    let mut builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if let Some(route) = proxy {
        let mut proxy = reqwest::Proxy::all(route.url.clone()).map_err(client)?;
        if let Some((user, password)) = &route.credentials {
            proxy = proxy.basic_auth(user, password);
        }
        builder = builder.proxy(proxy);
    }
    builder.use_preconfigured_tls(tls.clone()).build().map_err(client)
}

fn client_credentials(credentials: &Credentials) -> Result<ClientCredentials, OpenError> {
    match credentials {
        Credentials::Basic { user, password } => Ok(ClientCredentials::Basic(user.clone(), password.clone())),
        Credentials::ApiKey(key) if key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(ClientCredentials::EncodedApiKey(key.clone()))
        }
        Credentials::ApiKey(_) => Err(OpenError::Client("the API key contains invalid characters".to_owned())),
    }
}
