//! `/`: what is going on: requests, errors, latency and log volume over the chosen time, what is asked most, what went wrong
//! last, and what is said that was not said before. Each point leads to its lines.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::counts::{Breakdown, GroupKey, RequestStats, Requests, Selection};
use store::patterns::{PatternCount, Patterns};
use store::{Field, Filter, Level, Scope, Search, Store, Timestamp};

use crate::access::Reader;
use crate::line::Line;
use crate::page::chart::{self, Area, Curve, Unit};
use crate::page::params::{Params, RANGES};
use crate::page::search::{honesty, picture, step_ms};
use crate::page::text::{count, counted, moment, span_ms};
use crate::page::{self, Failure, Head, Menu};
use crate::problem::Problem;

/// Groups of a table.
const TOP: usize = 8;

/// Lines of a list.
const LATEST: usize = 6;

/// Patterns that are counted, of which new ones are looked for.
const PATTERNS: usize = 200;

/// Patterns that are shown of each kind.
const PATTERNS_SHOWN: usize = 10;

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// One of the ranges; an hour unless another is asked for.
    last: String,
    /// A pattern is new when it was first seen after this time; the last quarter of the range unless another is given.
    since: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page<'a> {
    head: Head<'a>,
    ranges: Vec<(&'static str, &'static str, bool)>,
    nothing: bool,
    tiles: Vec<Tile>,
    rate: String,
    errors: String,
    latency: String,
    volume: String,
    notes: Vec<String>,
    endpoints: Vec<Row>,
    projects: Vec<Row>,
    latest_errors: Vec<Line>,
    all_errors: String,
    alerts: Vec<Line>,
    all_alerts: String,
    patterns: Vec<PatternRow>,
    new_patterns: Vec<PatternRow>,
    since: String,
    since_field: String,
    last: &'a str,
}

struct Tile {
    name: &'static str,
    value: String,
    bad: bool,
}

/// A row of a table of requests.
struct Row {
    name: String,
    href: String,
    requests: String,
    errors: String,
    bad: bool,
    p50: String,
    p99: String,
}

struct PatternRow {
    pattern: String,
    href: String,
    lines: String,
    level: &'static str,
    first: String,
}

/// All that the page asks the store.
struct Asked {
    over_time: RequestStats,
    endpoints: RequestStats,
    projects: RequestStats,
    volume: store::Histogram,
    errors: Vec<Line>,
    alerts: Vec<Line>,
    patterns: Patterns,
}

/// `GET /`
///
/// # Errors
/// 400 for a range that is none, 503 or 504 where the store does not answer.
pub async fn show(store: web::Data<Store>, reader: Reader, query: web::Query<Query>) -> Result<HttpResponse, Failure> {
    let last = if query.last.is_empty() { "1h" } else { &query.last };
    let params = Params { last: last.to_owned(), ..Params::default() };
    let now = Timestamp::now();
    let times = params.times(now)?;
    let from = times.from.ok_or_else(|| Problem::bad_request("the overview needs a range"))?;
    let since = match (Params { from: query.since.clone(), ..Params::default() }).times(now)?.from {
        Some(since) if !query.since.is_empty() => since,
        _ => Timestamp::from_unix_ms(now.unix_ms() - (now.unix_ms() - from.unix_ms()) / 4),
    };
    // The end is open, so that what is just coming in is there too.
    let selection = Selection { filter: Filter::EVERY, from: Some(from), to: None };
    let step_ms = step_ms(from, now);
    let asked = ask(&store, reader.scope(), &selection, Duration::from_millis(step_ms.unsigned_abs())).await?;
    let (new, old): (Vec<_>, Vec<_>) = asked.patterns.patterns.iter().partition(|pattern| pattern.first >= since);
    let mut notes: Vec<_> = [asked.over_time.counted, asked.volume.counted, asked.patterns.counted]
        .into_iter()
        .filter_map(honesty)
        .collect();
    notes.dedup();
    notes.extend(of_patterns(&asked.patterns));
    let step_ms = asked.over_time.step.map_or(step_ms, |step| i64::try_from(step.as_millis()).unwrap_or(step_ms));
    let page = Page {
        head: Head::of("Overview", Menu::Overview, &reader),
        ranges: RANGES.into_iter().map(|(name, words, _)| (name, words, name == last)).collect(),
        nothing: asked.volume.buckets.iter().all(|bucket| bucket.lines == 0),
        tiles: tiles(&asked, now.unix_ms() - from.unix_ms()),
        rate: over_time("Requests a second", &asked.over_time, step_ms, Unit::PerSecond, |requests| {
            vec![Some(requests.requests as f64 * 1_000.0 / step_ms as f64)]
        }),
        errors: over_time("Requests that failed, of a hundred", &asked.over_time, step_ms, Unit::Percent, |requests| {
            vec![(requests.requests > 0).then(|| failed_percent(requests))]
        }),
        latency: over_time(
            "How long requests took, in milliseconds",
            &asked.over_time,
            step_ms,
            Unit::Milliseconds,
            |requests| vec![requests.p50_ms, requests.p90_ms, requests.p99_ms],
        ),
        volume: picture(&asked.volume, &params, chart::HALF),
        notes,
        endpoints: rows(&asked.endpoints, "endpoint", &params),
        projects: rows(&asked.projects, "project", &params),
        latest_errors: asked.errors,
        all_errors: params.with("level", "error").href("/search"),
        alerts: asked.alerts,
        all_alerts: params.with("q", "target:alert").href("/search"),
        patterns: old.into_iter().take(PATTERNS_SHOWN).map(|pattern| pattern_row(pattern, &params)).collect(),
        new_patterns: new.into_iter().take(PATTERNS_SHOWN).map(|pattern| pattern_row(pattern, &params)).collect(),
        since: moment(since),
        since_field: moment(since).replace(' ', "T"),
        last,
    };
    page::html(StatusCode::OK, &page)
}

async fn ask(store: &Store, scope: &Scope, selection: &Selection, step: Duration) -> Result<Asked, Problem> {
    let lines = async |filter: Filter| -> Result<Vec<Line>, Problem> {
        let search = Search { from: selection.from, limit: LATEST, ..Search::of(filter) };
        let page = store.search(scope, &search).await?;
        Ok(page.lines.iter().map(|line| Line::read(line.get())).collect())
    };
    Ok(Asked {
        over_time: store.requests(scope, selection, Breakdown::Time(step), TOP).await?,
        endpoints: store.requests(scope, selection, Breakdown::Endpoint, TOP).await?,
        projects: store.requests(scope, selection, Breakdown::Project, TOP).await?,
        volume: store.histogram(scope, selection, step).await?,
        errors: lines(Filter::levels([Level::Error])).await?,
        alerts: lines(Filter::is(Field::Target, "alert")).await?,
        patterns: store.patterns(scope, selection, PATTERNS).await?,
    })
}

/// What the counts of patterns leave out.
fn of_patterns(found: &Patterns) -> Vec<String> {
    let lines = |lines: u64| counted(lines, "line", "lines");
    let mut notes = Vec::new();
    if found.others > found.not_told_apart {
        let others = lines(found.others - found.not_told_apart);
        notes.push(format!("{others} are of patterns beyond the {PATTERNS} most frequent."));
    }
    if found.not_told_apart > 0 {
        notes.push(format!(
            "{} came where 20,000 patterns had been told apart already: they may be of any pattern, also of one that is \
             counted or called new below.",
            lines(found.not_told_apart)
        ));
    }
    notes
}

fn failed_percent(requests: &Requests) -> f64 {
    (requests.server_errors + requests.unanswered) as f64 * 100.0 / requests.requests.max(1) as f64
}

fn tiles(asked: &Asked, length_ms: i64) -> Vec<Tile> {
    let total = &asked.over_time.total;
    let lines: u64 = asked.volume.buckets.iter().map(|bucket| bucket.lines).sum();
    let grave: u64 = asked.volume.buckets.iter().map(|bucket| bucket.levels[Level::ALL.len() - 1]).sum();
    let tile = |name, value, bad| Tile { name, value, bad };
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), span_ms);
    let rate = total.requests as f64 * 1_000.0 / length_ms.max(1) as f64;
    vec![
        tile("Requests", count(total.requests), false),
        tile("A second", format!("{rate:.2}"), false),
        tile("Failed", format!("{:.2}%", failed_percent(total)), total.server_errors + total.unanswered > 0),
        tile("Half took up to", ms(total.p50_ms), false),
        tile("99 in 100 up to", ms(total.p99_ms), false),
        tile("Lines", count(lines), false),
        tile("Errors among them", count(grave), grave > 0),
    ]
}

/// A picture of up to three values over time, each step with a link to its access lines.
fn over_time(
    title: &str,
    stats: &RequestStats,
    step_ms: i64,
    unit: Unit,
    values: impl Fn(&Requests) -> Vec<Option<f64>>,
) -> String {
    let params = Params { q: "target:access".to_owned(), ..Params::default() };
    let mut curves: Vec<Curve> = Vec::new();
    let mut areas = Vec::new();
    for (key, requests) in &stats.groups {
        let GroupKey::Time(start) = key else { continue };
        for (place, value) in values(requests).into_iter().enumerate() {
            if curves.len() <= place {
                curves.push(Curve { points: Vec::new() });
            }
            curves[place].points.push((start.unix_ms(), value));
        }
        if requests.requests > 0 {
            let end = Timestamp::from_unix_ms(start.unix_ms() + step_ms);
            let title = format!("{} from {}", counted(requests.requests, "request", "requests"), moment(*start));
            areas
                .push((start.unix_ms(), Area { href: params.between(Some(*start), Some(end)).href("/search"), title }));
        }
    }
    chart::curves(title, &curves, unit, step_ms, &areas, chart::HALF)
}

fn rows(stats: &RequestStats, parameter: &str, params: &Params) -> Vec<Row> {
    let ms = |ms: Option<f64>| ms.map(span_ms).unwrap_or_default();
    let row = |(key, requests): &(GroupKey, Requests)| {
        let GroupKey::Value(name) = key else { return None };
        Some(Row {
            href: params.with(parameter, name).href("/search"),
            name: name.clone(),
            requests: count(requests.requests),
            errors: format!("{:.1}%", failed_percent(requests)),
            bad: requests.server_errors + requests.unanswered > 0,
            p50: ms(requests.p50_ms),
            p99: ms(requests.p99_ms),
        })
    };
    stats.groups.iter().filter_map(row).collect()
}

fn pattern_row(found: &PatternCount, params: &Params) -> PatternRow {
    // What does not change in the message, as words: a superset of the pattern's lines.
    let words: Vec<_> = found
        .pattern
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1 && !word.is_empty() && !matches!(*word, "OR" | "AND" | "NOT"))
        .take(12)
        .collect();
    let level = found.worst.as_str();
    let params = Params { words: "1".to_owned(), ..params.with("q", &words.join(" ")) };
    PatternRow {
        href: params.href("/search"),
        pattern: found.pattern.clone(),
        lines: count(found.lines),
        level,
        first: moment(found.first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_of_patterns_leave_out_is_said() {
        let found = |others, not_told_apart| Patterns { others, not_told_apart, ..Patterns::default() };
        assert!(of_patterns(&found(0, 0)).is_empty());
        let notes = of_patterns(&found(1_000, 1_000));
        assert_eq!(notes.len(), 1, "{notes:?}");
        let notes = of_patterns(&found(1_009, 1_000));
        assert!(notes[0].starts_with("9 lines are of") && notes[1].starts_with("1,000 lines came"), "{notes:?}");
    }
}
