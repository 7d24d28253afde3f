//! Whether lines are missing between those of a request: within each source, stored lines stand end to end by their offset
//! and length, or something is not there. It proves the way from the source to the store; what a service never wrote, or
//! what was lost before it reached a file, is seen by nobody here.

use std::ops::Range;

use crate::dead_letters::Letter;

/// A source's window is looked at line by line up to so many lines; a longer one is not judged.
pub const LINES_MAX: usize = 10_000;

/// Where the lines of a request stand in one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Offsets from its first line's first byte to its last line's end.
    pub offsets: Range<u64>,
    /// How many lines of the request are within.
    pub lines: usize,
    /// Whether each of them told its length.
    pub has_lengths: bool,
}

impl Window {
    /// Of a source's lines by offset and length; none without lines.
    #[must_use]
    pub fn of(places: &[(u64, u64)]) -> Option<Self> {
        let start = places.iter().map(|(offset, _)| *offset).min()?;
        let end = places.iter().map(|(offset, length)| offset.saturating_add(*length)).max()?;
        let has_lengths = places.iter().all(|(_, length)| *length > 0);
        Some(Self { offsets: start..end, lines: places.len(), has_lengths })
    }
}

/// Bytes of a source that no stored line has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From the end of the line before to the begin of the line after.
    pub offsets: Range<u64>,
    /// The lines of it that the shipper keeps as dead letters, as far as they are known, in order and beside each other.
    pub letters: Vec<Letter>,
}

impl Gap {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn at(offsets: Range<u64>) -> Self {
        Self { offsets, letters: Vec::new() }
    }

    /// Takes the letters that lie within.
    pub fn explain(&mut self, letters: &[Letter]) {
        let mut reached = self.offsets.start;
        for letter in letters {
            if letter.offsets.start >= reached && letter.offsets.end <= self.offsets.end {
                reached = letter.offsets.end;
                self.letters.push(letter.clone());
            }
        }
    }

    /// Bytes of it that are in no dead letter either.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        let length = |offsets: &Range<u64>| offsets.end - offsets.start;
        length(&self.offsets) - self.letters.iter().map(|letter| length(&letter.offsets)).sum::<u64>()
    }
}

/// What is found of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte of the window is in a stored line.
    Complete,
    /// These are not.
    Gaps(Vec<Gap>),
    /// It can't be told, and why.
    Unknown(&'static str),
}

/// Judges a window by the places (offset and length) of all lines that the store has of it, in order of offset.
#[must_use]
pub fn judge(window: &Window, stored: &[(u64, u64)]) -> Verdict {
    if !window.has_lengths {
        return Verdict::Unknown("a line does not tell its length");
    }
    if stored.len() >= LINES_MAX {
        return Verdict::Unknown("more than 10,000 lines lie between its first and its last");
    }
    let mut gaps = Vec::new();
    let mut reached = window.offsets.start;
    for (offset, length) in stored {
        if *offset > reached {
            gaps.push(Gap::at(reached..*offset));
        }
        reached = reached.max(offset.saturating_add(*length));
    }
    if reached < window.offsets.end {
        gaps.push(Gap::at(reached..window.offsets.end));
    }
    if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) }
}

/// What holds for all sources: a gap in one is a gap, and nothing is complete of which a part is unknown.
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
        (true, None) if !any => Verdict::Unknown("no line tells where it was read"),
        (true, None) => Verdict::Complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_to_end_are_complete_and_a_missing_one_is_named() {
        let window = Window::of(&[(100, 10), (150, 20)]).unwrap();
        assert_eq!(window.offsets, 100..170);
        let all = [(100, 10), (110, 40), (150, 20)];
        assert_eq!(judge(&window, &all), Verdict::Complete);
        let gap = |offsets| Verdict::Gaps(vec![Gap::at(offsets)]);
        assert_eq!(judge(&window, &[all[0], all[2]]), gap(110..150));
        assert_eq!(judge(&window, &all[1..]), gap(100..110));
        assert_eq!(judge(&window, &all[..2]), gap(150..170));
    }

    #[test]
    fn a_dead_letter_explains_its_own_bytes_and_no_others() {
        let letter = |offsets: Range<u64>| Letter { offsets, reason: None };
        let explained = |letters: &[Letter]| {
            let mut gap = Gap::at(100..160);
            gap.explain(letters);
            (gap.letters.len(), gap.missing_bytes())
        };
        assert_eq!(explained(&[]), (0, 60));
        assert_eq!(explained(&[letter(100..120), letter(120..160)]), (2, 0));
        assert_eq!(explained(&[letter(90..110), letter(110..120), letter(115..130), letter(150..170)]), (1, 50));
    }

    #[test]
    fn what_can_not_be_told_is_not_called_complete() {
        let window = Window::of(&[(0, 0)]).unwrap();
        assert!(matches!(judge(&window, &[]), Verdict::Unknown(_)));
        assert!(matches!(overall([]), Verdict::Unknown(_)));
        assert!(matches!(overall([&Verdict::Complete, &Verdict::Unknown("x")]), Verdict::Unknown("x")));
        let gap = Verdict::Gaps(vec![Gap::at(1..2)]);
        assert_eq!(overall([&gap, &Verdict::Unknown("x")]), gap);
        assert!(Window::of(&[]).is_none());
    }
}
