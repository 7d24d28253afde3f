//! `/`: what is going on: requests, errors, latency and log volume over the chosen time, what is asked most, what went wrong
//! last, and what is said that was not said before. Each point leads to its lines.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::counts::{Breakdown, GroupKey, RequestStats, Requests, Selection};
use store::patterns::{PatternCount, Patterns};
use store::{Field, Filter, Level, Search, Store, Timestamp};

use crate::access::{Reader, View};
use crate::answers::{self, LOOKED_AT};
use crate::line::Line;
use crate::page::chart::{self, Area, Curve, Unit};
use crate::page::params::{Params, RANGES, Times};
use crate::page::search::{honesty, picture, step_ms};
use crate::page::text::{count, counted, moment, span_ms};
use crate::page::{self, Failure, Head, Menu};
use crate::problem::Problem;
use crate::times;

/// Groups of a table.
const TOP: usize = 8;

/// Lines of a list.
const LATEST: usize = 6;

/// Patterns that are counted, of which new ones are looked for.
const PATTERNS: usize = store::counts::MAX_TOP;

/// Patterns that are shown of each kind.
const PATTERNS_SHOWN: usize = 10;

/// What finds requests, and those of them that count as failed.
const REQUESTS: &str = "target:access";
const FAILED: &str = "target:access (status:5xx OR NOT status:*)";

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// One of the ranges; an hour unless another is asked for.
    last: String,
    /// A pattern is new when it was first seen in the range at this time or later; the last quarter of the range unless
    /// another is given.
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
    bad: bool,
    /// To the lines, where it counts some.
    href: Option<String>,
}

/// Requests by endpoint or project.
struct Table {
    rows: Vec<Row>,
    /// Of the others, where there are any.
    others: Option<String>,
}

/// A row of a table of requests.
struct Row {
    name: String,
    href: String,
    requests: String,
    errors: String,
    /// To those that failed, where some did.
    failed: Option<String>,
    p50: String,
    p99: String,
}

/// The most frequent patterns of a kind.
struct PatternTable {
    rows: Vec<PatternRow>,
    /// Those that are not shown, where there are any.
    others: Option<String>,
}

struct PatternRow {
    pattern: String,
    /// To lines with what is the same in all its messages; none where nothing is.
    href: Option<String>,
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
    let store = store.pinned();
    let last = if query.last.is_empty() { "1h" } else { &query.last };
    let params = Params { last: last.to_owned(), ..Params::default() };
    let now = Timestamp::now();
    let times = params.times(now)?;
    let from = times.from.ok_or_else(|| Problem::bad_request("the overview needs a range"))?;
    let since = times::parse("since", &query.since).map_err(Problem::from)?;
    let since = since.unwrap_or_else(|| Timestamp::from_unix_ms(now.unix_ms() - (now.unix_ms() - from.unix_ms()) / 4));
    // The end is open, so that what is just coming in is there too.
    let selection = Selection { filter: Filter::EVERY, from: Some(from), to: None };
    let step_ms = step_ms(from, now);
    let asked = ask(reader.view(&store), &selection, Duration::from_millis(step_ms.unsigned_abs())).await?;
    let mut notes: Vec<_> = [asked.over_time.accuracy, asked.volume.accuracy, asked.patterns.accuracy]
        .into_iter()
        .filter_map(honesty)
        .collect();
    notes.dedup();
    notes.extend(of_patterns(&asked.patterns));
    if since <= from {
        notes.push(format!(
            "New patterns are unknown: lines before {} are outside this range. Choose a longer range or a later time.",
            moment(from)
        ));
    }
    let is_new = |pattern: &&PatternCount| since > from && pattern.first >= since;
    let (new, old): (Vec<_>, Vec<_>) = asked.patterns.patterns.iter().partition(is_new);
    // Links lead to what was looked at here, also later on.
    let within = Times { from: Some(from), to: None };
    let params = params.within(within);
    let step_ms = asked.over_time.step.map_or(step_ms, |step| i64::try_from(step.as_millis()).unwrap_or(step_ms));
    let steps = Steps { stats: &asked.over_time, step_ms, within };
    let page = Page {
        head: Head::of("Overview", Menu::Overview, &reader).with_notice_of(&store).await,
        ranges: RANGES.into_iter().map(|(name, words, _)| (name, words, name == last)).collect(),
        nothing: asked.volume.buckets.iter().all(|bucket| bucket.lines == 0),
        tiles: tiles(&asked, now.unix_ms() - from.unix_ms(), &params),
        rate: over_time("Requests per second", &steps, Unit::PerSecond, |requests| {
            vec![Some(requests.requests as f64 * 1_000.0 / step_ms as f64)]
        }),
        errors: over_time("Error rate in percent", &steps, Unit::Percent, |requests| {
            vec![(requests.requests > 0).then(|| failed_percent(requests))]
        }),
        latency: over_time("Request duration in milliseconds", &steps, Unit::Milliseconds, |requests| {
            vec![requests.p50_ms, requests.p90_ms, requests.p99_ms]
        }),
        volume: picture(&asked.volume, &params, within, chart::HALF),
        notes,
        endpoints: table(&asked.endpoints, "endpoint", &params),
        projects: table(&asked.projects, "project", &params),
        latest_errors: asked.errors,
        all_errors: params.with("level", "error").href("/search"),
        alerts: asked.alerts,
        all_alerts: params.with("q", "target:alert").href("/search"),
        patterns: pattern_table(&old, &params),
        new_patterns: pattern_table(&new, &params),
        from: moment(from),
        since: moment(since),
        since_field: moment(since).replace(' ', "T"),
        last,
    };
    page::html(StatusCode::OK, &page)
}

async fn ask(view: View<'_>, selection: &Selection, step: Duration) -> Result<Asked, Problem> {
    let lines = async |filter: Filter| -> Result<Vec<Line>, Problem> {
        let search = Search { from: selection.from, limit: LATEST, ..Search::new(filter) };
        let page = answers::search(view, &search, LOOKED_AT).await?;
        Ok(page.lines.iter().map(|line| Line::read(line.get())).collect())
    };
    Ok(Asked {
        over_time: view.requests(selection, Breakdown::Time(step), TOP).await?,
        endpoints: view.requests(selection, Breakdown::Endpoint, TOP).await?,
        projects: view.requests(selection, Breakdown::Project, TOP).await?,
        volume: view.histogram(selection, step).await?,
        errors: lines(Filter::levels([Level::Error])).await?,
        alerts: lines(Filter::is(Field::Target, "alert")).await?,
        patterns: view.patterns(selection, PATTERNS).await?,
    })
}

/// What the counts of patterns leave out.
fn of_patterns(found: &Patterns) -> Vec<String> {
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

fn tiles(asked: &Asked, length_ms: i64, params: &Params) -> Vec<Tile> {
    let total = &asked.over_time.total;
    let lines: u64 = asked.volume.buckets.iter().map(|bucket| bucket.lines).sum();
    let grave: u64 = asked.volume.buckets.iter().map(|bucket| bucket.levels[Level::ALL.len() - 1]).sum();
    let tile = |name, value| Tile { name, value, bad: false, href: None };
    let leading = |name, value, number: u64, to: Params| Tile {
        href: (number > 0).then(|| to.href("/search")),
        ..tile(name, value)
    };
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), span_ms);
    let rate = total.requests as f64 * 1_000.0 / length_ms.max(1) as f64;
    let percent = format!("{:.2}%", failed_percent(total));
    vec![
        leading("Requests", count(total.requests), total.requests, params.with("q", REQUESTS)),
        tile("Requests/s", format!("{rate:.2}")),
        Tile { bad: failed(total) > 0, ..leading("Error rate", percent, failed(total), params.with("q", FAILED)) },
        tile("Median (p50)", ms(total.p50_ms)),
        tile("p99", ms(total.p99_ms)),
        leading("Lines", count(lines), lines, params.clone()),
        Tile { bad: grave > 0, ..leading("Error lines", count(grave), grave, params.with("level", "error")) },
    ]
}

/// Requests over time.
struct Steps<'a> {
    stats: &'a RequestStats,
    step_ms: i64,
    /// The time that they are of.
    within: Times,
}

/// A picture of up to three values over time, each step with a link to its access lines; one of failures leads to those that
/// failed, where some did.
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
            let (all, at) = (counted(requests.requests, "request", "requests"), moment(*start));
            let (q, title) = match failed(requests) {
                failed if failed > 0 && unit == Unit::Percent => {
                    (FAILED, format!("{} of {all} from {at}", counted(failed, "failure", "failures")))
                }
                _ => (REQUESTS, format!("{all} from {at}")),
            };
            let params = Params { q: q.to_owned(), ..Params::default() };
            let href = params.within(steps.within.piece(*start, steps.step_ms)).href("/search");
            areas.push((start.unix_ms(), Area { href, title }));
        }
    }
    chart::curves(title, &curves, unit, steps.step_ms, &areas, chart::HALF)
}

fn table(stats: &RequestStats, parameter: &str, params: &Params) -> Table {
    let ms = |ms: Option<f64>| ms.map(span_ms).unwrap_or_default();
    let row = |(key, requests): &(GroupKey, Requests)| {
        let GroupKey::Value(name) = key else { return None };
        let own = params.with(parameter, name);
        Some(Row {
            href: own.with("q", REQUESTS).href("/search"),
            name: name.clone(),
            requests: count(requests.requests),
            errors: format!("{:.1}%", failed_percent(requests)),
            failed: (failed(requests) > 0).then(|| own.with("q", FAILED).href("/search")),
            p50: ms(requests.p50_ms),
            p99: ms(requests.p99_ms),
        })
    };
    let others =
        (stats.others > 0).then(|| format!("{} in other groups", counted(stats.others, "request", "requests")));
    Table { rows: stats.groups.iter().filter_map(row).collect(), others }
}

fn pattern_table(found: &[&PatternCount], params: &Params) -> PatternTable {
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

fn pattern_row(found: &PatternCount, params: &Params) -> PatternRow {
    let q = fixed_words(&found.pattern);
    let params = Params { words: "1".to_owned(), ..params.with("q", &q) };
    PatternRow {
        href: (!q.is_empty()).then(|| params.href("/search")),
        pattern: found.pattern.clone(),
        lines: count(found.lines),
        level: found.highest_level.as_str(),
        first: moment(found.first),
    }
}

/// A query of what does not change in a pattern's messages, piece by piece, as words in a row: it finds all of their lines,
/// and others that have the same words. What touches something that changes may be one word with it, for a search, and is left
/// out; so is what may be a word's beginning, where a message may have been longer than what its pattern is made of.
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
    fn a_pattern_is_looked_for_by_what_does_not_change() {
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
    fn what_counts_of_patterns_leave_out_is_said() {
        let found = |others, uncounted| Patterns { others, uncounted, ..Patterns::default() };
        assert!(of_patterns(&found(0, 0)).is_empty());
        let notes = of_patterns(&found(1_000, 1_000));
        assert_eq!(notes.len(), 1, "{notes:?}");
        let notes = of_patterns(&found(1_009, 1_000));
        assert!(notes[0].starts_with("9 lines belong to") && notes[1].starts_with("1,000 lines arrived"), "{notes:?}");
    }
}
