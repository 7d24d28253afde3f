//! The searchable fields: one table that the query language, the embedded store, the index template and the
//! documentation are built from.
//!
//! To add a field, add a row to [`searchable_fields`] with the next free code, and run `make generate`.

use std::fmt;
use std::str::FromStr;

use super::Number;

/// Maximum length of an indexed value in UTF-16 code units; engines ignore longer ones.
const VALUE_MAX: usize = 1_024;

/// The same for fields that hold paths and reasons.
const LONG_VALUE_MAX: usize = 8_191;

/// One row of the table.
struct FieldSpec {
    /// Stands for the field in the embedded store's file. Codes are never reused.
    code: u8,
    /// Path in a document, with nested names joined by dots.
    path: &'static str,
    /// Maximum length of an indexed value in UTF-16 code units.
    max_units: usize,
    description: &'static str,
}

/// Declares [`Field`] and its table. A row is `Variant = code, key, maximum length, description`.
macro_rules! searchable_fields {
    (
        top { $($top:ident = $top_code:literal, $top_key:literal, $top_max:expr, $top_doc:literal;)* }
        origin { $($sub:ident = $sub_code:literal, $sub_key:literal, $sub_max:expr, $sub_doc:literal;)* }
    ) => {
        /// A field that holds a string, searchable by exact value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(#[doc = concat!("`", $top_key, "`: ", $top_doc)] $top,)*
            $(#[doc = concat!("`origin.", $sub_key, "`: ", $sub_doc)] $sub,)*
        }

        /// The table, in the order of [`Field::ALL`].
        const FIELDS: [FieldSpec; Field::ALL.len()] = [
            $(FieldSpec { code: $top_code, path: $top_key, max_units: $top_max, description: $top_doc },)*
            $(FieldSpec {
                code: $sub_code,
                path: concat!("origin.", $sub_key),
                max_units: $sub_max,
                description: $sub_doc,
            },)*
        ];

        impl Field {
            /// All fields, the contract's first.
            pub const ALL: [Self; [$($top_code,)* $($sub_code,)*].len()] = [$(Self::$top,)* $(Self::$sub,)*];

            /// Returns the field of a key at the top of a document.
            pub(crate) fn from_top_key(key: &str) -> Option<Self> {
                match key {
                    $($top_key => Some(Self::$top),)*
                    _ => None,
                }
            }

            /// Returns the field of a key in `origin`.
            pub(crate) fn from_origin_key(key: &str) -> Option<Self> {
                match key {
                    $($sub_key => Some(Self::$sub),)*
                    _ => None,
                }
            }
        }
    };
}

searchable_fields! {
    top {
        Service = 1, "service", VALUE_MAX, "the service that wrote the line";
        Level = 2, "level", VALUE_MAX, "`trace`, `debug`, `info`, `warn` or `error`";
        RequestId = 3, "request_id", VALUE_MAX, "the request; `request` for short";
        ProjectId = 4, "project_id", VALUE_MAX, "the project; `project` for short";
        TraceId = 5, "trace_id", VALUE_MAX, "the trace id of a W3C traceparent";
        SpanId = 6, "span_id", VALUE_MAX, "the span id of a W3C traceparent";
        Target = 7, "target", VALUE_MAX, "the module of the service; `access` for access lines";
        Method = 8, "method", VALUE_MAX, "the request's method, in access lines";
        Endpoint = 9, "endpoint", VALUE_MAX, "the route pattern, in access lines";
        Outcome = 10, "outcome", VALUE_MAX, "the request's outcome, in access lines";
    }
    origin {
        Host = 11, "host", VALUE_MAX, "the host on which the line was read";
        Shipper = 12, "shipper", VALUE_MAX, "the shipper that read it";
        Stream = 13, "stream", VALUE_MAX, "`stdout` or `stderr` of a child process or a container";
        File = 14, "file", LONG_VALUE_MAX, "the file it was read from";
        Container = 15, "container", VALUE_MAX, "the container that wrote it";
        ComposeService = 16, "compose_service", VALUE_MAX, "the container's Compose service";
        Pod = 17, "pod", VALUE_MAX, "the container's Kubernetes pod";
        Generation = 18, "generation", VALUE_MAX, "the generation of its source";
        Wrapped = 19, "wrapped", VALUE_MAX, "the reason why the line was wrapped, if it was";
        PipelineError = 20, "pipeline_error", LONG_VALUE_MAX, "the error of the ingest pipeline, if it failed";
    }
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

impl Field {
    const fn spec(self) -> &'static FieldSpec {
        &FIELDS[self as usize]
    }

    /// Returns its name in a query: the key without `origin.`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        let path = self.path();
        match path.as_bytes() {
            [b'o', b'r', b'i', b'g', b'i', b'n', b'.', ..] => path.split_at(7).1,
            _ => path,
        }
    }

    /// Returns its path in a document, with nested names joined by dots.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.spec().path
    }

    /// Describes the field in a few words.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.spec().description
    }

    /// Returns the maximum length of an indexed value, in UTF-16 code units.
    pub(crate) const fn max_units(self) -> usize {
        self.spec().max_units
    }

    /// Returns the code that stands for it in the embedded store's file.
    pub(crate) const fn code(self) -> u8 {
        self.spec().code
    }

    /// Returns the field at a path of a document.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        match path.strip_prefix("origin.") {
            Some(key) => Self::from_origin_key(key),
            None => Self::from_top_key(path),
        }
    }

    /// Whether a value is short enough to be indexed.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        let max = self.max_units();
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

    /// Returns the type with which engines index it.
    #[cfg(test)]
    pub(crate) const fn mapping_type(self) -> &'static str {
        match self {
            Self::Status => "integer",
            Self::DurationMs => "double",
        }
    }

    /// Describes the field in a few words.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Status => "the status of the response, an integer",
            Self::DurationMs => "the duration of the request in milliseconds",
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

    #[test]
    fn fields_parse_from_names_and_paths() {
        for field in Field::ALL {
            assert_eq!((field.name().parse(), field.path().parse()), (Ok(field), Ok(field)));
            assert_eq!(Field::from_path(field.path()), Some(field));
            let max = field.max_units();
            assert!(field.fits(&"ü".repeat(max)) && !field.fits(&"x".repeat(max + 1)), "{field}");
        }
        for field in NumberField::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
        assert_eq!("offset".parse::<Field>(), Err(ParseFieldError));
    }

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = Field::ALL.map(Field::code).into();
        assert_eq!(codes.len(), Field::ALL.len());
    }
}
