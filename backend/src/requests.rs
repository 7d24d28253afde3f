//! The story of a request: all its lines, oldest first, from all services that share its id.

use std::borrow::Cow;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Filter, Order, Search, Store, Timestamp};
use utoipa::{IntoParams, ToSchema};

use crate::access::Reader;
use crate::answers::{self, A_PAGE};
use crate::ask::{check_id, parse_cursor};
use crate::links::Links;
use crate::problem::{Details, Problem};

/// A story is given in parts of so many lines; `next` leads to the rest.
pub const STORY_MAX_LINES: usize = store::MAX_LIMIT;

/// What may be asked of a story.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StoryQuery {
    /// The `next` of the part before.
    cursor: Option<String>,
}

/// A story, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story<'a> {
    request_id: &'a str,
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// Where to go on, null when this is all.
    next: Option<String>,
    /// These lines in Kibana, null where there is none.
    kibana: Option<String>,
}

/// `GET /api/requests/{request_id}`: its lines, oldest first, at most [`STORY_MAX_LINES`] at once.
///
/// # Errors
/// 400 for what is no request id or no cursor, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/requests/{request_id}", tag = "search",
    params(("request_id" = String, Path, description = "The request's id"), StoryQuery),
    responses(
        (status = 200, body = Story, description = "Its lines, oldest first"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn story(
    store: web::Data<Store>,
    links: web::Data<Links>,
    reader: Reader,
    request_id: web::Path<String>,
    query: web::Query<StoryQuery>,
) -> Result<HttpResponse, Problem> {
    check_id("a request id", &request_id)?;
    let store = store.pinned();
    let search = Search {
        filter: Filter::request(request_id.as_str()),
        order: Order::OldestFirst,
        limit: STORY_MAX_LINES,
        cursor: parse_cursor(query.cursor.as_deref())?,
        ..Search::default()
    };
    let page = answers::search(reader.view(&store), &search, A_PAGE).await?;
    tracing::info!(found = page.lines.len(), sought = %request_id, "searched for a request");
    let next = page.next.map(|cursor| cursor.to_string());
    let (first, last) =
        (timestamp(page.lines.first().map(AsRef::as_ref)), timestamp(page.lines.last().map(AsRef::as_ref)));
    let kibana = links.kibana(&request_id, first, last);
    Ok(HttpResponse::Ok().json(Story { request_id: &request_id, lines: &page.lines, next, kibana }))
}

/// When a line was written; now, where it does not say.
fn timestamp(line: Option<&RawValue>) -> Timestamp {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        timestamp: Cow<'a, str>,
    }
    let line = line.and_then(|line| serde_json::from_str::<Line<'_>>(line.get()).ok());
    line.and_then(|line| Timestamp::parse(line.timestamp.as_bytes())).unwrap_or_else(Timestamp::now)
}
