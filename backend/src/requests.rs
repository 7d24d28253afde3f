//! `GET /api/requests/{request_id}`: all lines of a request, oldest first, from all services that share its ID.

use std::borrow::Cow;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Filter, Order, Search, Store, Timestamp};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::{self, API_PAGE};
use crate::line_query::url::{NoLines, UrlParams, check_id, parse_cursor};
use crate::links::Links;
use crate::problem::{Details, Problem};

/// Maximum lines of one response; `next` is the cursor of the rest.
pub const STORY_MAX_LINES: usize = store::MAX_LIMIT;

/// The route's parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestParams {
    /// The `next` of the previous page.
    cursor: Option<String>,
}

/// Lines of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestLines<'a> {
    request_id: &'a str,
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
    /// Link to these lines in Kibana; null if none is configured.
    kibana: Option<String>,
}

/// Returns the lines of a request, oldest first, at most [`STORY_MAX_LINES`] at once.
///
/// # Errors
/// 400 for an invalid request ID or cursor; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/requests/{request_id}", tag = "search",
    params(("request_id" = String, Path, description = "Request ID"), RequestParams),
    responses(
        (status = 200, body = RequestLines, description = "Lines of the request, oldest first"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn lines(
    store: web::Data<Store>,
    links: web::Data<Links>,
    reader: Reader,
    request_id: web::Path<String>,
    UrlParams(_lines, params): UrlParams<NoLines, RequestParams>,
) -> Result<HttpResponse, Problem> {
    check_id("request ID", &request_id)?;
    let store = store.pinned();
    let search = Search {
        filter: Filter::request(request_id.as_str()),
        order: Order::OldestFirst,
        limit: STORY_MAX_LINES,
        cursor: parse_cursor(params.cursor.as_deref())?,
        ..Search::default()
    };
    let page = answers::search(reader.view(&store), &search, API_PAGE).await?;
    tracing::info!(found = page.lines.len(), sought = %request_id, "searched for a request");
    let next = page.next.map(|cursor| cursor.to_string());
    let (first, last) =
        (timestamp(page.lines.first().map(AsRef::as_ref)), timestamp(page.lines.last().map(AsRef::as_ref)));
    let kibana = links.kibana(&request_id, first, last);
    Ok(HttpResponse::Ok().json(RequestLines { request_id: &request_id, lines: &page.lines, next, kibana }))
}

/// The time of a line; now if it has none.
fn timestamp(line: Option<&RawValue>) -> Timestamp {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        timestamp: Cow<'a, str>,
    }
    let line = line.and_then(|line| serde_json::from_str::<Line<'_>>(line.get()).ok());
    line.and_then(|line| Timestamp::parse(line.timestamp.as_bytes())).unwrap_or_else(Timestamp::now)
}
