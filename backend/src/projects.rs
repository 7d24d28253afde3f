//! A project's lines, newest first, by level, service, words and time.

use std::borrow::Cow;

use actix_web::{HttpResponse, web};
use observability::RequestContext;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Field, Filter, Order, Search, Store};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::{self, A_PAGE};
use crate::ask::{DEFAULT_LIMIT, check_id, parse_cursor, parse_levels, parse_range, within};
use crate::problem::{Details, Problem};

/// A longer `q` is refused.
pub const TEXT_MAX_BYTES: usize = 1_024;

/// What may be asked of a project's lines. All of it must hold at once.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// One level or several, by comma.
    level: Option<String>,
    /// The service that wrote them.
    service: Option<String>,
    /// Words of the message.
    q: Option<String>,
    /// Not before this time, RFC 3339.
    from: Option<String>,
    /// Before this time, RFC 3339.
    to: Option<String>,
    /// Lines of a page, 1 to 1000 (default 100).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Logs<'a> {
    project_id: &'a str,
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// Where to go on, null when this is all.
    next: Option<String>,
}

/// `GET /api/projects/{project_id}/logs`: its lines, newest first.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/projects/{project_id}/logs", tag = "search",
    params(("project_id" = String, Path, description = "The project's id"), LogsQuery),
    responses(
        (status = 200, body = Logs, description = "Its lines, newest first"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn logs(
    store: web::Data<Store>,
    own: web::Data<OwnName>,
    reader: Reader,
    context: RequestContext,
    project_id: web::Path<String>,
    query: web::Query<LogsQuery>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    let search = parse(&project_id, query.into_inner())?;
    let page = answers::search(reader.view(&store), &search, A_PAGE).await?;
    if page.lines.iter().any(|line| own.is_of_another(line)) {
        reader.confirm(&project_id);
        context.confirm_project();
    }
    tracing::info!(found = page.lines.len(), "searched a project's lines");
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(Logs { project_id: &project_id, lines: &page.lines, next }))
}

/// The name under which this service writes lines.
#[derive(Clone, Debug)]
pub struct OwnName(pub String);

impl OwnName {
    /// Whether another service wrote a line. What this one writes is no sign that a project exists: whoever asks for it
    /// has it written.
    fn is_of_another(&self, line: &RawValue) -> bool {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            service: Cow<'a, str>,
        }
        serde_json::from_str::<Line<'_>>(line.get()).is_ok_and(|line| line.service != self.0)
    }
}

fn parse(project_id: &str, query: LogsQuery) -> Result<Search, Problem> {
    check_id("a project id", project_id)?;
    let limit = within("limit", query.limit.as_deref(), DEFAULT_LIMIT, 1..=store::MAX_LIMIT)?;
    if query.q.as_ref().is_some_and(|text| text.len() > TEXT_MAX_BYTES) {
        return Err(Problem::bad_request(format!("q has at most {TEXT_MAX_BYTES} bytes")));
    }
    let mut parts = vec![Filter::project(project_id)];
    parts.extend(query.service.map(|service| Filter::is(Field::Service, service)));
    let levels = parse_levels(query.level.as_deref())?;
    parts.extend((!levels.is_empty()).then(|| Filter::levels(levels)));
    parts.extend(query.q.filter(|text| !text.trim().is_empty()).map(Filter::Words));
    let (from, to) = parse_range(query.from.as_deref(), query.to.as_deref())?;
    Ok(Search {
        filter: Filter::All(parts),
        from,
        to,
        order: Order::NewestFirst,
        limit,
        cursor: parse_cursor(query.cursor.as_deref())?,
        ..Search::default()
    })
}
