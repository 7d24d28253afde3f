//! Where live tails are, by names that tell nothing. A store's own place counts all lines that it took, whoever's they are, so
//! whoever may not see all of them gets a name for it instead, and the place stays here.
//!
//! Names are good for this process: after a restart a tail begins anew, and is told so. Whoever may see everything gets the
//! store's own places, which outlive it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use store::TailCursor;

/// Tails whose places are known; beyond, those that began first are forgotten.
pub const TAILS_KNOWN: usize = 256;

/// Places of a tail that are known, the newest: what a cut connection may not have carried any more.
pub const PLACES_KNOWN: usize = 16;

/// The places of all tails. A copy leads to the same.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// By the tail's own part of a name; the number of the oldest place, and the places.
    tails: HashMap<String, (u64, VecDeque<TailCursor>)>,
    /// In the order in which they began.
    began: VecDeque<String>,
}

/// A tail's names for its places.
#[derive(Debug)]
pub struct Names {
    places: Places,
    tail: String,
    next: u64,
}

impl Places {
    /// Names for another tail.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn names(&self) -> Result<Names, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let tail = format!("{:032x}", u128::from_be_bytes(random));
        Ok(Names { places: self.clone(), tail, next: 0 })
    }

    /// The place of a name that was given; none where it is not known any more.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<TailCursor> {
        let (tail, number) = name.strip_prefix('p')?.split_once('-')?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (oldest, places) = known.tails.get(tail)?;
        let at = number.parse::<u64>().ok()?.checked_sub(*oldest)?;
        places.get(usize::try_from(at).ok()?).cloned()
    }
}

impl Names {
    /// A name for a place, good until so many others have been given.
    pub fn name(&mut self, place: &TailCursor) -> String {
        let mut known = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.tails.contains_key(&self.tail) {
            while known.began.len() >= TAILS_KNOWN {
                let first = known.began.pop_front();
                first.and_then(|first| known.tails.remove(&first));
            }
            known.began.push_back(self.tail.clone());
        }
        let (oldest, places) = known.tails.entry(self.tail.clone()).or_insert((self.next, VecDeque::new()));
        places.push_back(place.clone());
        if places.len() > PLACES_KNOWN {
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
    fn a_name_leads_to_its_place_as_long_as_it_is_known() {
        let places = Places::default();
        let (mut one, mut other) = (places.names().unwrap(), places.names().unwrap());
        let names: Vec<_> = (0..20).map(|row| one.name(&place(row))).collect();
        let of_other = other.name(&place(7));
        assert_eq!(places.of(&names[19]), Some(place(19)));
        assert_eq!(places.of(&names[4]), Some(place(4)));
        assert_eq!((places.of(&names[3]), places.of(&of_other)), (None, Some(place(7))));
        assert!(names.iter().all(|name| name.len() <= 40 && !name.contains('r')), "{names:?}");
        for text in ["", "p", "p-", "r7", "p0-0", &format!("{}0", names[19]), &names[19][1..]] {
            assert_eq!(places.of(text), None, "{text}");
        }
        // Tails that began long ago are forgotten.
        for _ in 0..TAILS_KNOWN {
            places.names().unwrap().name(&place(1));
        }
        assert_eq!((places.of(&names[19]), places.of(&of_other)), (None, None));
        // One that goes on is known again.
        assert_eq!(places.of(&one.name(&place(30))), Some(place(30)));
    }
}
