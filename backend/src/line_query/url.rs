//! Reads a URL's query string: the parameters that choose lines, and those of the route. Unknown and duplicate parameters
//! are rejected.

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::ops::RangeInclusive;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use observability::{MAX_ID_CHARS, is_valid_id};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use store::{Cursor, Order};
use url::form_urlencoded;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::line_query::param::Param;
use crate::line_query::params::{FilterParams, LineParams};
use crate::line_query::parse::VALUE_MAX_BYTES;
use crate::problem::Problem;

/// Lines of a page unless `limit` says otherwise.
pub const DEFAULT_LIMIT: usize = 100;

/// Maximum characters of an unknown name that an error repeats.
const SHOWN_CHARS: usize = 40;

/// The parameters of a route: those that choose lines, `L`, and the route's own, `O`. The fields of `O` are of type
/// `Option<String>`; an empty value is the same as an absent one.
#[derive(Debug)]
pub struct UrlParams<L, O>(pub L, pub O);

/// The parameters that choose lines which a route takes.
pub trait LineGroup: Sized {
    /// Those parameters.
    const PARAMS: &'static [Param];

    /// The group with these values.
    fn from_values(values: LineParams) -> Self;
}

impl LineGroup for LineParams {
    const PARAMS: &'static [Param] = &Param::ALL;

    fn from_values(values: LineParams) -> Self {
        values
    }
}

impl LineGroup for FilterParams {
    const PARAMS: &'static [Param] = &Param::FILTERS;

    fn from_values(values: LineParams) -> Self {
        Self(values)
    }
}

/// A route without the parameters that choose lines.
#[derive(Debug)]
pub struct NoLines;

impl LineGroup for NoLines {
    const PARAMS: &'static [Param] = &[];

    fn from_values(_: LineParams) -> Self {
        Self
    }
}

/// A route that takes no parameters of its own.
#[derive(Debug, Deserialize, IntoParams)]
pub struct NoOwn {}

impl IntoParams for LineParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Param::ALL.into_iter().map(described).collect()
    }
}

impl IntoParams for FilterParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Param::FILTERS.into_iter().map(described).collect()
    }
}

fn described(param: Param) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let parameter = ParameterBuilder::new().name(param.name()).parameter_in(ParameterIn::Query);
    parameter.description(Some(param.description())).schema(Some(schema)).build()
}

impl<L: LineGroup, O: DeserializeOwned + IntoParams> FromRequest for UrlParams<L, O> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

impl<L: LineGroup, O: DeserializeOwned + IntoParams> UrlParams<L, O> {
    fn parse(query_string: &str) -> Result<Self, Problem> {
        let own: Vec<_> =
            O::into_params(|| Some(ParameterIn::Query)).into_iter().map(|parameter| parameter.name).collect();
        let (mut lines, mut values, mut seen) = (LineParams::default(), Map::new(), BTreeSet::new());
        for (name, value) in form_urlencoded::parse(query_string.as_bytes()) {
            let param = L::PARAMS.iter().find(|param| param.name() == name);
            if param.is_none() && !own.iter().any(|own| *own == name) {
                return Err(unknown(
                    &name,
                    L::PARAMS.iter().map(|param| param.name()).chain(own.iter().map(|own| &**own)),
                ));
            }
            if value.len() > VALUE_MAX_BYTES {
                return Err(Problem::bad_request(format!("parameter `{name}` is longer than {VALUE_MAX_BYTES} bytes")));
            }
            if !seen.insert(name.clone()) {
                return Err(Problem::bad_request(format!("duplicate parameter `{name}`")));
            }
            match param {
                Some(param) => lines.set(*param, &value),
                None if value.is_empty() => {}
                None => drop(values.insert(name.into_owned(), Value::String(value.into_owned()))),
            }
        }
        let own = serde_json::from_value(Value::Object(values));
        let own = own.map_err(|error| Problem::bad_request(format!("invalid query string: {error}")))?;
        Ok(Self(L::from_values(lines), own))
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let name: String = name.chars().filter(|character| !character.is_control()).take(SHOWN_CHARS).collect();
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let takes = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
    Problem::bad_request(format!("unknown parameter `{name}`; this route takes {takes}"))
}

/// Checks an ID; `what` names it in the error, such as "request ID".
///
/// # Errors
/// 400 for an invalid ID.
pub fn check_id(what: &str, id: &str) -> Result<(), Problem> {
    if is_valid_id(id.as_bytes()) {
        return Ok(());
    }
    let expected = format!("1 to {MAX_ID_CHARS} characters of A-Z a-z 0-9 . _ - : / + =");
    Err(Problem::bad_request(format!("invalid {what}: expected {expected}")))
}

/// Parses a cursor.
///
/// # Errors
/// 400 for an invalid cursor.
pub fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Problem> {
    text.map(str::parse)
        .transpose()
        .map_err(|error: store::search::ParseCursorError| Problem::bad_request(error.to_string()))
}

/// Parses the sort order.
///
/// # Errors
/// 400 for anything but `newest` and `oldest`.
pub fn parse_order(text: Option<&str>) -> Result<Order, Problem> {
    match text {
        None | Some("newest") => Ok(Order::NewestFirst),
        Some("oldest") => Ok(Order::OldestFirst),
        Some(_) => Err(Problem::bad_request("invalid order: expected newest or oldest")),
    }
}

/// Parses a number within bounds.
///
/// # Errors
/// 400 for anything else.
pub fn parse_number(
    name: &str,
    text: Option<&str>,
    default: usize,
    bounds: RangeInclusive<usize>,
) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|number| is_number && bounds.contains(number)) {
        Some(number) => Ok(number),
        None => {
            let (least, most) = (bounds.start(), bounds.end());
            Err(Problem::bad_request(format!("invalid {name}: expected a number from {least} to {most}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, IntoParams)]
    struct Own {
        limit: Option<String>,
        order: Option<String>,
    }

    fn parse(query_string: &str) -> Result<UrlParams<LineParams, Own>, String> {
        UrlParams::parse(query_string).map_err(|problem| problem.to_string())
    }

    #[test]
    fn parameters_are_split_and_empty_ones_are_absent() {
        let UrlParams(lines, own) = parse("query=a+b%3Ac&limit=7&service=&order=").unwrap();
        assert_eq!((lines.get(Param::Query), lines.given(Param::Service)), ("a b:c", None));
        assert_eq!((own.limit.as_deref(), own.order), (Some("7"), None));
        assert!(parse("").is_ok());
    }

    #[test]
    fn unknown_duplicate_and_long_parameters_are_rejected() {
        let long = format!("service={}", "a".repeat(VALUE_MAX_BYTES + 1));
        for (query_string, expected) in [
            ("colour=red", "unknown parameter `colour`; this route takes `query`, `level`, "),
            ("Query=a", "unknown parameter `Query`"),
            ("=a", "unknown parameter ``"),
            ("level=warn&level=error", "duplicate parameter `level`"),
            ("limit=&limit=1", "duplicate parameter `limit`"),
            (&long, "parameter `service` is longer than 4096 bytes"),
        ] {
            let error = parse(query_string).unwrap_err();
            assert!(error.starts_with(expected), "{query_string}: {error}");
        }
        assert!(parse("x=1").unwrap_err().ends_with("`last`, `limit`, `order`"));
        let tail = UrlParams::<FilterParams, NoOwn>::parse("last=1h").unwrap_err().to_string();
        assert!(tail.starts_with("unknown parameter `last`") && tail.ends_with("`status`"), "{tail}");
        let none = UrlParams::<NoLines, NoOwn>::parse("a").unwrap_err().to_string();
        assert!(none.ends_with("this route takes no parameters"), "{none}");
    }

    #[test]
    fn a_number_is_within_its_bounds() {
        let parse = |text: Option<&str>| parse_number("top", text, 10, 1..=1_000);
        assert_eq!([None, Some("007")].map(|text| parse(text).unwrap()), [10, 7]);
        for text in ["0", "1001", "-1", "+1", "1e3", " 1", "ten", "99999999999999999999999"] {
            let error = parse(Some(text)).unwrap_err().to_string();
            assert_eq!(error, "invalid top: expected a number from 1 to 1000", "{text}");
        }
    }
}
