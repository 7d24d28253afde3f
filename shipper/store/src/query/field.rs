//! The searchable fields: exactly those in the index template.

use std::fmt;
use std::str::FromStr;

use super::Number;

/// A field that holds a string, searchable by exact value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `service`: the service that wrote the line.
    Service,
    /// `level`, one of [`crate::Level`].
    Level,
    /// `request_id`
    RequestId,
    /// `project_id`
    ProjectId,
    /// `trace_id` of a W3C traceparent.
    TraceId,
    /// `span_id` of a W3C traceparent.
    SpanId,
    /// `target`: the module of the service; `access` for access lines.
    Target,
    /// `method`: the request's method, in access lines.
    Method,
    /// `endpoint`: the route pattern, in access lines.
    Endpoint,
    /// `outcome`: the request's outcome, in access lines.
    Outcome,
    /// `origin.host`: the host on which the line was read.
    Host,
    /// `origin.shipper`: the shipper that read it.
    Shipper,
    /// `origin.stream`: `stdout` or `stderr` of a child process or a container.
    Stream,
    /// `origin.file`: the file it was read from.
    File,
    /// `origin.container`: the container that wrote it.
    Container,
    /// `origin.compose_service`
    ComposeService,
    /// `origin.pod`
    Pod,
    /// `origin.generation`: the generation of its source.
    Generation,
    /// `origin.wrapped`: the reason why the line was wrapped, if it was.
    Wrapped,
    /// `origin.pipeline_error`: the error of the ingest pipeline, if it failed.
    PipelineError,
}

/// A field that holds a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberField {
    /// `status`: the status of the response, an integer.
    Status,
    /// `duration_ms`: the duration of the request in milliseconds.
    DurationMs,
}

/// The text is not the name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a searchable field")]
pub struct ParseFieldError;

/// Maximum length of an indexed value in UTF-16 code units; engines ignore longer ones.
const VALUE_MAX: usize = 1_024;

/// The same for fields that hold paths and reasons.
const LONG_VALUE_MAX: usize = 8_191;

impl Field {
    /// All fields, the contract's first.
    pub const ALL: [Self; 20] = [
        Self::Service,
        Self::Level,
        Self::RequestId,
        Self::ProjectId,
        Self::TraceId,
        Self::SpanId,
        Self::Target,
        Self::Method,
        Self::Endpoint,
        Self::Outcome,
        Self::Host,
        Self::Shipper,
        Self::Stream,
        Self::File,
        Self::Container,
        Self::ComposeService,
        Self::Pod,
        Self::Generation,
        Self::Wrapped,
        Self::PipelineError,
    ];

    /// Returns its name in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        let path = self.path();
        // Fields of `origin` are named without the prefix.
        match path.as_bytes() {
            [b'o', b'r', b'i', b'g', b'i', b'n', b'.', ..] => path.split_at(7).1,
            _ => path,
        }
    }

    /// Returns its path in a document, with nested names joined by dots.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Level => "level",
            Self::RequestId => "request_id",
            Self::ProjectId => "project_id",
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::Target => "target",
            Self::Method => "method",
            Self::Endpoint => "endpoint",
            Self::Outcome => "outcome",
            Self::Host => "origin.host",
            Self::Shipper => "origin.shipper",
            Self::Stream => "origin.stream",
            Self::File => "origin.file",
            Self::Container => "origin.container",
            Self::ComposeService => "origin.compose_service",
            Self::Pod => "origin.pod",
            Self::Generation => "origin.generation",
            Self::Wrapped => "origin.wrapped",
            Self::PipelineError => "origin.pipeline_error",
        }
    }

    /// Returns the field at a path of a document.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.path() == path)
    }

    /// Whether a value is short enough to be indexed.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        let max = match self {
            Self::File | Self::PipelineError => LONG_VALUE_MAX,
            _ => VALUE_MAX,
        };
        // A string has at most as many code units as bytes.
        value.len() <= max || value.encode_utf16().count() <= max
    }
}

impl NumberField {
    /// All fields.
    pub const ALL: [Self; 2] = [Self::Status, Self::DurationMs];

    /// Returns its name in a query, which is also its path in a document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::DurationMs => "duration_ms",
        }
    }

    /// Parses the number that an engine indexes for a text. A status is truncated to an integer.
    pub(super) fn read(self, text: &str) -> Option<Number> {
        let number: f64 = text.trim().parse().ok()?;
        match self {
            Self::Status => {
                Number::new(number.trunc()).filter(|_| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number))
            }
            Self::DurationMs => Number::new(number),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl fmt::Display for NumberField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Field {
    type Err = ParseFieldError;

    /// Parses a name or a path; `project` and `request` are short for the ids.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "project" => Ok(Self::ProjectId),
            "request" => Ok(Self::RequestId),
            _ => {
                Self::ALL.into_iter().find(|field| field.name() == text || field.path() == text).ok_or(ParseFieldError)
            }
        }
    }
}

impl FromStr for NumberField {
    type Err = ParseFieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|field| field.name() == text).ok_or(ParseFieldError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../../infra/elasticsearch/index-template.json");

    #[test]
    fn fields_match_the_template_and_parse_from_their_names() {
        let template: serde_json::Value = serde_json::from_str(TEMPLATE).unwrap();
        for field in Field::ALL {
            let pointer = format!("/template/mappings/properties/{}", field.path().replace('.', "/properties/"));
            let mapped = template.pointer(&pointer).unwrap();
            assert_eq!(mapped["type"], "keyword", "{field}");
            let max = usize::try_from(mapped["ignore_above"].as_u64().unwrap()).unwrap();
            assert!(field.fits(&"ü".repeat(max)) && !field.fits(&"x".repeat(max + 1)), "{field}");
            assert_eq!((field.name().parse(), field.path().parse()), (Ok(field), Ok(field)));
        }
        for field in NumberField::ALL {
            assert!(template["template"]["mappings"]["properties"][field.name()].is_object(), "{field}");
            assert_eq!(field.name().parse(), Ok(field));
        }
        assert_eq!("offset".parse::<Field>(), Err(ParseFieldError));
    }
}
