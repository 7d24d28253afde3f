//! `GET /api/sources/{generation}/{offset}/around`: the lines around a line in its source.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Around, GenerationId, MAX_LIMIT, PageLimits, SourceLine, Store};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::PAGE_BYTES_MAX;
use crate::line_query::url::{NoLines, UrlParams, parse_number};
use crate::problem::{Details, Problem};

/// Default number of lines in each direction.
pub const DEFAULT_LINES: usize = 20;

/// The route's parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AroundParams {
    /// Lines before it, 0 to 1000 (default 20).
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000)]
    before: Option<String>,
    /// Lines after it, 0 to 1000 (default 20).
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000)]
    after: Option<String>,
}

/// Lines of a source, by offset.
#[derive(Debug, Serialize, ToSchema)]
pub struct AroundAnswer {
    lines: Vec<SourceLineAnswer>,
    /// The offset to continue at before these lines; null unless the lookup stopped early. It stops after 4 MiB of
    /// lines in each direction, and, for a token that does not see all lines, after 8 MiB of the source.
    earlier: Option<u64>,
    /// The offset to continue at after these lines; null unless the lookup stopped early.
    later: Option<u64>,
}

/// A line of a source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceLineAnswer {
    /// Its offset in the source.
    offset: u64,
    /// The log record.
    #[schema(value_type = Object)]
    line: Box<RawValue>,
}

/// Returns the lines around an offset of a source, including the line at that offset. Lines that the reader may not see
/// are skipped.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/sources/{generation}/{offset}/around", tag = "search",
    params(
        ("generation" = String, Path, description = "`origin.generation` of a line"),
        ("offset" = u64, Path, description = "`origin.offset` of a line"),
        AroundParams,
    ),
    responses(
        (status = 200, body = AroundAnswer, description = "Lines in the order of their source"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn around(
    store: web::Data<Store>,
    reader: Reader,
    place: web::Path<(String, u64)>,
    UrlParams(_lines, params): UrlParams<NoLines, AroundParams>,
) -> Result<HttpResponse, Problem> {
    let (generation, offset) = place.into_inner();
    let generation: GenerationId =
        generation.parse().map_err(|error: store::id::ParseGenerationError| Problem::bad_request(error.to_string()))?;
    if offset > store::id::MAX_OFFSET {
        return Err(Problem::bad_request(format!("an offset is at most {}", store::id::MAX_OFFSET)));
    }
    let before = parse_number("before", params.before.as_deref(), DEFAULT_LINES, 0..=MAX_LIMIT)?;
    let after = parse_number("after", params.after.as_deref(), DEFAULT_LINES, 0..=MAX_LIMIT)?;
    let side = |lines| PageLimits { lines, bytes: PAGE_BYTES_MAX / 2 };
    let Around { lines, earlier, later } =
        reader.view(&store).around(generation, offset, (side(before), side(after))).await?;
    let line = |SourceLine { offset, line }| SourceLineAnswer { offset, line };
    Ok(HttpResponse::Ok().json(AroundAnswer { lines: lines.into_iter().map(line).collect(), earlier, later }))
}
