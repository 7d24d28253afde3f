//! HTTP client that forwards the ids of the current request.

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{IntoUrl, Method, RequestBuilder};

use crate::context::RequestContext;

/// A [`reqwest::Client`] that adds the headers of the current request to outgoing ones: `X-Request-Id`, `traceparent`
/// (unchanged), `tracestate` (if valid) and, with `FORWARD_BAGGAGE=1`, `baggage`. Outside a request it adds nothing.
///
/// The current request is the one whose span is current when the outgoing request is created.
#[derive(Clone, Debug, Default)]
pub struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// Wraps a configured client, with its timeouts, proxies and certificates.
    pub fn new(inner: reqwest::Client) -> Self {
        Self { inner }
    }

    /// Creates a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Creates a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Creates a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Creates a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Creates a request with any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let builder = self.inner.request(method, url);
        match RequestContext::current() {
            Some(context) => with_ids(builder, &context),
            None => builder,
        }
    }
}

/// Adds the ids in `context` to an outgoing request, for code that runs outside the request's span.
pub fn with_ids(builder: RequestBuilder, context: &RequestContext) -> RequestBuilder {
    context.outgoing_headers().fold(builder, |builder, (name, value)| match HeaderValue::from_bytes(value) {
        Ok(value) => builder.header(HeaderName::from_static(name), value),
        Err(_) => builder,
    })
}
