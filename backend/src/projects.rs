//! `GET /api/projects/{project_id}/logs`: a project's lines. They make the project known to the metrics.

use std::borrow::Cow;

use actix_web::{HttpResponse, web};
use observability::RequestContext;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Filter, Store};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::{self, API_PAGE};
use crate::line_query::url::{DEFAULT_LIMIT, UrlParams, check_id, parse_cursor, parse_number, parse_order};
use crate::line_query::{LineParams, LineQuery};
use crate::problem::{Details, Problem};

/// The route's own parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProjectLogsParams {
    /// Maximum lines of a page, 1 to 1000 (default 100).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next` of the previous page, with all other parameters unchanged.
    cursor: Option<String>,
    /// Sort order: newest (default) or oldest first.
    order: Option<String>,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectLogs<'a> {
    project_id: &'a str,
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// Returns a project's lines. Same parameters as `/api/logs`.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/projects/{project_id}/logs", tag = "search",
    params(("project_id" = String, Path, description = "Project ID"), LineParams, ProjectLogsParams),
    responses(
        (status = 200, body = ProjectLogs, description = "Lines of the project, newest first by default"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn logs(
    store: web::Data<Store>,
    own: web::Data<ServiceName>,
    reader: Reader,
    context: RequestContext,
    project_id: web::Path<String>,
    UrlParams(params, page): UrlParams<LineParams, ProjectLogsParams>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    check_id("project ID", &project_id)?;
    let limit = parse_number("limit", page.limit.as_deref(), DEFAULT_LIMIT, 1..=store::MAX_LIMIT)?;
    let (order, cursor) = (parse_order(page.order.as_deref())?, parse_cursor(page.cursor.as_deref())?);
    let query = LineQuery::for_store(&params, &store).await?.and(Filter::project(project_id.as_str()));
    let page = answers::search(reader.view(&store), &query.search(order, limit, cursor), API_PAGE).await?;
    if page.lines.iter().any(|line| own.is_another(line)) {
        reader.confirm(&project_id);
        context.confirm_project();
    }
    tracing::info!(found = page.lines.len(), "searched a project's lines");
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(ProjectLogs { project_id: &project_id, lines: &page.lines, next }))
}

/// The `service` of the lines that this service writes.
#[derive(Clone, Debug)]
pub struct ServiceName(pub String);

impl ServiceName {
    /// Whether another service wrote a line. Lines of this service don't prove that a project exists, since a caller can make
    /// it log any project.
    fn is_another(&self, line: &RawValue) -> bool {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            service: Cow<'a, str>,
        }
        serde_json::from_str::<Line<'_>>(line.get()).is_ok_and(|line| line.service != self.0)
    }
}
