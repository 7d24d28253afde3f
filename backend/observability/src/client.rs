//! Outgoing requests that pass on the ids of the request at hand.

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{IntoUrl, Method, RequestBuilder};

use crate::context::RequestContext;

/// A [`reqwest::Client`] whose requests carry `X-Request-Id`, `traceparent` (as it came) and `tracestate` (if valid)
/// of the request whose span is current when they are made, and with `FORWARD_BAGGAGE=1` its `baggage`. Outside a
/// request nothing is added.
#[derive(Clone, Debug, Default)]
pub struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// Wraps a client with its own settings: timeouts, proxies, certificates.
    pub fn new(inner: reqwest::Client) -> Self {
        Self { inner }
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request of any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let builder = self.inner.request(method, url);
        match RequestContext::current() {
            Some(context) => with_ids(builder, &context),
            None => builder,
        }
    }
}

/// Adds the ids of `context` to a request, for code that runs outside the request's span.
pub fn with_ids(builder: RequestBuilder, context: &RequestContext) -> RequestBuilder {
    context.outgoing_headers().fold(builder, |builder, (name, value)| match HeaderValue::from_bytes(value) {
        Ok(value) => builder.header(HeaderName::from_static(name), value),
        Err(_) => builder,
    })
}
