//! A modelled store: it takes, refuses, forgets to answer, and remembers every document.

use std::collections::BTreeMap;

use store::{Batch, Cause, Disposition, WriteError};

use super::random::Random;

/// A document of this text is refused by itself.
pub(super) const POISON: &str = "poison";

/// A document of this text spoils the request that it is in.
pub(super) const SPOILER: &str = "spoiler";

/// What the store holds, by document id: index and document.
#[derive(Default)]
pub(super) struct Engine {
    pub(super) documents: BTreeMap<String, (String, String)>,
    /// Nothing fails any more, but what can never be taken.
    pub(super) calm: bool,
}

impl Engine {
    /// Takes a batch, or does not, and answers.
    pub(super) fn write(&mut self, batch: &Batch, random: &mut Random) -> Result<Vec<Disposition>, WriteError> {
        let trouble = if self.calm { 99 } else { random.between(0, 19) };
        match trouble {
            0 | 1 => return Err(WriteError::Unavailable(Cause::new(0, "reset before it took the batch"))),
            2 => return Err(WriteError::Refused(Cause::new(403, "index is read-only"))),
            3 if batch.lines().len() > 1 => return Err(WriteError::TooLarge(Cause::new(413, "too large"))),
            _ => {}
        }
        let text = |place: usize| std::str::from_utf8(batch.document(place)).unwrap();
        if (0..batch.lines().len()).any(|place| text(place).contains(SPOILER)) {
            return Err(WriteError::Rejected(Cause::new(400, "malformed")));
        }
        let mut dispositions = Vec::new();
        for place in 0..batch.lines().len() {
            dispositions.push(self.take(batch, place, random));
        }
        match trouble {
            4 | 5 => Err(WriteError::Unavailable(Cause::new(0, "reset after it took the batch"))),
            6 => Ok(dispositions.split_off(dispositions.len() / 2)),
            _ => Ok(dispositions),
        }
    }

    fn take(&mut self, batch: &Batch, place: usize, random: &mut Random) -> Disposition {
        let document = String::from_utf8(batch.document(place).to_vec()).unwrap();
        if document.contains(POISON) {
            return Disposition::DeadLetter(Cause::new(400, "mapping"));
        }
        if !self.calm && random.one_in(10) {
            return Disposition::Retry(Cause::new(429, "busy"));
        }
        let (id, index) = (batch.lines()[place].id.to_string(), batch.index_name(place).to_owned());
        if let Some((held_index, held)) = self.documents.get(&id) {
            // After a power loss a torn line may stand where a whole one was sent; else nothing may have changed.
            if length_of(held) == length_of(&document) {
                assert_eq!((held_index, held), (&index, &document), "a line was sent again as another document");
            }
            return Disposition::AlreadyStored;
        }
        self.documents.insert(id, (index, document));
        Disposition::Stored
    }
}

fn length_of(document: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(document).unwrap()["origin"]["length"].as_u64().unwrap()
}
