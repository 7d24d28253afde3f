//! Checks on the lines of files.

use std::collections::HashMap;

use store::LineId;

use super::{BANNER, LOGS, Logs, Written};
use crate::simulation::engine;
use crate::simulation::oracle::{Expected, Rest, place, text_after};

impl Logs {
    /// Asserts that each line of the files is in one place, as its document, and that the lines of a life are
    /// contiguous.
    pub(in crate::simulation) fn judge(&self, rest: &Rest, numbers: &HashMap<u64, Vec<(LineId, &engine::Held)>>) {
        for (number, written) in &self.lines {
            let places = numbers.get(number).map_or(0, Vec::len);
            let text = || String::from_utf8_lossy(&written.text).into_owned();
            assert!(
                places == 1 || places == 0 && !written.is_whole,
                "line {number} of a file, {}, rests in {places} places",
                text()
            );
            for (id, held) in numbers.get(number).into_iter().flatten() {
                self.judge_document(written, *id, held);
            }
        }
        let banners = rest.count_at_beginning(BANNER.trim_end());
        assert_eq!(banners, self.banners, "lives of files that begin alike");
        rest.judge_ends();
    }

    fn judge_document(&self, written: &Written, id: LineId, held: &engine::Held) {
        let document = &held.document;
        let name = text_after(document, "file").unwrap_or_default();
        assert!(name.starts_with(LOGS), "a line of a file names {name:?} as its file");
        let length = place(document, "length");
        let source = format!("\"file\":\"{name}\"");
        if written.at.is_none() {
            assert_eq!(
                length,
                (written.text.len() * self.unit()) as u64,
                "{id}: a line's length, of {:?}: {}",
                String::from_utf8_lossy(&written.text),
                String::from_utf8_lossy(document)
            );
        }
        let text = written.text.strip_suffix(b"\n").unwrap_or(&written.text);
        let expected = Expected { text, id, length, source: &source, unit: self.unit() };
        let shown = || String::from_utf8_lossy(document).into_owned();
        assert!(expected.is_met(document, &held.index), "{id} went to {} as {}", held.index, shown());
    }
}
