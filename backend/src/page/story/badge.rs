//! *Is this all?*: what is found of a request's sources, in words.

use crate::dead_letters::Looked;
use crate::page::story::sources::Source;
use crate::page::text::{count, counted};
use crate::story::whole::{self, Gap, Side, Verdict};

/// Gaps and dead letters of a source that are named one by one.
const NAMED: usize = 5;

/// The badge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// `complete`, `gap`, `dead-letter` (all that is not stored is one) or `unknown`.
    pub verdict: &'static str,
    /// What it says.
    pub words: String,
    /// What is found of each source.
    pub sources: Vec<String>,
}

impl Badge {
    /// Of so many lines, which may be a part of a story, and their sources.
    #[must_use]
    pub fn of(lines: usize, is_part: bool, sources: &[Source]) -> Self {
        let verdict = whole::overall(sources.iter().map(|source| &source.verdict));
        let lines = counted(lines as u64, "line", "lines");
        let of = if is_part { format!("{lines} on this page") } else { lines };
        let (verdict, words) = match &verdict {
            Verdict::Complete => {
                let from = counted(sources.len() as u64, "source", "sources");
                ("complete", format!("All lines present ({of} from {from})"))
            }
            Verdict::Gaps(gaps) => of_gaps(gaps, sources.iter().any(|source| source.looked == Looked::Nowhere)),
            Verdict::Unknown(why) => ("unknown", format!("Completeness unknown: {why}")),
        };
        Self { verdict, words, sources: sources.iter().map(told).collect() }
    }
}

fn of_gaps(gaps: &[Gap], unlooked: bool) -> (&'static str, String) {
    let letters: usize = gaps.iter().map(|gap| gap.letters.len()).sum();
    let dead = counted(letters as u64, "dead letter", "dead letters");
    let missing: Vec<_> = gaps.iter().map(Gap::missing_bytes).filter(|bytes| *bytes > 0).collect();
    // Those may be lines of other requests.
    let place = match (side_of(gaps, Side::Within), side_of(gaps, Side::Before), side_of(gaps, Side::After)) {
        (true, ..) | (false, false, false) => "",
        (false, true, false) => " directly before its first line",
        (false, false, true) => " directly after its last line",
        (false, true, true) => " directly before and after its lines",
    };
    if missing.is_empty() {
        return ("dead-letter", format!("{dead}{place}: not stored, kept by the shipper"));
    }
    let what = if unlooked { "not stored (missing or dead letters)" } else { "missing" };
    let bytes = counted(missing.iter().sum(), "byte", "bytes");
    let also = if letters > 0 { format!(", and {dead}") } else { String::new() };
    let gaps = counted(missing.len() as u64, "gap", "gaps");
    ("gap", format!("{gaps}{place}: {bytes} of the source {what}{also}"))
}

fn side_of(gaps: &[Gap], side: Side) -> bool {
    gaps.iter().any(|gap| gap.side == side)
}

fn told(source: &Source) -> String {
    let lines = counted(source.lines as u64, "line", "lines");
    match &source.verdict {
        Verdict::Complete => {
            let after = if source.is_last { "; no later line of this source is stored" } else { ", nothing missing" };
            format!("{}: {lines}, contiguous{after}", source.name)
        }
        Verdict::Unknown(why) => format!("{}: {lines}; unknown: {why}", source.name),
        Verdict::Gaps(gaps) => format!("{}: {lines}; not stored: {}. {}", source.name, named(gaps), why(source, gaps)),
    }
}

fn named(gaps: &[Gap]) -> String {
    let mut parts = Vec::new();
    for gap in gaps {
        let place = match gap.side {
            Side::Within => "",
            Side::Before => ", directly before its first line",
            Side::After => ", directly after its last line",
        };
        let dead = gap.letters.iter().map(|letter| {
            let reason = letter.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("a dead letter at offset {}{place}{reason}", count(letter.offsets.start))
        });
        parts.extend(dead);
        if gap.missing_bytes() > 0 {
            let missing = counted(gap.missing_bytes(), "byte", "bytes");
            parts.push(format!(
                "{missing} at offsets {} to {}{place}",
                count(gap.offsets.start),
                count(gap.offsets.end)
            ));
        }
    }
    let rest = parts.len().saturating_sub(NAMED);
    parts.truncate(NAMED);
    let more = if rest > 0 { format!(" and {rest} more (run shipper verify to list them)") } else { String::new() };
    parts.join(", ") + &more
}

/// What is known of bytes that are in no line and no dead letter.
fn why(source: &Source, gaps: &[Gap]) -> String {
    let mut words = Vec::new();
    if !side_of(gaps, Side::Within) {
        words.push("The missing bytes may belong to this or another request.".to_owned());
    }
    if gaps.iter().any(|gap| !gap.letters.is_empty()) {
        words.push("Run shipper dead-letters to list or replay dead letters.".to_owned());
    }
    if gaps.iter().any(|gap| gap.missing_bytes() > 0) {
        words.push(
            match source.looked {
                Looked::Nowhere => {
                    "These lines may still be in transit, dead-lettered or lost. Run shipper verify and shipper \
                     dead-letters list to find out, or set SHIPPER_STATE_DIR to show it here."
                }
                Looked::Through => {
                    "No dead letter of the local shipper covers these bytes: the lines are in transit, lost, or from another \
                     shipper. Run shipper verify to find out."
                }
                Looked::Partly => "Too many dead letters to check all of them; run shipper dead-letters list.",
                Looked::Failed => "The shipper's dead letters can't be read; see the log of this service.",
            }
            .to_owned(),
        );
        if source.removed > 0 {
            let removed = counted(source.removed, "line", "lines");
            words.push(format!("{removed} of this source deleted by retention."));
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::Letter;

    fn source(gaps: Vec<Gap>, looked: Looked) -> Source {
        let verdict = if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) };
        Source { name: "app.log".to_owned(), lines: 3, verdict, is_last: false, looked, removed: 2 }
    }

    fn gap(letters: &[(u64, u64)]) -> Gap {
        let letter = |(start, end): &(u64, u64)| Letter { offsets: *start..*end, reason: Some("too deep".to_owned()) };
        Gap { offsets: 1_000..1_100, side: Side::Within, letters: letters.iter().map(letter).collect() }
    }

    #[test]
    fn a_dead_letter_is_told_from_what_is_missing() {
        let badge = |gaps, looked| Badge::of(3, false, &[source(gaps, looked)]);
        let complete = badge(vec![], Looked::Nowhere);
        assert_eq!(
            (complete.verdict, complete.words.as_str()),
            ("complete", "All lines present (3 lines from 1 source)")
        );

        let unlooked = badge(vec![gap(&[])], Looked::Nowhere);
        let words = "1 gap: 100 bytes of the source not stored (missing or dead letters)";
        assert_eq!((unlooked.verdict, unlooked.words.as_str()), ("gap", words));
        assert!(unlooked.sources[0].contains("SHIPPER_STATE_DIR"), "{unlooked:?}");

        let missing = badge(vec![gap(&[])], Looked::Through);
        assert_eq!(missing.words, "1 gap: 100 bytes of the source missing");
        assert!(missing.sources[0].contains("2 lines of this source deleted by retention"), "{missing:?}");

        let dead = badge(vec![gap(&[(1_000, 1_100)])], Looked::Through);
        assert_eq!(
            (dead.verdict, dead.words.as_str()),
            ("dead-letter", "1 dead letter: not stored, kept by the shipper")
        );
        assert!(dead.sources[0].contains("a dead letter at offset 1,000 (too deep)"), "{dead:?}");

        let both = badge(vec![gap(&[(1_000, 1_040)])], Looked::Partly);
        assert_eq!(
            (both.verdict, both.words.as_str()),
            ("gap", "1 gap: 60 bytes of the source missing, and 1 dead letter")
        );
    }
    #[test]
    fn what_is_missing_beside_its_lines_is_not_said_to_be_its_own() {
        let beside = |side, letters: &[(u64, u64)]| Gap { side, ..gap(letters) };
        let badge = |gaps| Badge::of(3, false, &[source(gaps, Looked::Through)]);
        let after = badge(vec![beside(Side::After, &[])]);
        assert_eq!(after.words, "1 gap directly after its last line: 100 bytes of the source missing");
        assert!(after.sources[0].contains("to 1,100, directly after its last line."), "{after:?}");
        assert!(after.sources[0].contains("this or another request"), "{after:?}");
        let dead = badge(vec![beside(Side::After, &[(1_000, 1_100)])]);
        let words = "1 dead letter directly after its last line: not stored, kept by the shipper";
        assert_eq!((dead.verdict, dead.words.as_str()), ("dead-letter", words));
        let both = badge(vec![beside(Side::Before, &[]), beside(Side::After, &[])]);
        assert_eq!(both.words, "2 gaps directly before and after its lines: 200 bytes of the source missing");
        let within = badge(vec![gap(&[]), beside(Side::After, &[])]);
        assert_eq!(within.words, "2 gaps: 200 bytes of the source missing");
        assert!(!within.sources[0].contains("another request"), "{within:?}");
    }
}
