//! Paths of this service, and how text is encoded in a URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that are not percent-encoded (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a text as a part of a URL.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The path of a request's page.
#[must_use]
pub fn request_page(request_id: &str) -> String {
    format!("/requests/{}", encode(request_id))
}

/// The path of a request's lines in the API.
#[must_use]
pub fn request_api(request_id: &str) -> String {
    format!("/api/requests/{}", encode(request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_a_path() {
        assert_eq!(request_api("a/b+c"), "/api/requests/a%2Fb%2Bc");
        assert_eq!(request_page("a?b#c"), "/requests/a%3Fb%23c");
    }
}
