//! `GET /api/sources/{generation}/{offset}/around`: what stands around a line where it was read.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Around, GenerationId, MAX_LIMIT, PageLimits, SourceLine, Store};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::PAGE_BYTES_MAX;
use crate::ask::within;
use crate::problem::{Details, Problem};

/// Lines of each side unless the parameters say otherwise.
pub const DEFAULT_LINES: usize = 20;

/// How many lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AroundQuery {
    /// Lines before it, 0 to 1000 (default 20).
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000)]
    before: Option<String>,
    /// Lines after it, 0 to 1000 (default 20).
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000)]
    after: Option<String>,
}

/// Lines of a source, as they stand in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AroundAnswer {
    lines: Vec<SourceLineAnswer>,
    /// Where to ask for lines before these, null unless the look ended early: a side has at most 4 MiB of lines, and with a
    /// token that does not see all lines the look goes 8 MiB of the source to each side.
    earlier: Option<u64>,
    /// Where to ask for lines after these, null unless the look ended early.
    later: Option<u64>,
}

/// A line of a source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceLineAnswer {
    /// Bytes of the source before it.
    offset: u64,
    /// The log record.
    #[schema(value_type = Object)]
    line: Box<RawValue>,
}

/// The lines around a place of a source, that place's own among them. Lines that may not be seen are passed over.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/sources/{generation}/{offset}/around", tag = "search",
    params(
        ("generation" = String, Path, description = "`origin.generation` of a line"),
        ("offset" = u64, Path, description = "`origin.offset` of a line"),
        AroundQuery,
    ),
    responses(
        (status = 200, body = AroundAnswer, description = "Lines as they stand in their source"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn around(
    store: web::Data<Store>,
    reader: Reader,
    place: web::Path<(String, u64)>,
    query: web::Query<AroundQuery>,
) -> Result<HttpResponse, Problem> {
    let (generation, offset) = place.into_inner();
    let generation: GenerationId =
        generation.parse().map_err(|error: store::id::ParseGenerationError| Problem::bad_request(error.to_string()))?;
    if offset > store::id::MAX_OFFSET {
        return Err(Problem::bad_request(format!("an offset is at most {}", store::id::MAX_OFFSET)));
    }
    let before = within("before", query.before.as_deref(), DEFAULT_LINES, 0..=MAX_LIMIT)?;
    let after = within("after", query.after.as_deref(), DEFAULT_LINES, 0..=MAX_LIMIT)?;
    let side = |lines| PageLimits { lines, bytes: PAGE_BYTES_MAX / 2 };
    let Around { lines, earlier, later } =
        reader.view(&store).around(generation, offset, (side(before), side(after))).await?;
    let line = |SourceLine { offset, line }| SourceLineAnswer { offset, line };
    Ok(HttpResponse::Ok().json(AroundAnswer { lines: lines.into_iter().map(line).collect(), earlier, later }))
}
