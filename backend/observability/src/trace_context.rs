//! W3C Trace Context: which `traceparent` is valid, and what is read from it. It starts no trace of its own.
//!
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>, versions 00 and later.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A valid `traceparent`, and the `tracestate` that came with it.
#[derive(Clone, Debug)]
pub(crate) struct TraceContext {
    parent: HeaderValue,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// None if the header is missing, there twice, or invalid.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let parent = headers.get(&TRACEPARENT)?;
        if headers.get_all(&TRACEPARENT).nth(1).is_some() || !is_valid(parent.as_bytes()) {
            return None;
        }
        let mut states = headers.get_all(&TRACESTATE);
        let state = match (states.next(), states.next()) {
            (Some(only), None) => Some(only.clone()),
            (None, _) => None,
            (Some(_), Some(_)) => {
                let all: Vec<&[u8]> = headers.get_all(&TRACESTATE).map(HeaderValue::as_bytes).collect();
                HeaderValue::from_bytes(&all.join(&b',')).ok()
            }
        };
        Some(Self { parent: parent.clone(), state })
    }

    /// 32 lower-case hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        crate::context::ascii(&self.parent.as_bytes()[3..35])
    }

    /// 16 lower-case hexadecimal digits: the caller's span.
    pub(crate) fn span_id(&self) -> &str {
        crate::context::ascii(&self.parent.as_bytes()[36..52])
    }

    pub(crate) fn parent(&self) -> &HeaderValue {
        &self.parent
    }

    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }
}

fn is_valid(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    if value.len() < 55 || value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
        return false;
    }
    let (version, trace, span, flags) = (&value[..2], &value[3..35], &value[36..52], &value[53..55]);
    let length_fits = match version {
        b"ff" => false,
        b"00" => value.len() == 55,
        _ => value.len() == 55 || value[55] == b'-',
    };
    length_fits && [version, trace, span, flags].into_iter().all(hex) && !zero(trace) && !zero(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_parents_are_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_valid(good.as_bytes()));
        assert!(is_valid(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
