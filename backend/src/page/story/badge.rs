//! The completeness badge: the results for a request's sources, as text.

use crate::dead_letters::Extent;
use crate::page::story::sources::SourceReport;
use crate::page::text::{count, counted};
use crate::story::completeness::{self, Gap, Side, Verdict};

/// Maximum gaps and dead letters of a source that are listed.
const LISTED_MAX: usize = 5;

/// The badge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// `complete`, `gap`, `dead-letter` (each missing line is a dead letter) or `unknown`.
    pub verdict: &'static str,
    /// Its text.
    pub text: String,
    /// The result for each source.
    pub sources: Vec<String>,
}

impl Badge {
    /// The badge of the lines of a page, which may be a part of a request.
    #[must_use]
    pub fn new(lines: usize, is_partial: bool, sources: &[SourceReport]) -> Self {
        let verdict = completeness::overall(sources.iter().map(|source| &source.verdict));
        let lines = counted(lines as u64, "line", "lines");
        let of = if is_partial { format!("{lines} on this page") } else { lines };
        let (verdict, text) = match &verdict {
            Verdict::Complete => {
                let from = counted(sources.len() as u64, "source", "sources");
                ("complete", format!("All lines present ({of} from {from})"))
            }
            Verdict::Gaps(gaps) => {
                gaps_text(gaps, sources.iter().any(|source| source.dead_letters == Extent::NotConfigured))
            }
            Verdict::Unknown(why) => ("unknown", format!("Completeness unknown: {why}")),
        };
        Self { verdict, text, sources: sources.iter().map(source_text).collect() }
    }
}

fn gaps_text(gaps: &[Gap], is_unchecked: bool) -> (&'static str, String) {
    let letters: usize = gaps.iter().map(|gap| gap.letters.len()).sum();
    let dead = counted(letters as u64, "dead letter", "dead letters");
    let missing: Vec<_> = gaps.iter().map(Gap::missing_bytes).filter(|bytes| *bytes > 0).collect();
    // These may be lines of other requests.
    let place = match (side_of(gaps, Side::Within), side_of(gaps, Side::Before), side_of(gaps, Side::After)) {
        (true, ..) | (false, false, false) => "",
        (false, true, false) => " directly before its first line",
        (false, false, true) => " directly after its last line",
        (false, true, true) => " directly before and after its lines",
    };
    if missing.is_empty() {
        return ("dead-letter", format!("{dead}{place}: not stored, kept by the shipper"));
    }
    let what = if is_unchecked { "not stored (missing or dead letters)" } else { "missing" };
    let bytes = counted(missing.iter().sum(), "byte", "bytes");
    let also = if letters > 0 { format!(", and {dead}") } else { String::new() };
    let gaps = counted(missing.len() as u64, "gap", "gaps");
    ("gap", format!("{gaps}{place}: {bytes} of the source {what}{also}"))
}

fn side_of(gaps: &[Gap], side: Side) -> bool {
    gaps.iter().any(|gap| gap.side == side)
}

fn source_text(source: &SourceReport) -> String {
    let lines = counted(source.lines as u64, "line", "lines");
    match &source.verdict {
        Verdict::Complete => {
            let after = if source.is_last { "; no later line of this source is stored" } else { ", nothing missing" };
            format!("{}: {lines}, contiguous{after}", source.name)
        }
        Verdict::Unknown(why) => format!("{}: {lines}; unknown: {why}", source.name),
        Verdict::Gaps(gaps) => {
            format!("{}: {lines}; not stored: {}. {}", source.name, list(gaps), explanation(source, gaps))
        }
    }
}

fn list(gaps: &[Gap]) -> String {
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
    let rest = parts.len().saturating_sub(LISTED_MAX);
    parts.truncate(LISTED_MAX);
    let more = if rest > 0 { format!(" and {rest} more (run shipper verify to list them)") } else { String::new() };
    parts.join(", ") + &more
}

/// Explains bytes that neither a line nor a dead letter covers.
fn explanation(source: &SourceReport, gaps: &[Gap]) -> String {
    let mut sentences = Vec::new();
    if !side_of(gaps, Side::Within) {
        sentences.push("The missing bytes may belong to this or another request.".to_owned());
    }
    if gaps.iter().any(|gap| !gap.letters.is_empty()) {
        sentences.push("Run shipper dead-letters to list or replay dead letters.".to_owned());
    }
    if gaps.iter().any(|gap| gap.missing_bytes() > 0) {
        sentences.push(
            match source.dead_letters {
                Extent::NotConfigured => {
                    "These lines may still be in transit, dead-lettered or lost. Run shipper verify and shipper \
                     dead-letters list to find out, or set SHIPPER_STATE_DIR to show it here."
                }
                Extent::Complete => {
                    "No dead letter of the local shipper covers these bytes: the lines are in transit, lost, or from another \
                     shipper. Run shipper verify to find out."
                }
                Extent::Partial => "Too many dead letters to check all of them; run shipper dead-letters list.",
                Extent::Failed => "The shipper's dead letters can't be read; see the log of this service.",
            }
            .to_owned(),
        );
        if source.removed > 0 {
            let removed = counted(source.removed, "line", "lines");
            sentences.push(format!("{removed} of this source deleted by retention."));
        }
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::Letter;

    fn source(gaps: Vec<Gap>, dead_letters: Extent) -> SourceReport {
        let verdict = if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) };
        SourceReport { name: "app.log".to_owned(), lines: 3, verdict, is_last: false, dead_letters, removed: 2 }
    }

    fn gap(letters: &[(u64, u64)]) -> Gap {
        let letter = |(start, end): &(u64, u64)| Letter { offsets: *start..*end, reason: Some("too deep".to_owned()) };
        Gap { offsets: 1_000..1_100, side: Side::Within, letters: letters.iter().map(letter).collect() }
    }

    #[test]
    fn dead_letters_are_distinguished_from_missing_lines() {
        let badge = |gaps, dead_letters| Badge::new(3, false, &[source(gaps, dead_letters)]);
        let complete = badge(vec![], Extent::NotConfigured);
        assert_eq!(
            (complete.verdict, complete.text.as_str()),
            ("complete", "All lines present (3 lines from 1 source)")
        );

        let unchecked = badge(vec![gap(&[])], Extent::NotConfigured);
        let text = "1 gap: 100 bytes of the source not stored (missing or dead letters)";
        assert_eq!((unchecked.verdict, unchecked.text.as_str()), ("gap", text));
        assert!(unchecked.sources[0].contains("SHIPPER_STATE_DIR"), "{unchecked:?}");

        let missing = badge(vec![gap(&[])], Extent::Complete);
        assert_eq!(missing.text, "1 gap: 100 bytes of the source missing");
        assert!(missing.sources[0].contains("2 lines of this source deleted by retention"), "{missing:?}");

        let dead = badge(vec![gap(&[(1_000, 1_100)])], Extent::Complete);
        assert_eq!(
            (dead.verdict, dead.text.as_str()),
            ("dead-letter", "1 dead letter: not stored, kept by the shipper")
        );
        assert!(dead.sources[0].contains("a dead letter at offset 1,000 (too deep)"), "{dead:?}");

        let both = badge(vec![gap(&[(1_000, 1_040)])], Extent::Partial);
        assert_eq!(
            (both.verdict, both.text.as_str()),
            ("gap", "1 gap: 60 bytes of the source missing, and 1 dead letter")
        );
    }
    #[test]
    fn a_gap_next_to_the_lines_may_belong_to_another_request() {
        let adjacent = |side, letters: &[(u64, u64)]| Gap { side, ..gap(letters) };
        let badge = |gaps| Badge::new(3, false, &[source(gaps, Extent::Complete)]);
        let after = badge(vec![adjacent(Side::After, &[])]);
        assert_eq!(after.text, "1 gap directly after its last line: 100 bytes of the source missing");
        assert!(after.sources[0].contains("to 1,100, directly after its last line."), "{after:?}");
        assert!(after.sources[0].contains("this or another request"), "{after:?}");
        let dead = badge(vec![adjacent(Side::After, &[(1_000, 1_100)])]);
        let text = "1 dead letter directly after its last line: not stored, kept by the shipper";
        assert_eq!((dead.verdict, dead.text.as_str()), ("dead-letter", text));
        let both = badge(vec![adjacent(Side::Before, &[]), adjacent(Side::After, &[])]);
        assert_eq!(both.text, "2 gaps directly before and after its lines: 200 bytes of the source missing");
        let within = badge(vec![gap(&[]), adjacent(Side::After, &[])]);
        assert_eq!(within.text, "2 gaps: 200 bytes of the source missing");
        assert!(!within.sources[0].contains("another request"), "{within:?}");
    }
}
