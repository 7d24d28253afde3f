//! W3C Trace Context: parses and validates `traceparent`, `tracestate` and `baggage`. No trace is started here. An invalid
//! header is ignored as a whole; `traceparent` is valid without `tracestate`.
//!
//! Sources: <https://www.w3.org/TR/trace-context/>, `traceparent` of versions 00 and later;
//! <https://www.w3.org/TR/baggage/>.

use std::collections::HashSet;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Maximum number of members in `tracestate`.
const STATE_MAX_MEMBERS: usize = 32;
/// Maximum length of `tracestate` in bytes, all its headers together. A longer one is ignored.
const STATE_MAX_BYTES: usize = 512;
/// Maximum number of members in `baggage`.
const BAGGAGE_MAX_MEMBERS: usize = 64;
/// Maximum length of `baggage` in bytes, all its headers together. A longer one is ignored.
const BAGGAGE_MAX_BYTES: usize = 8_192;

/// A valid `traceparent` with its `tracestate`.
#[derive(Clone, Debug)]
pub(crate) struct TraceContext {
    parent: HeaderValue,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// Reads the headers; `None` if `traceparent` is missing, repeated or invalid.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let parent = headers.get(&TRACEPARENT)?;
        if headers.get_all(&TRACEPARENT).nth(1).is_some() || !is_valid(parent.as_bytes()) {
            return None;
        }
        let state = joined(headers, &TRACESTATE, STATE_MAX_BYTES).filter(|state| is_valid_state(state.as_bytes()));
        Some(Self { parent: parent.clone(), state })
    }

    /// The trace id: 32 lower-case hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        crate::ids::ascii(&self.parent.as_bytes()[3..35])
    }

    /// The caller's span id: 16 lower-case hexadecimal digits.
    pub(crate) fn span_id(&self) -> &str {
        crate::ids::ascii(&self.parent.as_bytes()[36..52])
    }

    pub(crate) fn parent(&self) -> &HeaderValue {
        &self.parent
    }

    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }
}

/// Reads the `baggage` header, if it is valid.
pub(crate) fn baggage(headers: &HeaderMap) -> Option<HeaderValue> {
    joined(headers, &BAGGAGE, BAGGAGE_MAX_BYTES).filter(|baggage| is_valid_baggage(baggage.as_bytes()))
}

/// Joins all values of a header to one list; `None` if it is empty or too long.
fn joined(headers: &HeaderMap, name: &HeaderName, max_bytes: usize) -> Option<HeaderValue> {
    let mut values = headers.get_all(name);
    let first = values.next()?;
    let whole = match values.next() {
        None => first.clone(),
        Some(_) => {
            let all: Vec<&[u8]> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b',')).ok()?
        }
    };
    (1..=max_bytes).contains(&whole.len()).then_some(whole)
}

/// Validates a list of at most 32 members `key=value` with distinct keys. Empty members are allowed.
fn is_valid_state(state: &[u8]) -> bool {
    let mut keys = HashSet::new();
    let members = state.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty());
    let valid = members.map(|member| {
        let (key, value) = member.split_at(member.iter().position(|byte| *byte == b'=')?);
        (is_state_key(key) && is_state_value(&value[1..]) && keys.insert(key)).then_some(())
    });
    let valid: Option<Vec<()>> = valid.collect();
    valid.is_some_and(|members| (1..=STATE_MAX_MEMBERS).contains(&members.len()))
}

/// Validates a simple key of at most 256 characters, or `tenant@system` of at most 241 and 14.
fn is_state_key(key: &[u8]) -> bool {
    let rest = |part: &[u8]| {
        part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte))
    };
    let letter = |part: &[u8]| part.first().is_some_and(u8::is_ascii_lowercase);
    let mut parts = key.split(|byte| *byte == b'@');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(simple), None, _) => simple.len() <= 256 && letter(simple) && rest(simple),
        (Some(tenant), Some(system), None) => {
            let starts = letter(tenant) || tenant.first().is_some_and(u8::is_ascii_digit);
            let bounded = tenant.len() <= 241 && system.len() <= 14;
            bounded && starts && letter(system) && rest(tenant) && rest(system)
        }
        _ => false,
    }
}

/// Validates a value of 1 to 256 printable characters without comma and equals sign. The caller has removed trailing
/// blanks.
fn is_state_value(value: &[u8]) -> bool {
    let printable = |byte: &u8| matches!(byte, 0x20..=0x7e) && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(printable)
}

/// Validates a list of at most 64 members `key=value;property…`.
fn is_valid_baggage(baggage: &[u8]) -> bool {
    let token = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| is_token(*byte));
    let value = |part: &[u8]| part.iter().all(|byte| matches!(byte, 0x21..=0x7e) && !b"\",;\\".contains(byte));
    let pair = |part: &[u8], alone: bool| match part.iter().position(|byte| *byte == b'=') {
        Some(at) => token(trim(&part[..at])) && value(trim(&part[at + 1..])),
        None => alone && token(trim(part)),
    };
    let mut members = baggage.split(|byte| *byte == b',');
    let valid = |member: &[u8]| {
        let mut parts = member.split(|byte| *byte == b';');
        parts.next().is_some_and(|first| pair(first, false)) && parts.all(|property| pair(property, true))
    };
    members.clone().count() <= BAGGAGE_MAX_MEMBERS && members.all(valid)
}

/// Whether a byte is a token character (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Removes surrounding blanks and tabs.
fn trim(part: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = part.iter().position(|byte| !blank(byte)).unwrap_or(part.len());
    let end = part.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &part[start..end]
}

/// Validates a `traceparent` of version 00 or later.
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
    fn only_a_valid_traceparent_is_accepted() {
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

    #[test]
    fn only_a_valid_tracestate_is_accepted() {
        let long = |count: usize| {
            vec!["a=1"; 1]
                .into_iter()
                .map(str::to_owned)
                .chain((1..count).map(|n| format!("k{n}=1")))
                .collect::<Vec<_>>()
                .join(",")
        };
        let (key, value, tenant) =
            (format!("{}=1", "k".repeat(256)), format!("a={}", "v".repeat(256)), "t".repeat(241));
        let (tenant, system) = (format!("{tenant}@s=1"), format!("t@{}=1", "s".repeat(14)));
        for good in [
            "a=1",
            "a=1,b=2",
            "a=1 , b=2",
            "a=1,,b=2,",
            "a=\t1 2".trim(),
            "0t@sys=x",
            "a_-*/9=~!",
            "a= 1",
            &long(32),
            &key,
            &value,
            &tenant,
            &system,
        ] {
            assert_eq!(is_valid_state(good.as_bytes()), !good.contains('\t'), "{good}");
        }
        let (key, value) = (format!("{}=1", "k".repeat(257)), format!("a={}", "v".repeat(257)));
        let (tenant, system) = (format!("{}@s=1", "t".repeat(242)), format!("t@{}=1", "s".repeat(15)));
        for bad in [
            "",
            ",",
            " , ",
            "a",
            "a=",
            "=1",
            "A=1",
            "0a=1",
            "a.b=1",
            "a =1",
            "a=1=2",
            "a=1,a=2",
            "a=é",
            "a@=1",
            "@a=1",
            "a@@b=1",
            "a@b@c=1",
            "a@0b=1",
            "a=1;b=2,c",
            &long(33),
            &key,
            &value,
            &tenant,
            &system,
        ] {
            assert!(!is_valid_state(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_valid_baggage_is_accepted() {
        for good in ["a=1", "a=1,b=%20x", "a = 1 ; p ; q=2 , b=", "userId=alice;ttl=3"] {
            assert!(is_valid_baggage(good.as_bytes()), "{good}");
        }
        let many = vec!["a=1"; 65].join(",");
        for bad in ["", ",", "a", "=1", "a=1,,b=2", "a=x y", "a=\"1\"", "a=1;", "ä=1", "a=ä", &many] {
            assert!(!is_valid_baggage(bad.as_bytes()), "{bad}");
        }
    }
}
