//! Counts over lines. Each of the [`answers`] says whether its counts are exact.

use std::time::Duration;

use actix_web::web;
use serde::Deserialize;
use store::counts::MAX_TOP;
use store::{Breakdown, Facet, Field, NamedField, NamedFields, Selection, Store};
use utoipa::IntoParams;

use crate::access::{ReadError, Reader};
use crate::line_query::url::{UrlParams, parse_number};
use crate::line_query::{LineParams, LineQuery};
use crate::problem::{Details, Problem};

pub mod answers;

use answers::{FacetsAnswer, HistogramAnswer, PatternsAnswer, StatsAnswer};

/// Values, groups or patterns of an answer unless `top` says otherwise.
pub const DEFAULT_TOP: usize = 10;

/// Maximum number of fields counted at once.
pub const FACETS_MAX: usize = 10;

/// The longest step of time, a year.
const STEP_MAX_S: usize = 366 * 86_400;

/// Own parameters of `/api/facets`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FacetsParams {
    /// Comma-separated fields to count by, at most 10 (default service,level,endpoint,status); user-defined keyword and
    /// boolean fields are supported.
    fields: Option<String>,
    /// Maximum values per field, 1 to 1000 (default 10).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    top: Option<String>,
}

/// Own parameters of `/api/histogram`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistogramParams {
    /// Length of a bucket in seconds, up to a year (default 60).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 31622400)]
    step_s: Option<String>,
}

/// Own parameters of `/api/stats`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatsParams {
    /// Grouping: total (default), endpoint, project or time.
    by: Option<String>,
    /// Length of a group in seconds with `by=time`, up to a year (default 60).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 31622400)]
    step_s: Option<String>,
    /// Maximum number of groups, 1 to 1000 (default 10).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    top: Option<String>,
}

/// Own parameters of `/api/patterns`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PatternsParams {
    /// Maximum number of patterns, 1 to 1000 (default 10).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    top: Option<String>,
}

/// Counts the selected lines.
async fn answer<Found, Answer: From<Found>>(
    store: &Store,
    params: &LineParams,
    count: impl AsyncFnOnce(&Selection) -> Result<Found, ReadError>,
) -> Result<web::Json<Answer>, Problem> {
    let query = LineQuery::for_store(params, store).await?;
    Ok(web::Json(count(&query.selection()).await?.into()))
}

/// Counts lines by the values of fields.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/facets", tag = "counts", params(LineParams, FacetsParams),
    responses(
        (status = 200, body = FacetsAnswer, description = "Counts by value"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn facets(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, FacetsParams>,
) -> Result<web::Json<FacetsAnswer>, Problem> {
    let fields = own.fields.as_deref().unwrap_or("service,level,endpoint,status");
    let named = if own.fields.is_some() { store.fields().await? } else { NamedFields::default() };
    let facets: Vec<_> = fields.split(',').map(|name| parse_facet(name, &named)).collect::<Result<_, _>>()?;
    if facets.len() > FACETS_MAX {
        return Err(Problem::bad_request(format!("invalid fields: expected at most {FACETS_MAX}")));
    }
    let top = parse_top(own.top.as_deref())?;
    answer(&store, &params, async |selection| reader.view(&store).facets(selection, &facets, top).await).await
}

fn parse_facet(name: &str, named: &NamedFields) -> Result<Facet, Problem> {
    if name == Facet::Status.name() {
        return Ok(Facet::Status);
    }
    if let Some(facet) = named.get(name).and_then(Facet::from_named) {
        return Ok(facet);
    }
    let countable = named.iter().filter(|field| Facet::from_named(field).is_some()).map(NamedField::name);
    let names: Vec<_> = Field::ALL.map(Field::name).into_iter().chain(countable).collect();
    name.parse()
        .map(Facet::Field)
        .map_err(|_| Problem::bad_request(format!("invalid fields: expected status, {}", names.join(", "))))
}

/// Counts lines by level over time.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/histogram", tag = "counts", params(LineParams, HistogramParams),
    responses(
        (status = 200, body = HistogramAnswer, description = "Counts over time"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn histogram(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, HistogramParams>,
) -> Result<web::Json<HistogramAnswer>, Problem> {
    let step = parse_step(own.step_s.as_deref())?;
    answer(&store, &params, async |selection| reader.view(&store).histogram(selection, step).await).await
}

fn parse_step(step_s: Option<&str>) -> Result<Duration, Problem> {
    Ok(Duration::from_secs(parse_number("step_s", step_s, 60, 1..=STEP_MAX_S)? as u64))
}

fn parse_top(top: Option<&str>) -> Result<usize, Problem> {
    parse_number("top", top, DEFAULT_TOP, 1..=MAX_TOP)
}

/// Summarises requests by their access lines.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/stats", tag = "counts", params(LineParams, StatsParams),
    responses(
        (status = 200, body = StatsAnswer, description = "Request statistics"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn stats(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, StatsParams>,
) -> Result<web::Json<StatsAnswer>, Problem> {
    let by = match own.by.as_deref() {
        None | Some("total") => Breakdown::Total,
        Some("endpoint") => Breakdown::Endpoint,
        Some("project") => Breakdown::Project,
        Some("time") => Breakdown::Time(parse_step(own.step_s.as_deref())?),
        Some(_) => return Err(Problem::bad_request("invalid by: expected total, endpoint, project or time")),
    };
    let top = parse_top(own.top.as_deref())?;
    answer(&store, &params, async |selection| reader.view(&store).requests(selection, by, top).await).await
}

/// Counts lines by the pattern of their message.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/patterns", tag = "counts", params(LineParams, PatternsParams),
    responses(
        (status = 200, body = PatternsAnswer, description = "Message patterns"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn patterns(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, PatternsParams>,
) -> Result<web::Json<PatternsAnswer>, Problem> {
    let top = parse_top(own.top.as_deref())?;
    answer(&store, &params, async |selection| reader.view(&store).patterns(selection, top).await).await
}
