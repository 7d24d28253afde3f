//! `/`: requests, errors, latency and log volume of a time range, the most used endpoints and projects, the latest errors and
//! alerts, and message patterns, new ones first. Everything links to its lines.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::counts::{Breakdown, GroupKey, RequestStats, Requests, Selection};
use store::patterns::{PatternCount, Patterns};
use store::{Field, Filter, Level, Search, Store, Timestamp};
use utoipa::IntoParams;

use crate::access::{Reader, View};
use crate::answers::{self, SIDE_QUERY};
use crate::line::Line;
use crate::line_query::range::SPANS;
use crate::line_query::url::{NoLines, UrlParams};
use crate::line_query::{LineParams, Param, TimeRange, time};
use crate::page::chart::{self, Area, Curve, Unit};
use crate::page::search::{coverage_note, histogram_chart, step_ms};
use crate::page::text::{count, counted, datetime, span_ms};
use crate::page::{self, Head, Menu};
use crate::problem::Problem;

/// Groups of a table.
const TOP: usize = 8;

/// Lines of a list.
const LATEST: usize = 6;

/// Patterns that are counted, and checked for being new.
const PATTERNS: usize = store::counts::MAX_TOP;

/// Patterns shown of each kind.
const PATTERNS_SHOWN: usize = 10;

/// The time range unless another is selected.
const DEFAULT_LAST: &str = "1h";

/// Queries that find requests, and failed requests.
const REQUESTS: &str = "target:access";
const FAILED: &str = "target:access (status:5xx OR NOT status:*)";

/// The route's parameters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OverviewParams {
    /// The time range that ends now: 15m, 1h (default), 6h, 24h, 7d or 30d.
    last: Option<String>,
    /// Patterns first seen at this time or later are new; the last quarter of the range by default.
    since: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    head: Head<'a>,
    /// Value, label, and whether it is selected.
    spans: Vec<(&'static str, &'static str, bool)>,
    is_empty: bool,
    tiles: Vec<Tile>,
    rate: String,
    errors: String,
    latency: String,
    volume: String,
    notes: Vec<String>,
    endpoints: Table,
    projects: Table,
    latest_errors: Vec<Line>,
    all_errors: String,
    alerts: Vec<Line>,
    all_alerts: String,
    patterns: PatternTable,
    new_patterns: PatternTable,
    from: String,
    since: String,
    since_field: String,
    last: &'a str,
}

struct Tile {
    name: &'static str,
    value: String,
    is_bad: bool,
    /// Link to the lines that it counts.
    href: Option<String>,
}

/// Requests by endpoint or project.
struct Table {
    rows: Vec<Row>,
    /// The requests of groups that are not shown.
    others: Option<String>,
}

/// A row of a table of requests.
struct Row {
    name: String,
    href: String,
    requests: String,
    errors: String,
    /// Link to its failed requests.
    failed: Option<String>,
    p50: String,
    p99: String,
}

/// The most frequent patterns of a kind.
struct PatternTable {
    rows: Vec<PatternRow>,
    /// The patterns that are not shown.
    others: Option<String>,
}

struct PatternRow {
    pattern: String,
    /// Link to lines with the pattern's fixed words; none if it has no word.
    href: Option<String>,
    lines: String,
    level: &'static str,
    first: String,
}

/// The results of the page's queries.
struct Figures {
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
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(_, own): UrlParams<NoLines, OverviewParams>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    let last = own.last.as_deref().unwrap_or(DEFAULT_LAST);
    let now = Timestamp::now();
    let from = TimeRange::parse("", "", last, now)?.from;
    let from = from.ok_or_else(|| Problem::bad_request("invalid last: the overview needs a start"))?;
    let since = time::parse("since", own.since.as_deref().unwrap_or_default())?;
    let since = since.unwrap_or_else(|| Timestamp::from_unix_ms(now.unix_ms() - (now.unix_ms() - from.unix_ms()) / 4));
    // The end is open, so that lines arriving now are included.
    let range = TimeRange { from: Some(from), to: None };
    let selection = Selection { filter: Filter::EVERY, from: range.from, to: range.to };
    let step_ms = step_ms(from, now);
    let figures = query(reader.view(&store), &selection, Duration::from_millis(step_ms.unsigned_abs())).await?;
    // Links keep the range that was counted.
    let params = LineParams::default().within(range);
    let step_ms = figures.over_time.step.map_or(step_ms, |step| i64::try_from(step.as_millis()).unwrap_or(step_ms));
    let steps = Steps { stats: &figures.over_time, step_ms, range };
    let is_new = |pattern: &&PatternCount| since > from && pattern.first >= since;
    let (new, old): (Vec<_>, Vec<_>) = figures.patterns.patterns.iter().partition(is_new);
    let page = OverviewPage {
        head: Head::new("Overview", Menu::Overview, &reader).with_notice_of(&store).await,
        spans: SPANS.into_iter().map(|(name, label, _)| (name, label, name == last)).collect(),
        is_empty: figures.volume.buckets.iter().all(|bucket| bucket.lines == 0),
        tiles: tiles(&figures, now.unix_ms() - from.unix_ms(), &params),
        rate: over_time("Requests per second", &steps, Unit::PerSecond, |requests| {
            vec![Some(requests.requests as f64 * 1_000.0 / step_ms as f64)]
        }),
        errors: over_time("Error rate in percent", &steps, Unit::Percent, |requests| {
            vec![(requests.requests > 0).then(|| failed_percent(requests))]
        }),
        latency: over_time("Request duration in milliseconds", &steps, Unit::Milliseconds, |requests| {
            vec![requests.p50_ms, requests.p90_ms, requests.p99_ms]
        }),
        volume: histogram_chart(&figures.volume, &params, range, chart::HALF),
        notes: notes(&figures, since, from),
        endpoints: table(&figures.endpoints, Param::Endpoint, &params),
        projects: table(&figures.projects, Param::Project, &params),
        all_errors: params.with(Param::Level, "error").href("/search"),
        all_alerts: params.with(Param::Query, "target:alert").href("/search"),
        patterns: pattern_table(&old, &params),
        new_patterns: pattern_table(&new, &params),
        from: datetime(from),
        since: datetime(since),
        since_field: datetime(since).replace(' ', "T"),
        latest_errors: figures.errors,
        alerts: figures.alerts,
        last,
    };
    page::html(StatusCode::OK, &page)
}

async fn query(view: View<'_>, selection: &Selection, step: Duration) -> Result<Figures, Problem> {
    let lines = async |filter: Filter| -> Result<Vec<Line>, Problem> {
        let search = Search { from: selection.from, limit: LATEST, ..Search::new(filter) };
        let page = answers::search(view, &search, SIDE_QUERY).await?;
        Ok(page.lines.iter().map(|line| Line::parse(line.get())).collect())
    };
    Ok(Figures {
        over_time: view.requests(selection, Breakdown::Time(step), TOP).await?,
        endpoints: view.requests(selection, Breakdown::Endpoint, TOP).await?,
        projects: view.requests(selection, Breakdown::Project, TOP).await?,
        volume: view.histogram(selection, step).await?,
        errors: lines(Filter::levels([Level::Error])).await?,
        alerts: lines(Filter::is(Field::Target, "alert")).await?,
        patterns: view.patterns(selection, PATTERNS).await?,
    })
}

/// What the counts leave out.
fn notes(figures: &Figures, since: Timestamp, from: Timestamp) -> Vec<String> {
    let mut notes: Vec<_> = [figures.over_time.accuracy, figures.volume.accuracy, figures.patterns.accuracy]
        .into_iter()
        .filter_map(coverage_note)
        .collect();
    notes.dedup();
    notes.extend(pattern_notes(&figures.patterns));
    if since <= from {
        notes.push(format!(
            "New patterns are unknown: lines before {} are outside this range. Choose a longer range or a later time.",
            datetime(from)
        ));
    }
    notes
}

/// What the counts of patterns leave out.
fn pattern_notes(found: &Patterns) -> Vec<String> {
    let lines = |lines: u64| counted(lines, "line", "lines");
    let mut notes = Vec::new();
    if found.others > found.uncounted {
        let others = lines(found.others - found.uncounted);
        notes.push(format!("{others} belong to patterns beyond the {PATTERNS} most frequent."));
    }
    if found.uncounted > 0 {
        notes.push(format!(
            "{} arrived after 20,000 patterns had been distinguished. They may belong to any pattern, including one that is \
             counted or shown as new below.",
            lines(found.uncounted)
        ));
    }
    notes
}

fn failed(requests: &Requests) -> u64 {
    requests.server_errors + requests.unanswered
}

fn failed_percent(requests: &Requests) -> f64 {
    failed(requests) as f64 * 100.0 / requests.requests.max(1) as f64
}

fn tiles(figures: &Figures, length_ms: i64, params: &LineParams) -> Vec<Tile> {
    let total = &figures.over_time.total;
    let lines: u64 = figures.volume.buckets.iter().map(|bucket| bucket.lines).sum();
    let errors: u64 = figures.volume.buckets.iter().map(|bucket| bucket.levels[Level::ALL.len() - 1]).sum();
    let tile = |name, value| Tile { name, value, is_bad: false, href: None };
    let leading = |name, value, number: u64, to: LineParams| Tile {
        href: (number > 0).then(|| to.href("/search")),
        ..tile(name, value)
    };
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), span_ms);
    let rate = total.requests as f64 * 1_000.0 / length_ms.max(1) as f64;
    let percent = format!("{:.2}%", failed_percent(total));
    vec![
        leading("Requests", count(total.requests), total.requests, params.with(Param::Query, REQUESTS)),
        tile("Requests/s", format!("{rate:.2}")),
        Tile {
            is_bad: failed(total) > 0,
            ..leading("Error rate", percent, failed(total), params.with(Param::Query, FAILED))
        },
        tile("Median (p50)", ms(total.p50_ms)),
        tile("p99", ms(total.p99_ms)),
        leading("Lines", count(lines), lines, params.clone()),
        Tile {
            is_bad: errors > 0,
            ..leading("Error lines", count(errors), errors, params.with(Param::Level, "error"))
        },
    ]
}

/// Requests over time.
struct Steps<'a> {
    stats: &'a RequestStats,
    step_ms: i64,
    range: TimeRange,
}

/// A chart of up to three values over time. Each step links to its access lines; in the chart of errors, to the failed
/// ones.
fn over_time(title: &str, steps: &Steps<'_>, unit: Unit, values: impl Fn(&Requests) -> Vec<Option<f64>>) -> String {
    let mut curves: Vec<Curve> = Vec::new();
    let mut areas = Vec::new();
    for (key, requests) in &steps.stats.groups {
        let GroupKey::Time(start) = key else { continue };
        for (place, value) in values(requests).into_iter().enumerate() {
            if curves.len() <= place {
                curves.push(Curve { points: Vec::new() });
            }
            curves[place].points.push((start.unix_ms(), value));
        }
        if requests.requests > 0 {
            let (all, at) = (counted(requests.requests, "request", "requests"), datetime(*start));
            let (query, title) = match failed(requests) {
                failed if failed > 0 && unit == Unit::Percent => {
                    (FAILED, format!("{} of {all} from {at}", counted(failed, "failure", "failures")))
                }
                _ => (REQUESTS, format!("{all} from {at}")),
            };
            let params = LineParams::default().with(Param::Query, query);
            let href = params.within(steps.range.bucket(*start, steps.step_ms)).href("/search");
            areas.push((start.unix_ms(), Area { href, title }));
        }
    }
    chart::curves(title, &curves, unit, steps.step_ms, &areas, chart::HALF)
}

fn table(stats: &RequestStats, parameter: Param, params: &LineParams) -> Table {
    let ms = |ms: Option<f64>| ms.map(span_ms).unwrap_or_default();
    let row = |(key, requests): &(GroupKey, Requests)| {
        let GroupKey::Value(name) = key else { return None };
        let own = params.with(parameter, name);
        Some(Row {
            href: own.with(Param::Query, REQUESTS).href("/search"),
            name: name.clone(),
            requests: count(requests.requests),
            errors: format!("{:.1}%", failed_percent(requests)),
            failed: (failed(requests) > 0).then(|| own.with(Param::Query, FAILED).href("/search")),
            p50: ms(requests.p50_ms),
            p99: ms(requests.p99_ms),
        })
    };
    let others =
        (stats.others > 0).then(|| format!("{} in other groups", counted(stats.others, "request", "requests")));
    Table { rows: stats.groups.iter().filter_map(row).collect(), others }
}

fn pattern_table(found: &[&PatternCount], params: &LineParams) -> PatternTable {
    let others = found.get(PATTERNS_SHOWN..).filter(|others| !others.is_empty()).map(|others| {
        let lines = others.iter().map(|pattern| pattern.lines).sum();
        format!(
            "{} ({})",
            counted(others.len() as u64, "more pattern", "more patterns"),
            counted(lines, "line", "lines")
        )
    });
    let rows = found.iter().take(PATTERNS_SHOWN).map(|pattern| pattern_row(pattern, params));
    PatternTable { rows: rows.collect(), others }
}

fn pattern_row(found: &PatternCount, params: &LineParams) -> PatternRow {
    let query = fixed_words(&found.pattern);
    PatternRow {
        href: (!query.is_empty()).then(|| params.with(Param::Query, &query).href("/search")),
        pattern: found.pattern.clone(),
        lines: count(found.lines),
        level: found.highest_level.as_str(),
        first: datetime(found.first),
    }
}

/// A query for the fixed parts of a pattern as phrases. It finds all lines of the pattern, and others with the same
/// words. Text next to a variable part is left out, since the store may index both as one word. So is a last word that
/// may be truncated, since patterns are made of the start of long messages.
fn fixed_words(pattern: &str) -> String {
    let may_be_cut = pattern.contains("\"#\"") || pattern.len() > store::pattern::PATTERN_MAX_BYTES / 2;
    let parts: Vec<_> = pattern.split('#').collect();
    let mut pieces = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let is_last = place + 1 == parts.len();
        let start = if place > 0 { part.find(char::is_whitespace).unwrap_or(part.len()) } else { 0 };
        let end = if !is_last || may_be_cut { part.rfind(char::is_whitespace).unwrap_or(0) } else { part.len() };
        let fixed = part.get(start..end).unwrap_or_default();
        let has_word = |piece: &&str| store::query::words::words(piece).next().is_some();
        pieces.extend(fixed.split(['"', '\\']).map(str::trim).filter(has_word).map(|piece| format!("\"{piece}\"")));
    }
    pieces.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_searched_by_its_fixed_words() {
        for (message, expected) in [
            ("order 8812 of \"ann\" took 3.5ms", "\"order\" \"of\" \"took\""),
            ("error:refused by host-a", "\"error:refused by host-a\""),
            ("it was a C:\\temp OR not", "\"it was a C:\" \"temp OR not\""),
            ("17 + 4", ""),
            ("a key=7, foo__7 of b", "\"a\" \"of b\""),
        ] {
            let query = fixed_words(&store::pattern(message));
            assert_eq!(query, expected, "{message}");
            let filter: Filter = query.parse().unwrap_or(Filter::EVERY);
            assert!(matches!(filter, Filter::All(_) | Filter::Phrase(_) | Filter::Words(_)), "{filter:?}");
        }
    }

    #[test]
    fn notes_say_what_counts_of_patterns_leave_out() {
        let found = |others, uncounted| Patterns { others, uncounted, ..Patterns::default() };
        assert!(pattern_notes(&found(0, 0)).is_empty());
        let notes = pattern_notes(&found(1_000, 1_000));
        assert_eq!(notes.len(), 1, "{notes:?}");
        let notes = pattern_notes(&found(1_009, 1_000));
        assert!(notes[0].starts_with("9 lines belong to") && notes[1].starts_with("1,000 lines arrived"), "{notes:?}");
    }
}
