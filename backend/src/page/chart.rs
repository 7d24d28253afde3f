//! Charts as SVG, rendered by a template. They have no inline styles: the style sheet colors their classes, so that a chart
//! works in light and dark mode and the content security policy needs no exception.
//!
//! Links are laid over a chart, each with a title.

use askama::Template;
use store::{Level, Timestamp};

/// Width and height in the chart's own units; a page scales it to the available width.
pub type Size = (u32, u32);

/// Full page width.
pub const WIDE: Size = (960, 158);

/// Phone width.
pub const NARROW: Size = (400, 158);

/// Width of a card; two cards share a row.
pub const HALF: Size = (540, 178);

const TIMELINE: Size = (WIDE.0, 46);

/// Space for labels, also in the larger font that the style sheet sets on phones.
const LABELS_HEIGHT: u32 = 30;
const LABELS_WIDTH: u32 = 76;

/// Space on the other sides.
const MARGIN: u32 = 8;

/// Approximate number of labels of the vertical axis.
const VALUE_TICKS: f64 = 4.0;

/// Bounds of values and axes. In milliseconds, these are 30,000 years and a nanosecond.
const VALUE_MAX: f64 = 1e15;
const AXIS_MIN: f64 = 1e-6;

/// Steps of the time axis up to a day, in seconds. Longer ones are whole days.
const TIME_STEPS_S: [i64; 14] = [1, 5, 10, 30, 60, 300, 600, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];

/// A link over a part of a chart.
#[derive(Clone, Debug)]
pub struct Area {
    /// Its target.
    pub href: String,
    /// Its title.
    pub title: String,
}

/// A bucket of lines by level.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its start in milliseconds since 1970.
    pub start_ms: i64,
    /// Counts by level, lowest first.
    pub levels: [u64; 5],
    /// Its link.
    pub area: Area,
}

/// A value over time, with gaps.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Time in milliseconds since 1970, and the value; none in a gap.
    pub points: Vec<(i64, Option<f64>)>,
}

/// A mark on a timeline.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Microseconds since its start.
    pub at_us: i64,
    /// The line's level.
    pub level: Option<Level>,
    /// Link to the line.
    pub area: Area,
}

/// The unit of a chart's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// A rate per second.
    PerSecond,
    /// A percentage.
    Percent,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    fn label(self, value: f64) -> String {
        let number = if value >= 10_000.0 {
            format!("{:.0}k", value / 1_000.0)
        } else if value >= 10.0 || value.fract() == 0.0 {
            format!("{value:.0}")
        } else if value >= 0.01 {
            format!("{value:.2}").trim_end_matches('0').to_owned()
        } else {
            format!("{value:e}")
        };
        match self {
            Self::Count => number,
            Self::PerSecond => format!("{number}/s"),
            Self::Percent => format!("{number}%"),
            Self::Milliseconds => format!("{number} ms"),
        }
    }
}

#[derive(Template)]
#[template(path = "chart.svg")]
struct Chart<'a> {
    title: &'a str,
    size: Size,
    /// Left and right end of grid lines.
    grid: (u32, u32),
    value_ticks: Vec<Tick>,
    time_ticks: Vec<Tick>,
    shapes: Vec<Shape>,
    links: Vec<Link<'a>>,
}

/// A label of an axis.
struct Tick {
    at: String,
    label: String,
}

/// A shape, colored by the class.
enum Shape {
    Bar { class: &'static str, x: String, y: String, width: String, height: String },
    Line { class: &'static str, points: String },
    Dot { class: &'static str, x: String, y: String },
}

struct Link<'a> {
    area: &'a Area,
    x: String,
    y: u32,
    width: String,
    height: u32,
}

/// Coordinates of a chart with axes.
struct Axes {
    size: Size,
    start_ms: i64,
    end_ms: i64,
    most: f64,
    unit: Unit,
}

impl Axes {
    fn x(&self, at_ms: i64) -> f64 {
        let span = self.end_ms.saturating_sub(self.start_ms).max(1) as f64;
        let share = at_ms.saturating_sub(self.start_ms) as f64 / span;
        f64::from(LABELS_WIDTH) + share.clamp(0.0, 1.0) * f64::from(self.size.0 - LABELS_WIDTH - MARGIN)
    }

    fn y(&self, value: f64) -> f64 {
        let bottom = f64::from(self.size.1 - LABELS_HEIGHT);
        bottom - (value / self.most).clamp(0.0, 1.0) * (bottom - f64::from(MARGIN))
    }

    fn bar(&self, class: &'static str, (start_ms, end_ms): (i64, i64), (low, high): (f64, f64)) -> Shape {
        let (left, right, top, bottom) = (self.x(start_ms), self.x(end_ms), self.y(high), self.y(low));
        Shape::Bar { class, x: px(left), y: px(top), width: px(right - left), height: px(bottom - top) }
    }

    fn value_ticks(&self) -> Vec<Tick> {
        let raw = self.most / VALUE_TICKS;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let mut step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude).into_iter().find(|step| *step >= raw);
        if self.unit == Unit::Count {
            step = step.map(|step| step.max(1.0));
        }
        let step = step.unwrap_or(self.most);
        let values = (0..=(self.most / step) as u32).map(|index| f64::from(index) * step);
        values.map(|value| Tick { at: px(self.y(value)), label: self.unit.label(value) }).collect()
    }

    fn time_ticks(&self) -> Vec<Tick> {
        let length_s = self.end_ms.saturating_sub(self.start_ms) / 1_000;
        let has_dates = length_s > 36 * 3_600;
        // A label fits in either font size of the style sheet.
        let label_width = if has_dates { 130 } else { 76 };
        let labels = i64::from(self.size.0.saturating_sub(LABELS_WIDTH) / label_width).clamp(2, 7);
        let wanted_s = length_s / labels;
        let step_s = TIME_STEPS_S.into_iter().find(|step| *step >= wanted_s);
        let step_ms = 1_000 * step_s.unwrap_or_else(|| (wanted_s / 86_400 + 1) * 86_400);
        let first = self.start_ms.div_euclid(step_ms) + i64::from(self.start_ms.rem_euclid(step_ms) > 0);
        (first..)
            .map(|index| index.saturating_mul(step_ms))
            .take_while(|at| *at < self.end_ms)
            .take(8)
            .map(|at| Tick { at: px(self.x(at)), label: time_label(at, has_dates) })
            .collect()
    }

    fn render<'a>(
        &self,
        title: &'a str,
        shapes: Vec<Shape>,
        areas: impl Iterator<Item = ((i64, i64), &'a Area)>,
    ) -> String {
        let link = |((start_ms, end_ms), area): ((i64, i64), &'a Area)| {
            let (left, right) = (self.x(start_ms), self.x(end_ms));
            let height = self.size.1 - LABELS_HEIGHT - MARGIN;
            Link { area, x: px(left), y: MARGIN, width: px((right - left).max(1.0)), height }
        };
        render(&Chart {
            title,
            size: self.size,
            grid: (LABELS_WIDTH, self.size.0 - MARGIN),
            value_ticks: self.value_ticks(),
            time_ticks: self.time_ticks(),
            shapes,
            links: areas.map(link).collect(),
        })
    }
}

/// A chart of lines over time, stacked by level.
#[must_use]
pub fn stacks(title: &str, stacks: &[Stack], step_ms: i64, size: Size) -> String {
    let (Some(first), Some(last)) = (stacks.first(), stacks.last()) else { return String::new() };
    let most = stacks.iter().map(|stack| stack.levels.iter().sum::<u64>()).max().unwrap_or(0).max(1) as f64;
    let end_ms = last.start_ms.saturating_add(step_ms);
    let axes = Axes { size, start_ms: first.start_ms, end_ms, most, unit: Unit::Count };
    let (mut shapes, gap) = (Vec::new(), step_ms / 10);
    for stack in stacks {
        let times = (stack.start_ms.saturating_add(gap), stack.start_ms.saturating_add(step_ms - gap));
        let mut below = 0;
        for (level, count) in Level::ALL.into_iter().zip(stack.levels).rev().filter(|(_, count)| *count > 0) {
            shapes.push(axes.bar(class(level), times, (below as f64, (below + count) as f64)));
            below += count;
        }
    }
    let areas = stacks.iter().map(|stack| ((stack.start_ms, stack.start_ms.saturating_add(step_ms)), &stack.area));
    axes.render(title, shapes, areas)
}

/// A chart of up to three curves over time, with links.
#[must_use]
pub fn curves(title: &str, curves: &[Curve], unit: Unit, step_ms: i64, areas: &[(i64, Area)], size: Size) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let (Some(start_ms), Some(last)) = (points().map(|(at, _)| *at).min(), points().map(|(at, _)| *at).max()) else {
        return String::new();
    };
    let most = points().filter_map(|(_, value)| drawable(*value)).fold(0.0, f64::max);
    let most = if most > 0.0 { (most * 1.05).max(AXIS_MIN) } else { 1.0 };
    let axes = Axes { size, start_ms, end_ms: last.saturating_add(step_ms), most, unit };
    let mut shapes = Vec::new();
    for (curve, class) in curves.iter().zip(["first", "second", "third"]) {
        let points: Vec<_> = curve
            .points
            .iter()
            .map(|(at, value)| drawable(*value).map(|value| (px(axes.x(at + step_ms / 2)), px(axes.y(value)))))
            .collect();
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            let run: Vec<_> = run.iter().flatten().collect();
            shapes.push(match run[..] {
                [(x, y)] => Shape::Dot { class, x: x.clone(), y: y.clone() },
                _ => {
                    let points: Vec<_> = run.iter().map(|(x, y)| format!("{x},{y}")).collect();
                    Shape::Line { class, points: points.join(" ") }
                }
            });
        }
    }
    axes.render(title, shapes, areas.iter().map(|(at, area)| ((*at, at.saturating_add(step_ms)), area)))
}

/// The timeline of a request, with a mark for each line. `slow` are the ranges of slow steps.
#[must_use]
pub fn timeline(title: &str, length_us: i64, marks: &[Mark], slow: &[(i64, i64)]) -> String {
    let (length, width) = (length_us.max(1), TIMELINE.0 - 2 * MARGIN);
    let x = |at_us: i64| f64::from(MARGIN) + at_us.clamp(0, length) as f64 / length as f64 * f64::from(width);
    let bar = |class, left: f64, right: f64, (top, bottom): (u32, u32)| Shape::Bar {
        class,
        x: px(left),
        y: top.to_string(),
        width: px(right - left),
        height: (bottom - top).to_string(),
    };
    let mut shapes = vec![bar("bar", x(0), x(length), (18, 28))];
    shapes.extend(slow.iter().map(|(start, end)| bar("slow", x(*start), x(*end), (18, 28))));
    shapes.extend(marks.iter().map(|mark| {
        let at = x(mark.at_us);
        bar(mark.level.map_or("ink", class), at - 2.0, at + 2.0, (9, 37))
    }));
    let link = |mark| {
        let Mark { at_us, area, .. }: &Mark = mark;
        Link { area, x: px(x(*at_us) - 6.0), y: 0, width: "12".to_owned(), height: TIMELINE.1 }
    };
    let links = marks.iter().map(link).collect();
    let (value_ticks, time_ticks) = (Vec::new(), Vec::new());
    render(&Chart { title, size: TIMELINE, grid: (0, 0), value_ticks, time_ticks, shapes, links })
}

/// A value within the bounds of a chart; none if it is negative. Lines may contain any number.
fn drawable(value: Option<f64>) -> Option<f64> {
    value.filter(|value| *value >= 0.0).map(|value| value.min(VALUE_MAX))
}

/// A coordinate, to a tenth.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// Hours and minutes, with the date in a long range.
fn time_label(at_ms: i64, has_dates: bool) -> String {
    let text = Timestamp::from_unix_ms(at_ms).to_string();
    let part = if has_dates { text.get(5..16) } else { text.get(11..16) };
    part.unwrap_or_default().replace('T', " ")
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Renders a chart; empty if the template fails.
fn render(chart: &Chart<'_>) -> String {
    chart.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area() -> Area {
        Area { href: "/search?a=1&b=\"2\"".to_owned(), title: "<3 lines".to_owned() }
    }

    #[test]
    fn charts_have_no_inline_styles_and_texts_are_escaped() {
        let stack = |start_ms| Stack { start_ms, levels: [0, 0, 5, 0, 2], area: area() };
        let curve = Curve { points: vec![(0, Some(1.5)), (60_000, None), (120_000, Some(3.0))] };
        let charts = [
            stacks("lines", &[stack(0), stack(60_000)], 60_000, HALF),
            curves("rate", &[curve], Unit::PerSecond, 60_000, &[(0, area())], HALF),
            timeline("timeline", 1_000, &[Mark { at_us: 500, level: None, area: area() }], &[(100, 200)]),
        ];
        for chart in charts {
            assert!(chart.starts_with("<svg role=\"group\""), "{chart}");
            assert!(!chart.contains("style=") && !chart.contains("<style"), "{chart}");
            assert!(chart.contains("&#60;3 lines") && chart.contains("b=&#34;2&#34;"), "{chart}");
        }
        assert_eq!(stacks("none", &[], 1, WIDE), "");
    }

    #[test]
    fn any_number_can_be_drawn() {
        for value in [f64::MAX, f64::INFINITY, f64::NAN, f64::MIN, -0.001, 0.0, f64::MIN_POSITIVE, 1e-300, 1e-7, 1e300]
        {
            let curve = |first| Curve { points: vec![(0, Some(first)), (60_000, Some(value)), (120_000, None)] };
            for curve in [curve(1.0), curve(value)] {
                let chart = curves("latency", &[curve], Unit::Milliseconds, 60_000, &[(0, area())], HALF);
                assert!(
                    chart.contains("</svg>") && !chart.contains("NaN") && !chart.contains("inf"),
                    "{value}: {chart}"
                );
            }
        }
        let below = Curve { points: vec![(0, Some(-5.0)), (60_000, Some(2.0))] };
        let chart = curves("latency", &[below], Unit::Milliseconds, 60_000, &[], HALF);
        assert!(chart.contains("<circle class=\"first\"") && !chart.contains("<polyline"), "{chart}");
    }

    #[test]
    fn any_time_range_has_few_labels() {
        for (start_ms, end_ms) in
            [(0, 1), (0, 60_000), (-86_400_000, 30 * 86_400_000), (-62_000_000_000_000, 250_000_000_000_000)]
        {
            for size in [WIDE, NARROW, HALF] {
                let axes = Axes { size, start_ms, end_ms, most: 3.0, unit: Unit::Count };
                assert!(axes.time_ticks().len() <= 8, "{start_ms} {end_ms}");
            }
        }
        let axes = Axes { size: WIDE, start_ms: 30_000, end_ms: 3_630_000, most: 7.0, unit: Unit::Count };
        let labels = |ticks: Vec<Tick>| ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>();
        assert_eq!(labels(axes.time_ticks()), ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]);
        assert_eq!(labels(axes.value_ticks()), ["0", "2", "4", "6"]);
    }

    #[test]
    fn labels_are_short() {
        let labels = [Unit::Count.label(12_345.0), Unit::Percent.label(0.5), Unit::Milliseconds.label(120.4)];
        assert_eq!(labels, ["12k", "0.5%", "120 ms"]);
        assert_eq!(Unit::Milliseconds.label(5e-7), "5e-7 ms");
    }
}
