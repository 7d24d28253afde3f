//! Whether lines of a request are missing. Within each source, stored lines must be contiguous by offset and length, from the
//! line before the request's first line to the line after its last. This checks the path from the source to the store; lines
//! that a service never wrote, or that were lost before they reached a file, can't be detected.

use std::ops::Range;

use store::Coverage;
use store::coverage::DISTINCT_UP_TO;

use crate::dead_letters::Letter;

/// The range of a request's lines in one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From the start of its first line to the end of its last.
    pub offsets: Range<u64>,
    /// The number of the request's lines in it.
    pub lines: usize,
    /// Whether each of them records its length.
    pub has_lengths: bool,
}

impl Window {
    /// The window of lines given by offset and length; none without lines.
    #[must_use]
    pub fn new(places: &[(u64, u64)]) -> Option<Self> {
        let start = places.iter().map(|(offset, _)| *offset).min()?;
        let end = places.iter().map(|(offset, length)| offset.saturating_add(*length)).max()?;
        let has_lengths = places.iter().all(|(_, length)| *length > 0);
        Some(Self { offsets: start..end, lines: places.len(), has_lengths })
    }
}

/// The position of a gap relative to a request's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between the first line and the last.
    Within,
    /// Directly before the first line.
    Before,
    /// Directly after the last line.
    After,
}

/// Bytes of a source that no stored line covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From the end of the line before it to the start of the line after it.
    pub offsets: Range<u64>,
    /// Its position.
    pub side: Side,
    /// Known dead letters within it, in order and without overlap.
    pub letters: Vec<Letter>,
}

impl Gap {
    /// A gap without known dead letters.
    #[must_use]
    pub fn at(offsets: Range<u64>, side: Side) -> Self {
        Self { offsets, side, letters: Vec::new() }
    }

    /// Adds the dead letters that lie within it.
    pub fn explain(&mut self, letters: &[Letter]) {
        let mut reached = self.offsets.start;
        for letter in letters {
            if letter.offsets.start >= reached && letter.offsets.end <= self.offsets.end {
                reached = letter.offsets.end;
                self.letters.push(letter.clone());
            }
        }
    }

    /// Bytes of it that no dead letter covers.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        let length = |offsets: &Range<u64>| offsets.end - offsets.start;
        length(&self.offsets) - self.letters.iter().map(|letter| length(&letter.offsets)).sum::<u64>()
    }
}

/// The result for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stored lines cover every byte of the window.
    Complete,
    /// Some bytes are not covered.
    Gaps(Vec<Gap>),
    /// It can't be determined, and why.
    Unknown(&'static str),
}

impl Verdict {
    /// Its gaps.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        match self {
            Self::Gaps(gaps) => gaps,
            Self::Complete | Self::Unknown(_) => &[],
        }
    }

    /// Adds gaps, unless it is unknown.
    pub fn add(&mut self, mut more: Vec<Gap>) {
        match self {
            Self::Gaps(gaps) => {
                gaps.append(&mut more);
                gaps.sort_by_key(|gap| gap.offsets.start);
            }
            Self::Complete if !more.is_empty() => *self = Self::Gaps(more),
            Self::Complete | Self::Unknown(_) => {}
        }
    }

    /// Adds the dead letters that lie in its gaps.
    pub fn explain(&mut self, letters: &[Letter]) {
        if let Self::Gaps(gaps) = self {
            gaps.iter_mut().for_each(|gap| gap.explain(letters));
        }
    }
}

/// Checks a range, given offset and length of all stored lines in it, by offset.
#[must_use]
pub fn check(offsets: &Range<u64>, stored: &[(u64, u64)]) -> Verdict {
    let mut gaps = Vec::new();
    let mut reached = offsets.start;
    for (offset, length) in stored {
        if *offset > reached {
            gaps.push(Gap::at(reached..*offset, Side::Within));
        }
        reached = reached.max(offset.saturating_add(*length));
    }
    if reached < offsets.end {
        gaps.push(Gap::at(reached..offsets.end, Side::Within));
    }
    if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) }
}

/// The parts of a range for which sums don't prove that each line is stored once; these have to be checked line by line. The
/// range starts and ends with a line. Each step's lines must add up to the distance from its first line to the next step's.
#[must_use]
pub fn doubtful(steps: &[Coverage], offsets: &Range<u64>) -> Vec<Range<u64>> {
    let firsts: Vec<_> = steps.iter().map(|step| step.first.unwrap_or(offsets.start)).collect();
    let first = firsts.first().copied().unwrap_or(offsets.end);
    let mut parts = Vec::new();
    if first > offsets.start {
        parts.push(offsets.start..first);
    }
    for (place, step) in steps.iter().enumerate() {
        let part = firsts[place]..firsts.get(place + 1).copied().unwrap_or(offsets.end);
        let is_once = step.lines <= DISTINCT_UP_TO && step.distinct == step.lines;
        if !is_once || part.start.checked_add(step.bytes) != Some(part.end) {
            parts.push(part);
        }
    }
    parts
}

/// The gaps directly before and after a range, given offset and length of the last line before it and the offset of the first
/// line after it.
#[must_use]
pub fn adjacent_gaps(offsets: &Range<u64>, before: Option<(u64, u64)>, after: Option<u64>) -> Vec<Gap> {
    let reached = match before {
        None => 0,
        // Its length is unknown.
        Some((_, 0)) => offsets.start,
        Some((offset, length)) => offset.saturating_add(length),
    };
    let before = (reached < offsets.start).then(|| Gap::at(reached..offsets.start, Side::Before));
    let after = after.filter(|after| *after > offsets.end).map(|after| Gap::at(offsets.end..after, Side::After));
    before.into_iter().chain(after).collect()
}

/// The dead letters that directly follow the last stored line of a source.
#[must_use]
pub fn letters_after(end: u64, letters: &[Letter]) -> Option<Gap> {
    let mut gap = Gap::at(end..end, Side::After);
    for letter in letters {
        if letter.offsets.start == gap.offsets.end {
            gap.offsets.end = letter.offsets.end;
            gap.letters.push(letter.clone());
        }
    }
    (!gap.letters.is_empty()).then_some(gap)
}

/// The result for all sources: a gap in one is a gap, and a request with an unknown source is not complete.
#[must_use]
pub fn overall<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> Verdict {
    let mut gaps = Vec::new();
    let mut unknown = None;
    let mut any = false;
    for verdict in verdicts {
        any = true;
        match verdict {
            Verdict::Complete => {}
            Verdict::Gaps(more) => gaps.extend(more.iter().cloned()),
            Verdict::Unknown(why) => unknown = Some(*why),
        }
    }
    match (gaps.is_empty(), unknown) {
        (false, _) => Verdict::Gaps(gaps),
        (true, Some(why)) => Verdict::Unknown(why),
        (true, None) if !any => Verdict::Unknown("no line records where it was read"),
        (true, None) => Verdict::Complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_lines_are_complete_and_a_missing_one_is_a_gap() {
        let window = Window::new(&[(100, 10), (150, 20)]).unwrap();
        assert_eq!(window.offsets, 100..170);
        let all = [(100, 10), (110, 40), (150, 20)];
        let check = |stored: &[(u64, u64)]| check(&window.offsets, stored);
        assert_eq!(check(&all), Verdict::Complete);
        let gap = |offsets| Verdict::Gaps(vec![Gap::at(offsets, Side::Within)]);
        assert_eq!(check(&[all[0], all[2]]), gap(110..150));
        assert_eq!(check(&all[1..]), gap(100..110));
        assert_eq!(check(&all[..2]), gap(150..170));
    }

    #[test]
    fn a_missing_neighbour_is_a_gap_and_an_absent_one_is_not() {
        let before = |before| adjacent_gaps(&(100..170), before, None);
        assert_eq!((before(Some((60, 40))), before(Some((60, 0)))), (vec![], vec![]));
        assert_eq!(before(Some((60, 30))), [Gap::at(90..100, Side::Before)]);
        assert_eq!(before(None), [Gap::at(0..100, Side::Before)]);
        let after = |after| adjacent_gaps(&(0..170), None, after);
        assert_eq!((after(None), after(Some(170))), (vec![], vec![]));
        assert_eq!(after(Some(200)), [Gap::at(170..200, Side::After)]);

        let letter = |offsets: Range<u64>| Letter { offsets, reason: None };
        assert_eq!(letters_after(170, &[letter(180..190)]), None);
        let gap = letters_after(170, &[letter(170..180), letter(180..190), letter(195..200)]).unwrap();
        assert_eq!((gap.offsets.clone(), gap.letters.len(), gap.missing_bytes()), (170..190, 2, 0));
        let mut verdict = Verdict::Complete;
        verdict.add(vec![Gap::at(170..190, Side::After)]);
        verdict.add(vec![Gap::at(90..100, Side::Before)]);
        assert_eq!(verdict.gaps().iter().map(|gap| gap.side).collect::<Vec<_>>(), [Side::Before, Side::After]);
    }

    #[test]
    fn sums_tell_which_lines_to_check() {
        let step = |first, lines, bytes| Coverage { lines, bytes, distinct: lines, first: Some(first), last_end: None };
        let parts = |steps: &[Coverage]| {
            let parts = doubtful(steps, &(100..200));
            parts.into_iter().map(|part| (part.start, part.end)).collect::<Vec<_>>()
        };
        let all = [step(100, 2, 50), step(150, 1, 30), step(180, 4, 20)];
        assert_eq!(parts(&all), []);
        assert_eq!(parts(&all[1..]), [(100, 150)]);
        assert_eq!(parts(&[all[0], all[2]]), [(100, 180)]);
        assert_eq!(parts(&all[..2]), [(150, 200)]);
        let twice = Coverage { distinct: 1, ..all[0] };
        let many = Coverage { lines: DISTINCT_UP_TO + 1, distinct: DISTINCT_UP_TO + 1, ..all[1] };
        assert_eq!(parts(&[twice, many, all[2]]), [(100, 150), (150, 180)]);
        assert_eq!(parts(&[]), [(100, 200)]);
    }

    #[test]
    fn a_dead_letter_explains_its_own_bytes_and_no_others() {
        let letter = |offsets: Range<u64>| Letter { offsets, reason: None };
        let explained = |letters: &[Letter]| {
            let mut gap = Gap::at(100..160, Side::Within);
            gap.explain(letters);
            (gap.letters.len(), gap.missing_bytes())
        };
        assert_eq!(explained(&[]), (0, 60));
        assert_eq!(explained(&[letter(100..120), letter(120..160)]), (2, 0));
        assert_eq!(explained(&[letter(90..110), letter(110..120), letter(115..130), letter(150..170)]), (1, 50));
    }

    #[test]
    fn an_unknown_source_is_not_complete() {
        assert!(!Window::new(&[(0, 0)]).unwrap().has_lengths);
        assert!(matches!(overall([]), Verdict::Unknown(_)));
        assert!(matches!(overall([&Verdict::Complete, &Verdict::Unknown("x")]), Verdict::Unknown("x")));
        let gap = Verdict::Gaps(vec![Gap::at(1..2, Side::Within)]);
        assert_eq!(overall([&gap, &Verdict::Unknown("x")]), gap);
        assert!(Window::new(&[]).is_none());
    }
}
