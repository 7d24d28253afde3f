//! Opaque names for the cursors of live tails. A store's own cursor counts the lines of all projects, so a reader who does not
//! see all of them gets a name instead, and the cursor stays here.
//!
//! Names are valid for this process: after a restart a tail reports a gap. Readers who see everything get the store's own
//! cursors, which outlive the process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use store::TailCursor;

/// Maximum number of tails whose cursors are kept; beyond it, those of the oldest tails are dropped.
pub const TAILS_KEPT: usize = 256;

/// Cursors kept for each tail, the newest: a cut connection may have lost the last few events.
pub const CURSORS_KEPT: usize = 16;

/// The cursors of all tails. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct TailCursors(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// By tail: the number of the oldest cursor, and the cursors.
    tails: HashMap<String, (u64, VecDeque<TailCursor>)>,
    /// In order of their start.
    started: VecDeque<String>,
}

/// Names for the cursors of one tail.
#[derive(Debug)]
pub struct CursorNames {
    cursors: TailCursors,
    tail: String,
    next: u64,
}

impl TailCursors {
    /// Names for a new tail.
    ///
    /// # Errors
    /// The system's random number generator failed.
    pub fn names(&self) -> Result<CursorNames, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let tail = format!("{:032x}", u128::from_be_bytes(random));
        Ok(CursorNames { cursors: self.clone(), tail, next: 0 })
    }

    /// The cursor with this name; none if it is no longer known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<TailCursor> {
        let (tail, number) = name.strip_prefix('p')?.split_once('-')?;
        let known = self.0.lock();
        let (oldest, places) = known.tails.get(tail)?;
        let at = number.parse::<u64>().ok()?.checked_sub(*oldest)?;
        places.get(usize::try_from(at).ok()?).cloned()
    }
}

impl CursorNames {
    /// Names a cursor. The name is valid for the tail's next [`CURSORS_KEPT`] names.
    pub fn name(&mut self, place: &TailCursor) -> String {
        let mut known = self.cursors.0.lock();
        if !known.tails.contains_key(&self.tail) {
            while known.started.len() >= TAILS_KEPT {
                let first = known.started.pop_front();
                first.and_then(|first| known.tails.remove(&first));
            }
            known.started.push_back(self.tail.clone());
        }
        let (oldest, places) = known.tails.entry(self.tail.clone()).or_insert((self.next, VecDeque::new()));
        places.push_back(place.clone());
        if places.len() > CURSORS_KEPT {
            places.pop_front();
            *oldest += 1;
        }
        let name = format!("p{}-{}", self.tail, self.next);
        self.next += 1;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: u64) -> TailCursor {
        format!("r{row}").parse().unwrap()
    }

    #[test]
    fn a_name_is_valid_until_newer_names_replace_it() {
        let cursors = TailCursors::default();
        let (mut one, mut other) = (cursors.names().unwrap(), cursors.names().unwrap());
        let names: Vec<_> = (0..20).map(|row| one.name(&place(row))).collect();
        let others_name = other.name(&place(7));
        assert_eq!(cursors.get(&names[19]), Some(place(19)));
        assert_eq!(cursors.get(&names[4]), Some(place(4)));
        assert_eq!((cursors.get(&names[3]), cursors.get(&others_name)), (None, Some(place(7))));
        assert!(names.iter().all(|name| name.len() <= 40 && !name.contains('r')), "{names:?}");
        for text in ["", "p", "p-", "r7", "p0-0", &format!("{}0", names[19]), &names[19][1..]] {
            assert_eq!(cursors.get(text), None, "{text}");
        }
        // The oldest tails are dropped.
        for _ in 0..TAILS_KEPT {
            cursors.names().unwrap().name(&place(1));
        }
        assert_eq!((cursors.get(&names[19]), cursors.get(&others_name)), (None, None));
        // A tail that continues is kept again.
        assert_eq!(cursors.get(&one.name(&place(30))), Some(place(30)));
    }
}
