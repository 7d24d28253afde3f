//! Pictures, drawn by `plotters` as SVG. They carry no style of their own: each colour is a stand-in that the style sheet
//! replaces, so that one picture serves light and dark, and the content security policy needs no exception.
//!
//! What leads somewhere is laid over the picture as links with a word for each.

use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use store::Level;

use crate::page::escape;

/// Stand-ins; `assets/style.css` gives each its colour.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const FIRST: RGBColor = RGBColor(3, 3, 3);
const SECOND: RGBColor = RGBColor(4, 4, 4);
const THIRD: RGBColor = RGBColor(5, 5, 5);
const BAR: RGBColor = RGBColor(6, 6, 6);
const BAND: RGBColor = RGBColor(7, 7, 7);
const TRACE: RGBColor = RGBColor(8, 8, 8);
const DEBUG: RGBColor = RGBColor(9, 9, 9);
const INFO: RGBColor = RGBColor(10, 10, 10);
const WARN: RGBColor = RGBColor(11, 11, 11);
const ERROR: RGBColor = RGBColor(12, 12, 12);

/// Width and height of a picture in its own units; on a page it is as wide as its place.
pub type Size = (u32, u32);

/// As wide as a page.
pub const WIDE: Size = (960, 158);

/// As wide as a phone.
pub const NARROW: Size = (400, 158);

/// As wide as a card, of which two stand side by side.
pub const HALF: Size = (540, 178);

const WIDTH: u32 = WIDE.0;
/// Room for labels, also in the greater letters that the style sheet gives them on phones.
const LABELS_HEIGHT: u32 = 30;
const LABELS_WIDTH: u32 = 76;

/// A greater value is drawn as this one, and no axis is shorter than the other: beyond, `plotters` finds no labels for it and
/// looks for ever. In milliseconds, these are 30,000 years and a nanosecond.
const VALUE_MAX: f64 = 1e15;
const AXIS_MIN: f64 = 1e-6;

/// A link over a part of a picture.
#[derive(Clone, Debug)]
pub struct Area {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub title: String,
}

/// One bucket of lines by level.
#[derive(Clone, Debug)]
pub struct Stack {
    /// When it begins, in milliseconds.
    pub start_ms: i64,
    /// Counts, least grave first.
    pub levels: [u64; 5],
    /// Where it leads.
    pub area: Area,
}

/// Lines over time, stacked by level.
#[must_use]
pub fn stacks(title: &str, stacks: &[Stack], step_ms: i64, size: Size) -> String {
    let (Some(first), Some(last)) = (stacks.first(), stacks.last()) else { return String::new() };
    let most = stacks.iter().map(|stack| stack.levels.iter().sum::<u64>()).max().unwrap_or(0).max(1);
    let times = first.start_ms..last.start_ms + step_ms;
    let areas: Vec<_> = stacks.iter().map(|stack| (stack.start_ms..stack.start_ms + step_ms, &stack.area)).collect();
    draw(title, size, times.clone(), most as f64, Unit::Count, &areas, |chart| {
        for stack in stacks {
            let gap = step_ms / 10;
            let mut below = 0;
            for (level, count) in Level::ALL.into_iter().zip(stack.levels).rev() {
                if count > 0 {
                    let corners = [
                        (stack.start_ms + gap, below as f64),
                        (stack.start_ms + step_ms - gap, (below + count) as f64),
                    ];
                    chart.draw_series([Rectangle::new(corners, colour(level).filled())])?;
                    below += count;
                }
            }
        }
        Ok(())
    })
}

/// What the values of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// How many a second.
    PerSecond,
    /// Of a hundred.
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
        } else {
            format!("{value:.2}").trim_end_matches('0').to_owned()
        };
        match self {
            Self::Count => number,
            Self::PerSecond => format!("{number}/s"),
            Self::Percent => format!("{number}%"),
            Self::Milliseconds => format!("{number} ms"),
        }
    }
}

/// One value over time; none where there is nothing to tell.
#[derive(Clone, Debug)]
pub struct Curve {
    /// When, in milliseconds, and how much.
    pub points: Vec<(i64, Option<f64>)>,
}

/// Up to three curves over time, each point of which leads somewhere.
#[must_use]
pub fn curves(title: &str, curves: &[Curve], unit: Unit, step_ms: i64, areas: &[(i64, Area)], size: Size) -> String {
    let starts = || curves.iter().flat_map(|curve| curve.points.iter());
    let (Some(first), Some(last)) = (starts().map(|(at, _)| *at).min(), starts().map(|(at, _)| *at).max()) else {
        return String::new();
    };
    let most = starts().filter_map(|(_, value)| drawable(*value)).fold(0.0, f64::max);
    let most = if most > 0.0 { (most * 1.05).max(AXIS_MIN) } else { 1.0 };
    let areas: Vec<_> = areas.iter().map(|(at, area)| (*at..*at + step_ms, area)).collect();
    draw(title, size, first..last + step_ms, most, unit, &areas, |chart| {
        for (curve, colour) in curves.iter().zip([FIRST, SECOND, THIRD]) {
            let points: Vec<_> = curve.points.iter().map(|(at, value)| (at + step_ms / 2, drawable(*value))).collect();
            for run in points.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty()) {
                let points: Vec<_> = run.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect();
                if let [point] = points[..] {
                    chart.draw_series([Circle::new(point, 3, colour.filled())])?;
                } else {
                    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
                }
            }
        }
        Ok(())
    })
}

/// A value as it can be drawn. Lines may say any number: there is no place for one below nothing.
fn drawable(value: Option<f64>) -> Option<f64> {
    value.filter(|value| *value >= 0.0).map(|value| value.min(VALUE_MAX))
}

/// A mark on the bar of a request's life.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Microseconds since its begin.
    pub at_us: i64,
    /// Of the line.
    pub level: Option<Level>,
    /// The line's place on the page.
    pub area: Area,
}

/// A request's life from its begin to its end, with its lines on it; `slow` are the times that were out of the usual.
#[must_use]
pub fn life(title: &str, length_us: i64, marks: &[Mark], slow: &[(i64, i64)]) -> String {
    const HEIGHT: u32 = 46;
    let mut svg = String::new();
    let length = length_us.max(1);
    let x = |at_us: i64| 8 + (i128::from(at_us.clamp(0, length)) * i128::from(WIDTH - 16) / i128::from(length)) as i32;
    let drawn = (|| {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        area.draw(&Rectangle::new([(8, 18), (WIDTH as i32 - 8, 28)], BAR.filled()))?;
        for (start, end) in slow {
            area.draw(&Rectangle::new([(x(*start), 18), (x(*end), 28)], BAND.filled()))?;
        }
        for mark in marks {
            let (at, colour) = (x(mark.at_us), mark.level.map_or(INK, colour));
            area.draw(&Rectangle::new([(at - 2, 9), (at + 2, 37)], colour.filled()))?;
        }
        area.present()
    })();
    drawn.map_or_else(
        |_: DrawingAreaErrorKind<_>| String::new(),
        |()| {
            let areas = marks.iter().map(|mark| {
                let at = x(mark.at_us);
                (at - 6..at + 6, 0..HEIGHT as i32, &mark.area)
            });
            finish(svg, title, areas)
        },
    )
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordi64, plotters::coord::types::RangedCoordf64>,
>;
type Drawn<'b> = Result<(), DrawingAreaErrorKind<<SVGBackend<'b> as DrawingBackend>::ErrorType>>;

/// Draws axes and what `inside` draws, and lays links over it. Empty where it can't be drawn.
fn draw(
    title: &str,
    size: Size,
    times: Range<i64>,
    most: f64,
    unit: Unit,
    areas: &[(Range<i64>, &Area)],
    inside: impl Fn(&mut Chart<'_, '_>) -> Drawn<'static>,
) -> String {
    let mut svg = String::new();
    let mut links = Vec::new();
    let drawn = (|| {
        let root: DrawingArea<_, Shift> = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8)
            .margin_right(8)
            .x_label_area_size(LABELS_HEIGHT)
            .y_label_area_size(LABELS_WIDTH)
            .build_cartesian_2d(times.clone(), 0.0..most)?;
        let text = ("sans-serif", 13).into_font().color(&INK);
        let long = times.end - times.start > 36 * 3_600_000;
        // A label has room in either size of the style sheet's letters.
        let label_width = if long { 130 } else { 76 };
        let labels = (size.0.saturating_sub(LABELS_WIDTH) / label_width).clamp(2, 7) as usize;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text)
            .x_labels(labels)
            .y_labels(4)
            .x_label_formatter(&|at| time_label(*at, long))
            .y_label_formatter(&|value| unit.label(*value))
            .draw()?;
        inside(&mut chart)?;
        let plane = chart.plotting_area();
        let (_, vertical) = plane.get_pixel_range();
        for (range, area) in areas {
            let from = plane.map_coordinate(&(range.start, 0.0)).0;
            let to = plane.map_coordinate(&(range.end, 0.0)).0;
            links.push((from..to.max(from + 1), vertical.clone(), *area));
        }
        root.present()
    })();
    drawn.map_or_else(|_: DrawingAreaErrorKind<_>| String::new(), |()| finish(svg, title, links.into_iter()))
}

/// Hours and minutes, or the day where there are several.
fn time_label(at_ms: i64, long: bool) -> String {
    let text = store::Timestamp::from_unix_ms(at_ms).to_string();
    let part = if long { text.get(5..16) } else { text.get(11..16) };
    part.unwrap_or_default().replace('T', " ")
}

/// Names the picture and lays links over it.
fn finish<'a>(mut svg: String, title: &str, areas: impl Iterator<Item = (Range<i32>, Range<i32>, &'a Area)>) -> String {
    let mut links = String::new();
    for (x, y, area) in areas {
        let (href, words) = (escape(&area.href), escape(&area.title));
        let _infallible = write!(
            links,
            "<a href=\"{href}\" aria-label=\"{words}\"><rect class=\"hit\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">\
             <title>{words}</title></rect></a>",
            x.start,
            y.start,
            x.end - x.start,
            y.end - y.start,
        );
    }
    if let Some(end) = svg.rfind("</svg>") {
        svg.insert_str(end, &links);
    }
    svg.replacen("<svg ", &format!("<svg role=\"group\" aria-label=\"{}\" ", escape(title)), 1)
}

fn colour(level: Level) -> RGBColor {
    match level {
        Level::Trace => TRACE,
        Level::Debug => DEBUG,
        Level::Info => INFO,
        Level::Warn => WARN,
        Level::Error => ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area() -> Area {
        Area { href: "/search?a=1&b=\"2\"".to_owned(), title: "<3 lines".to_owned() }
    }

    #[test]
    fn pictures_have_no_style_of_their_own_and_what_is_written_into_them_stays_text() {
        let stack = |start_ms| Stack { start_ms, levels: [0, 0, 5, 0, 2], area: area() };
        let curve = Curve { points: vec![(0, Some(1.5)), (60_000, None), (120_000, Some(3.0))] };
        let pictures = [
            stacks("lines", &[stack(0), stack(60_000)], 60_000, HALF),
            curves("rate", &[curve], Unit::PerSecond, 60_000, &[(0, area())], HALF),
            life("life", 1_000, &[Mark { at_us: 500, level: None, area: area() }], &[(100, 200)]),
        ];
        for picture in pictures {
            assert!(picture.starts_with("<svg role=\"group\""), "{picture}");
            assert!(!picture.contains("style=") && !picture.contains("<style"), "{picture}");
            assert!(picture.contains("&lt;3 lines") && picture.contains("b=&quot;2&quot;"), "{picture}");
        }
        assert_eq!(stacks("none", &[], 1, WIDE), "");
    }

    #[test]
    fn whatever_a_line_says_can_be_drawn() {
        for value in [f64::MAX, f64::INFINITY, f64::NAN, f64::MIN, -0.001, 0.0, f64::MIN_POSITIVE, 1e-300, 1e-7, 1e300]
        {
            let curve = |first| Curve { points: vec![(0, Some(first)), (60_000, Some(value)), (120_000, None)] };
            for curve in [curve(1.0), curve(value)] {
                let picture = curves("latency", &[curve], Unit::Milliseconds, 60_000, &[(0, area())], HALF);
                assert!(picture.contains("</svg>") && !picture.contains("NaN"), "{value}: {picture}");
            }
        }
        let below = Curve { points: vec![(0, Some(-5.0)), (60_000, Some(2.0))] };
        let picture = curves("latency", &[below], Unit::Milliseconds, 60_000, &[], HALF);
        assert!(
            picture.contains("<circle")
                && !picture.contains("<polyline opacity=\"1\" fill=\"none\" stroke=\"#030303\"")
        );
    }

    #[test]
    fn values_are_told_shortly() {
        let labels = [Unit::Count.label(12_345.0), Unit::Percent.label(0.5), Unit::Milliseconds.label(120.4)];
        assert_eq!(labels, ["12k", "0.5%", "120 ms"]);
    }
}
