//! Counts over lines. Each answer tells whether it is exact.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use store::counts::{GroupKey, MAX_TOP, Requests};
use store::{Breakdown, Counted, Facet, Field, Level, NamedField, NamedFields, Store};
use utoipa::ToSchema;

use crate::access::Reader;
use crate::api::parameters;
use crate::ask::within;
use crate::problem::{Details, Problem};

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
        top: Option<usize>,
    }
}

parameters! {
    /// Which lines are counted over time.
    HistogramQuery {
        /// Seconds of each bucket (default 60).
        step_s: Option<usize>,
    }
}

parameters! {
    /// Which requests are summed up.
    StatsQuery {
        /// By what they are grouped: total (default), endpoint, project, time.
        by: Option<String>,
        /// Seconds of each step of time (default 60).
        step_s: Option<usize>,
        /// Groups, 1 to 1000 (default 10).
        top: Option<usize>,
    }
}

parameters! {
    /// The patterns of which lines.
    PatternsQuery {
        /// Patterns, 1 to 1000 (default 10).
        top: Option<usize>,
    }
}

/// How far counts are to be trusted.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountedAnswer {
    /// Whether they are exact; if not, there may be more of anything.
    exact: bool,
    /// Lines that were looked at, the newest, where these are not all.
    looked_at: Option<u64>,
}

impl From<Counted> for CountedAnswer {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Exact => Self { exact: true, looked_at: None },
            Counted::AtLeast { looked_at } => Self { exact: false, looked_at: Some(looked_at) },
        }
    }
}

/// Lines by the values of fields.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetsAnswer {
    /// How many lines there are.
    lines: u64,
    facets: Vec<FacetAnswer>,
    counted: CountedAnswer,
}

/// Lines by the values of one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetAnswer {
    field: String,
    /// The most frequent first.
    values: Vec<ValueAnswer>,
    /// Lines of values that are not listed.
    others: u64,
}

/// Lines of one value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueAnswer {
    value: String,
    lines: u64,
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
) -> Result<HttpResponse, Problem> {
    let fields = query.fields.as_deref().unwrap_or("service,level,endpoint,status");
    let named = if query.fields.is_some() { store.fields().await? } else { NamedFields::default() };
    let facets: Vec<_> = fields.split(',').map(|name| parse_facet(name, &named)).collect::<Result<_, _>>()?;
    if facets.len() > FACETS_MAX {
        return Err(Problem::bad_request(format!("at most {FACETS_MAX} fields are counted at once")));
    }
    let top = within("top", query.top, DEFAULT_TOP, MAX_TOP)?;
    let found = store.facets(reader.scope(), &query.asked().selection(&store).await?, &facets, top).await?;
    let facet = |counts: store::counts::FacetCounts| FacetAnswer {
        field: counts.facet.name().to_owned(),
        values: counts.values.into_iter().map(|(value, lines)| ValueAnswer { value, lines }).collect(),
        others: counts.others,
    };
    let facets = found.facets.into_iter().map(facet).collect();
    Ok(HttpResponse::Ok().json(FacetsAnswer { lines: found.lines, facets, counted: found.counted.into() }))
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
        .map(Facet::Of)
        .map_err(|_| Problem::bad_request(format!("a field is one of status, {}", names.join(", "))))
}

/// Lines over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistogramAnswer {
    /// Seconds of each bucket: more than were asked for, where there would be more than 1000 of them.
    step_s: f64,
    /// In the order of time, without a gap.
    buckets: Vec<BucketAnswer>,
    counted: CountedAnswer,
}

/// Lines of one step of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketAnswer {
    /// When it begins.
    start: String,
    lines: u64,
    trace: u64,
    debug: u64,
    info: u64,
    warn: u64,
    error: u64,
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
) -> Result<HttpResponse, Problem> {
    let step = parse_step(query.step_s)?;
    let found = store.histogram(reader.scope(), &query.asked().selection(&store).await?, step).await?;
    let bucket = |bucket: store::counts::Bucket| {
        let of = |level: Level| bucket.levels[level as usize];
        BucketAnswer {
            start: bucket.start.to_string(),
            lines: bucket.lines,
            trace: of(Level::Trace),
            debug: of(Level::Debug),
            info: of(Level::Info),
            warn: of(Level::Warn),
            error: of(Level::Error),
        }
    };
    let buckets = found.buckets.into_iter().map(bucket).collect();
    let answer = HistogramAnswer { step_s: found.step.as_secs_f64(), buckets, counted: found.counted.into() };
    Ok(HttpResponse::Ok().json(answer))
}

fn parse_step(step_s: Option<usize>) -> Result<Duration, Problem> {
    Ok(Duration::from_secs(within("step_s", step_s, 60, STEP_MAX_S)? as u64))
}

/// Figures of requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsAnswer {
    total: RequestsAnswer,
    groups: Vec<GroupAnswer>,
    /// Requests of groups that are not listed.
    others: u64,
    /// Seconds of each step of time, where they are grouped by it.
    step_s: Option<f64>,
    counted: CountedAnswer,
}

/// Figures of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    /// Its endpoint, its project, or when its step of time begins.
    key: String,
    requests: RequestsAnswer,
}

/// Figures of some requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestsAnswer {
    /// How many.
    count: u64,
    /// Those answered with a status from 500 to 599.
    server_errors: u64,
    /// Those that no answer was sent to.
    unanswered: u64,
    /// Half took no longer, in milliseconds; an engine estimates it.
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl From<Requests> for RequestsAnswer {
    fn from(requests: Requests) -> Self {
        let Requests { requests: count, server_errors, unanswered, p50_ms, p90_ms, p99_ms } = requests;
        Self { count, server_errors, unanswered, p50_ms, p90_ms, p99_ms }
    }
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
) -> Result<HttpResponse, Problem> {
    let by = match query.by.as_deref() {
        None | Some("total") => Breakdown::Total,
        Some("endpoint") => Breakdown::Endpoint,
        Some("project") => Breakdown::Project,
        Some("time") => Breakdown::Time(parse_step(query.step_s)?),
        Some(_) => return Err(Problem::bad_request("by is total, endpoint, project or time")),
    };
    let top = within("top", query.top, DEFAULT_TOP, MAX_TOP)?;
    let found = store.requests(reader.scope(), &query.asked().selection(&store).await?, by, top).await?;
    let group = |(key, requests): (GroupKey, Requests)| {
        let key = match key {
            GroupKey::Value(value) => value,
            GroupKey::Time(time) => time.to_string(),
        };
        GroupAnswer { key, requests: requests.into() }
    };
    Ok(HttpResponse::Ok().json(StatsAnswer {
        total: found.total.into(),
        groups: found.groups.into_iter().map(group).collect(),
        others: found.others,
        step_s: found.step.as_ref().map(Duration::as_secs_f64),
        counted: found.counted.into(),
    }))
}

/// Patterns of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatternsAnswer {
    /// The most frequent first.
    patterns: Vec<PatternAnswer>,
    /// Lines of patterns that are not listed.
    others: u64,
    /// Lines among the others that a bound kept from being told apart: each may be of any pattern, also of one that is
    /// listed, and then the counts are not exact.
    not_told_apart: u64,
    counted: CountedAnswer,
}

/// Lines whose messages are alike.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatternAnswer {
    /// What their messages have in common.
    pattern: String,
    lines: u64,
    /// The gravest of their levels.
    worst: &'static str,
    /// The earliest of those counted.
    first: String,
    /// The latest.
    last: String,
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
) -> Result<HttpResponse, Problem> {
    let top = within("top", query.top, DEFAULT_TOP, MAX_TOP)?;
    let found = store.patterns(reader.scope(), &query.asked().selection(&store).await?, top).await?;
    let pattern = |pattern: store::patterns::PatternCount| PatternAnswer {
        pattern: pattern.pattern,
        lines: pattern.lines,
        worst: pattern.worst.as_str(),
        first: pattern.first.to_string(),
        last: pattern.last.to_string(),
    };
    let mut counted = CountedAnswer::from(found.counted);
    counted.exact &= found.not_told_apart == 0;
    Ok(HttpResponse::Ok().json(PatternsAnswer {
        patterns: found.patterns.into_iter().map(pattern).collect(),
        others: found.others,
        not_told_apart: found.not_told_apart,
        counted,
    }))
}
