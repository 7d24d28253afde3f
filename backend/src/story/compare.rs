//! Aligns the steps of a request with those of another one.

use crate::line::Line;
use crate::story::steps::StepKey;

/// Maximum number of lines of each request that are compared.
pub const LINES_MAX: usize = 400;

/// One row of an alignment: a line of this request, of the other, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index of this request's line; none if only the other has it.
    pub here: Option<usize>,
    /// Index of the other request's line; none if only this one has it.
    pub other: Option<usize>,
    /// Whether this is the first difference.
    pub is_first_difference: bool,
}

/// Aligns two requests by their longest common sequence of steps.
#[must_use]
pub fn align(here: &[Line], other: &[Line]) -> Vec<Row> {
    let keys = |lines: &[Line]| lines.iter().take(LINES_MAX).map(StepKey::new).collect::<Vec<_>>();
    let (here_keys, other_keys) = (keys(here), keys(other));
    let lengths = common_lengths(&here_keys, &other_keys);
    let (mut i, mut j) = (0, 0);
    let mut rows = Vec::new();
    while i < here_keys.len() || j < other_keys.len() {
        let (both_left, same) = (i < here_keys.len() && j < other_keys.len(), here_keys.get(i) == other_keys.get(j));
        if both_left && same {
            rows.push(Row { here: Some(i), other: Some(j), is_first_difference: false });
            (i, j) = (i + 1, j + 1);
        } else if i < here_keys.len() && (j >= other_keys.len() || lengths[i + 1][j] >= lengths[i][j + 1]) {
            rows.push(Row { here: Some(i), other: None, is_first_difference: false });
            i += 1;
        } else {
            rows.push(Row { here: None, other: Some(j), is_first_difference: false });
            j += 1;
        }
    }
    if let Some(first) = rows.iter_mut().find(|row| differs(row, here, other)) {
        first.is_first_difference = true;
    }
    rows
}

/// Whether the two differ in a row: a line is missing, or the outcomes differ.
fn differs(row: &Row, here: &[Line], other: &[Line]) -> bool {
    let (Some(here), Some(other)) = (row.here.and_then(|at| here.get(at)), row.other.and_then(|at| other.get(at)))
    else {
        return true;
    };
    let end = |line: &Line| line.access.as_ref().map(|access| (access.status, access.outcome.clone()));
    end(here) != end(other)
}

/// The length of the longest common subsequence of what remains at each pair of indices.
fn common_lengths(here: &[StepKey], other: &[StepKey]) -> Vec<Vec<u16>> {
    let mut lengths = vec![vec![0_u16; other.len() + 1]; here.len() + 1];
    for i in (0..here.len()).rev() {
        for j in (0..other.len()).rev() {
            lengths[i][j] =
                if here[i] == other[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
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
    fn missing_lines_are_found_and_the_first_difference_is_marked() {
        let here = lines(&["read order 1", "requested stock", "stock does not answer"], 500);
        let other = lines(&["read order 2", "requested stock", "stock says 3", "charged"], 200);
        let rows = align(&here, &other);
        let places: Vec<_> = rows.iter().map(|row| (row.here, row.other)).collect();
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
        assert_eq!(rows.iter().position(|row| row.is_first_difference), Some(2));
    }

    #[test]
    fn equal_lines_with_another_outcome_differ() {
        let rows = align(&lines(&["a"], 500), &lines(&["a"], 200));
        assert_eq!(rows.iter().position(|row| row.is_first_difference), Some(1));
        assert!(align(&lines(&["a"], 200), &lines(&["a"], 200)).iter().all(|row| !row.is_first_difference));
    }

    proptest! {
        #[test]
        fn each_line_appears_once_and_in_order(here in "[abc]{0,12}", other in "[abc]{0,12}") {
            let line = |c: char| Line { message: c.to_string(), ..Line::default() };
            let (here, other): (Vec<_>, Vec<_>) = (here.chars().map(line).collect(), other.chars().map(line).collect());
            let rows = align(&here, &other);
            prop_assert!(rows.iter().filter_map(|row| row.here).eq(0..here.len()));
            prop_assert!(rows.iter().filter_map(|row| row.other).eq(0..other.len()));
            for row in rows {
                if let (Some(i), Some(j)) = (row.here, row.other) {
                    prop_assert_eq!(&here[i].message, &other[j].message);
                }
            }
        }
    }
}
