//! Counts over lines. Each of the [`answers`] tells whether it is exact.

use std::time::Duration;

use actix_web::web;
use store::counts::MAX_TOP;
use store::{Breakdown, Facet, Field, NamedField, NamedFields, Selection, Store};

use crate::access::{ReadError, Reader};
use crate::api::parameters;
use crate::ask::{Asked, within};
use crate::problem::{Details, Problem};

pub mod answers;

use answers::{FacetsAnswer, HistogramAnswer, PatternsAnswer, StatsAnswer};

/// Values, groups or patterns of an answer unless `top` says otherwise.
pub const DEFAULT_TOP: usize = 10;

/// Fields that are counted at once.
pub const FACETS_MAX: usize = 10;

/// The longest step of time, a year.
const STEP_MAX_S: usize = 366 * 86_400;

parameters! {
    /// Which lines are counted by what.
    FacetsQuery {
        /// Fields to count by, by comma, at most 10 (default service,level,endpoint,status); keywords and booleans that the
        /// shipper names are some, too.
        fields: Option<String>,
        /// Values of each field, 1 to 1000 (default 10).
#[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
        top: Option<String>,
    }
}

parameters! {
    /// Which lines are counted over time.
    HistogramQuery {
        /// Seconds of each bucket, up to a year (default 60).
        #[param(value_type = Option<u64>, minimum = 1, maximum = 31622400)]
        step_s: Option<String>,
    }
}

parameters! {
    /// Which requests are summed up.
    StatsQuery {
        /// By what they are grouped: total (default), endpoint, project, time.
        by: Option<String>,
        /// Seconds of each step of time, up to a year (default 60).
        #[param(value_type = Option<u64>, minimum = 1, maximum = 31622400)]
        step_s: Option<String>,
        /// Groups, 1 to 1000 (default 10).
        #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
        top: Option<String>,
    }
}

parameters! {
    /// The patterns of which lines.
    PatternsQuery {
        /// Patterns, 1 to 1000 (default 10).
        #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
        top: Option<String>,
    }
}

/// Counts the lines that are chosen, and answers with what was found.
async fn answer<Found, Answer: From<Found>>(
    store: &Store,
    asked: Asked<'_>,
    count: impl AsyncFnOnce(&Selection) -> Result<Found, ReadError>,
) -> Result<web::Json<Answer>, Problem> {
    let found = count(&asked.selection(store).await?).await?;
    Ok(web::Json(found.into()))
}

/// Counts lines by the values of fields.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/facets", tag = "counts", params(FacetsQuery),
    responses(
        (status = 200, body = FacetsAnswer, description = "Counts by value"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn facets(
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<FacetsQuery>,
) -> Result<web::Json<FacetsAnswer>, Problem> {
    let fields = query.fields.as_deref().unwrap_or("service,level,endpoint,status");
    let named = if query.fields.is_some() { store.fields().await? } else { NamedFields::default() };
    let facets: Vec<_> = fields.split(',').map(|name| parse_facet(name, &named)).collect::<Result<_, _>>()?;
    if facets.len() > FACETS_MAX {
        return Err(Problem::bad_request(format!("at most {FACETS_MAX} fields are counted at once")));
    }
    let top = parse_top(query.top.as_deref())?;
    answer(&store, query.asked(), async |chosen| reader.view(&store).facets(chosen, &facets, top).await).await
}

fn parse_facet(name: &str, named: &NamedFields) -> Result<Facet, Problem> {
    if name == Facet::Status.name() {
        return Ok(Facet::Status);
    }
    if let Some(facet) = named.get(name).and_then(NamedField::facet) {
        return Ok(facet);
    }
    let countable = named.iter().filter(|field| field.facet().is_some()).map(NamedField::name);
    let names: Vec<_> = Field::ALL.map(Field::name).into_iter().chain(countable).collect();
    name.parse()
        .map(Facet::Field)
        .map_err(|_| Problem::bad_request(format!("a field is one of status, {}", names.join(", "))))
}

/// Counts lines by level over time.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/histogram", tag = "counts", params(HistogramQuery),
    responses(
        (status = 200, body = HistogramAnswer, description = "Counts over time"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn histogram(
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<HistogramQuery>,
) -> Result<web::Json<HistogramAnswer>, Problem> {
    let step = parse_step(query.step_s.as_deref())?;
    answer(&store, query.asked(), async |chosen| reader.view(&store).histogram(chosen, step).await).await
}

fn parse_step(step_s: Option<&str>) -> Result<Duration, Problem> {
    Ok(Duration::from_secs(within("step_s", step_s, 60, 1..=STEP_MAX_S)? as u64))
}

fn parse_top(top: Option<&str>) -> Result<usize, Problem> {
    within("top", top, DEFAULT_TOP, 1..=MAX_TOP)
}

/// Sums up requests, by their access lines.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/stats", tag = "counts", params(StatsQuery),
    responses(
        (status = 200, body = StatsAnswer, description = "Figures of requests"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn stats(
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<StatsQuery>,
) -> Result<web::Json<StatsAnswer>, Problem> {
    let by = match query.by.as_deref() {
        None | Some("total") => Breakdown::Total,
        Some("endpoint") => Breakdown::Endpoint,
        Some("project") => Breakdown::Project,
        Some("time") => Breakdown::Time(parse_step(query.step_s.as_deref())?),
        Some(_) => return Err(Problem::bad_request("by is total, endpoint, project or time")),
    };
    let top = parse_top(query.top.as_deref())?;
    answer(&store, query.asked(), async |chosen| reader.view(&store).requests(chosen, by, top).await).await
}

/// Counts lines by the pattern of their message.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/patterns", tag = "counts", params(PatternsQuery),
    responses(
        (status = 200, body = PatternsAnswer, description = "Patterns of messages"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn patterns(
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<PatternsQuery>,
) -> Result<web::Json<PatternsAnswer>, Problem> {
    let top = parse_top(query.top.as_deref())?;
    answer(&store, query.asked(), async |chosen| reader.view(&store).patterns(chosen, top).await).await
}
