//! Lays a good request beside another, step by step.

use crate::line::Line;
use crate::story::steps::StepKey;

/// So many lines of each are compared; the page says so where there are more.
pub const LINES_MAX: usize = 400;

/// One row: a line of the request at hand, of the good one, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Place among the lines at hand; none where the good request alone has it.
    pub here: Option<usize>,
    /// Place among the good request's lines; none where the one at hand alone has it.
    pub good: Option<usize>,
    /// Whether this is where the two part.
    pub parts: bool,
}

/// Aligns two requests by their longest common sequence of steps.
#[must_use]
pub fn align(here: &[Line], good: &[Line]) -> Vec<Row> {
    let keys = |lines: &[Line]| lines.iter().take(LINES_MAX).map(StepKey::of).collect::<Vec<_>>();
    let (here_keys, good_keys) = (keys(here), keys(good));
    let lengths = common_lengths(&here_keys, &good_keys);
    let (mut i, mut j) = (0, 0);
    let mut rows = Vec::new();
    while i < here_keys.len() || j < good_keys.len() {
        let (both_left, same) = (i < here_keys.len() && j < good_keys.len(), here_keys.get(i) == good_keys.get(j));
        if both_left && same {
            rows.push(Row { here: Some(i), good: Some(j), parts: false });
            (i, j) = (i + 1, j + 1);
        } else if i < here_keys.len() && (j >= good_keys.len() || lengths[i + 1][j] >= lengths[i][j + 1]) {
            rows.push(Row { here: Some(i), good: None, parts: false });
            i += 1;
        } else {
            rows.push(Row { here: None, good: Some(j), parts: false });
            j += 1;
        }
    }
    if let Some(first) = rows.iter_mut().find(|row| differs(row, here, good)) {
        first.parts = true;
    }
    rows
}

/// Whether a row is one where the two are not alike: a line is missing, or a request ended otherwise.
fn differs(row: &Row, here: &[Line], good: &[Line]) -> bool {
    let (Some(here), Some(good)) = (row.here.and_then(|at| here.get(at)), row.good.and_then(|at| good.get(at))) else {
        return true;
    };
    let end = |line: &Line| line.access.as_ref().map(|access| (access.status, access.outcome.clone()));
    end(here) != end(good)
}

/// The length of the longest common sequence of what is left from each place on.
fn common_lengths(here: &[StepKey], good: &[StepKey]) -> Vec<Vec<u16>> {
    let mut lengths = vec![vec![0_u16; good.len() + 1]; here.len() + 1];
    for i in (0..here.len()).rev() {
        for j in (0..good.len()).rev() {
            lengths[i][j] =
                if here[i] == good[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line::Access;

    fn lines(messages: &[&str], status: u16) -> Vec<Line> {
        let access = Access { status: Some(status), outcome: "answered".to_owned(), ..Access::default() };
        let line = |message: &&str| Line { message: (*message).to_owned(), ..Line::default() };
        messages.iter().map(line).chain([Line { access: Some(access), ..Line::default() }]).collect()
    }

    #[test]
    fn lines_that_should_have_been_there_are_found_and_the_first_difference_is_marked() {
        let here = lines(&["read order 1", "asked stock", "stock does not answer"], 500);
        let good = lines(&["read order 2", "asked stock", "stock says 3", "charged"], 200);
        let rows = align(&here, &good);
        let places: Vec<_> = rows.iter().map(|row| (row.here, row.good)).collect();
        assert_eq!(
            places,
            [
                (Some(0), Some(0)),
                (Some(1), Some(1)),
                (Some(2), None),
                (None, Some(2)),
                (None, Some(3)),
                (Some(3), Some(4)),
            ]
        );
        assert_eq!(rows.iter().position(|row| row.parts), Some(2));
    }

    #[test]
    fn the_same_lines_part_where_they_end_otherwise() {
        let rows = align(&lines(&["a"], 500), &lines(&["a"], 200));
        assert_eq!(rows.iter().position(|row| row.parts), Some(1));
        assert!(align(&lines(&["a"], 200), &lines(&["a"], 200)).iter().all(|row| !row.parts));
    }

    proptest! {
        #[test]
        fn each_line_stands_once_and_in_order(here in "[abc]{0,12}", good in "[abc]{0,12}") {
            let line = |c: char| Line { message: c.to_string(), ..Line::default() };
            let (here, good): (Vec<_>, Vec<_>) = (here.chars().map(line).collect(), good.chars().map(line).collect());
            let rows = align(&here, &good);
            prop_assert!(rows.iter().filter_map(|row| row.here).eq(0..here.len()));
            prop_assert!(rows.iter().filter_map(|row| row.good).eq(0..good.len()));
            for row in rows {
                if let (Some(i), Some(j)) = (row.here, row.good) {
                    prop_assert_eq!(&here[i].message, &good[j].message);
                }
            }
        }
    }
}
