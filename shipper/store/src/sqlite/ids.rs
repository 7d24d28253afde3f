//! Maps request ids and trace ids to runs, so that finding one does not require examining every run.
//!
//! `ids` has rows of fingerprints, four bytes each, little-endian. The fingerprint of a term with [hash] `h` is
//! `h >> 28`, in 32 bits; its two partition numbers are the first 4 and the first 8 bits of `h`. A row's `place` is
//! `first << 10 | low`, where `first` is the id of the first line of:
//!
//! - a small run, with `low` 0: the fingerprints of all its ids;
//! - a large run, with `low` 1 to 16: those of one of 16 partitions;
//! - a group of up to 16 large runs, with `low` 256 to 511: those of one of 256 partitions, shifted left by 4 bits,
//!   with the run's number within the group in the low bits. Once it is written, the rows of its runs for that
//!   partition are deleted.
//!
//! A fingerprint may match without its id being there, which costs the examination of one run. If a row is missing, the
//! run is examined as well. Finding an id therefore takes one row for each million lines, and one for each newer run.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::query::{Field, Filter};
use crate::sqlite::runs::RunInfo;
use crate::sqlite::sizes::Sizes;
use crate::sqlite::terms;

/// Fields whose values are indexed here.
const FIELDS: [Field; 2] = [Field::RequestId, Field::TraceId];

const LOW_BITS: u32 = 10;
const LARGE_LOW: i64 = 1;
const LARGE_PARTS: i64 = 16;
const GROUP_LOW: i64 = 256;

/// Maximum number of values in one filter that are looked up.
const VALUES_MAX: usize = 64;

/// Minimum number of runs that are examined with a restricted scope.
const PADDED_RUNS: usize = 2;

/// Whether a term is indexed here.
pub(crate) fn is_looked_up(term: &[u8]) -> bool {
    term.first().is_some_and(|kind| FIELDS.iter().any(|field| field.code() == *kind))
}

/// 64-bit FNV-1a with a final mixing step. It is part of the file format.
pub(crate) fn hash(term: &[u8]) -> u64 {
    let hash = term
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

#[expect(clippy::cast_possible_truncation, reason = "the bits that are meant")]
fn fingerprint(hash: u64) -> u32 {
    (hash >> 28) as u32
}

fn large_part(hash: u64) -> i64 {
    (hash >> 60).cast_signed()
}

fn group_part(hash: u64) -> i64 {
    (hash >> 56).cast_signed()
}

fn put(connection: &Connection, first: i64, low: i64, fingerprints: &[u32]) -> rusqlite::Result<()> {
    let bytes: Vec<u8> = fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()).collect();
    let insert = "INSERT INTO ids (place, fingerprints) VALUES (?1, ?2)";
    connection.prepare_cached(insert)?.execute(params![first << LOW_BITS | low, bytes])?;
    Ok(())
}

/// Calls `with` for each fingerprint of a row. Returns whether the row exists.
fn each(connection: &Connection, first: i64, low: i64, mut with: impl FnMut(u32)) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT fingerprints FROM ids WHERE place = ?1")?;
    let found = statement.query_row([first << LOW_BITS | low], |row| {
        for bytes in row.get_ref(0)?.as_blob()?.chunks_exact(4) {
            with(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
        Ok(())
    });
    Ok(found.optional()?.is_some())
}

/// Records the ids of a small run.
pub(crate) fn put_small(connection: &Connection, first: i64, hashes: &[u64]) -> rusqlite::Result<()> {
    let fingerprints: Vec<u32> = hashes.iter().map(|hash| fingerprint(*hash)).collect();
    put(connection, first, 0, &fingerprints)
}

/// Records the ids of a small run, read from its terms.
pub(crate) fn put_small_from_terms(connection: &Connection, first: i64, key: i64) -> rusqlite::Result<()> {
    let mut hashes = Vec::new();
    for field in FIELDS {
        terms::each_with_prefix(connection, key, &[field.code()], |term, _| hashes.push(hash(term)))?;
    }
    put_small(connection, first, &hashes)
}

/// Whether the ids of a run are recorded.
pub(crate) fn are_recorded(connection: &Connection, first: i64, sizes: Sizes) -> rusqlite::Result<bool> {
    let own = first << LOW_BITS;
    let group = (first - first % sizes.group) << LOW_BITS | GROUP_LOW;
    let select = "SELECT EXISTS (SELECT 1 FROM ids WHERE place BETWEEN ?1 AND ?2 OR place = ?3)";
    connection.prepare_cached(select)?.query_row([own, own | LARGE_PARTS, group], |row| row.get(0))
}

/// Records the ids of a large run, read from its terms.
pub(crate) fn put_large(connection: &Connection, first: i64, key: i64) -> rusqlite::Result<()> {
    let mut parts = [const { Vec::new() }; 16];
    for field in FIELDS {
        terms::each_with_prefix(connection, key, &[field.code()], |term, _| {
            let hash = hash(term);
            if let Some(part) = usize::try_from(large_part(hash)).ok().and_then(|part| parts.get_mut(part)) {
                part.push(fingerprint(hash));
            }
        })?;
    }
    for (low, part) in (LARGE_LOW..).zip(&parts) {
        put(connection, first, low, part)?;
    }
    Ok(())
}

/// Reads the rows that [`remove`] and [`remove_group`] delete with these lines.
pub(crate) fn read(connection: &Connection, first: i64, end: i64, sizes: Sizes) -> rusqlite::Result<()> {
    let from = if end % sizes.group == 0 { end - sizes.group } else { first };
    let mut rows = connection.prepare_cached("SELECT fingerprints FROM ids WHERE place >= ?1 AND place < ?2")?;
    let mut rows = rows.query([from << LOW_BITS, end << LOW_BITS])?;
    while let Some(row) = rows.next()? {
        row.get_ref(0)?;
    }
    Ok(())
}

/// Deletes the rows of runs in a range of lines, but not those of groups.
pub(crate) fn remove(connection: &Connection, first: i64, end: i64) -> rusqlite::Result<()> {
    let delete = "DELETE FROM ids WHERE place >= ?1 AND place < ?2 AND place & 1023 < 256";
    connection.prepare_cached(delete)?.execute(params![first << LOW_BITS, end << LOW_BITS])?;
    Ok(())
}

/// Deletes the rows of the group that ends here.
pub(crate) fn remove_group(connection: &Connection, end: i64, sizes: Sizes) -> rusqlite::Result<()> {
    if end % sizes.group == 0 {
        let delete = "DELETE FROM ids WHERE place >= ?1 AND place < ?2";
        connection.prepare_cached(delete)?.execute(params![(end - sizes.group) << LOW_BITS, end << LOW_BITS])?;
    }
    Ok(())
}

/// Combines one partition of the ids of a complete group. Returns whether there was one.
pub(crate) fn group_next(connection: &Connection, sizes: Sizes) -> rusqlite::Result<bool> {
    let count = sizes.group / sizes.large;
    let groups =
        r#"SELECT first / ?1 FROM runs INDEXED BY runs_directory WHERE lines = ?2 GROUP BY 1 HAVING count(*) = ?3"#;
    let mut groups = connection.prepare_cached(groups)?;
    let mut groups = groups.query(params![sizes.group, sizes.large, count])?;
    while let Some(row) = groups.next()? {
        let first = row.get::<_, i64>(0)? * sizes.group;
        let last = (first + sizes.group - sizes.large) << LOW_BITS;
        let next = "SELECT min(place) & 1023 FROM ids WHERE place >= ?1 AND place <= ?2";
        let range = params![last | LARGE_LOW, last | LARGE_PARTS];
        let next: Option<i64> = connection.prepare_cached(next)?.query_row(range, |row| row.get(0))?;
        if let Some(low) = next {
            group_part_of(connection, first, low, sizes)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn group_part_of(connection: &Connection, first: i64, low: i64, sizes: Sizes) -> rusqlite::Result<()> {
    let mut parts = [const { Vec::new() }; 16];
    for number in 0..sizes.group / sizes.large {
        let run = first + number * sizes.large;
        each(connection, run, low, |fingerprint| {
            let own = fingerprint << 4 | u32::try_from(number).unwrap_or(0);
            if let Some(part) = parts.get_mut((fingerprint >> 28) as usize) {
                part.push(own);
            }
        })?;
        connection.prepare_cached("DELETE FROM ids WHERE place = ?1")?.execute([run << LOW_BITS | low])?;
    }
    for (part, own) in (GROUP_LOW + (low - LARGE_LOW) * 16..).zip(&parts) {
        put(connection, first, part, own)?;
    }
    Ok(())
}

/// Returns the terms of which every matching line has at least one, if the filter requires any.
pub(crate) fn required_terms(filter: &Filter) -> Option<Vec<Vec<u8>>> {
    match filter {
        Filter::All(parts) => parts.iter().find_map(required_terms),
        Filter::Is(field, values) if FIELDS.contains(field) && values.len() <= VALUES_MAX => {
            let values = values.iter().filter(|value| field.fits(value));
            Some(values.map(|value| terms::term(field.code(), value)).collect())
        }
        Filter::Any(parts) if !parts.is_empty() && parts.len() <= VALUES_MAX => {
            let required_terms: Option<Vec<_>> = parts.iter().map(required_terms).collect();
            required_terms.map(|terms| terms.concat())
        }
        _ => None,
    }
}

/// Returns for each run whether it may have a line with one of the terms.
pub(crate) fn may_have(
    connection: &Connection,
    sizes: Sizes,
    runs: &[RunInfo],
    terms: &[Vec<u8>],
) -> rusqlite::Result<Vec<bool>> {
    let mut may = vec![false; runs.len()];
    for term in terms {
        let hash = hash(term);
        // The group examined last, and the numbers of its runs that may have the term, if they are recorded.
        let mut group: Option<(i64, Option<u32>)> = None;
        for (run, may) in runs.iter().zip(&mut may) {
            if *may {
                continue;
            }
            *may = if run.is_of(sizes.small) {
                may_contain(connection, run.first, 0, hash)?
            } else if run.is_of(sizes.large) {
                let first = run.first - run.first % sizes.group;
                let numbers = match group.filter(|(group, _)| *group == first) {
                    Some((_, numbers)) => numbers,
                    None => run_numbers(connection, first, hash)?,
                };
                group = Some((first, numbers));
                match numbers {
                    Some(numbers) => numbers >> ((run.first - first) / sizes.large) & 1 == 1,
                    None => may_contain(connection, run.first, LARGE_LOW + large_part(hash), hash)?,
                }
            } else {
                true
            };
        }
    }
    Ok(may)
}

/// Adds runs up to the number in which the lines of one request usually are. With a restricted scope, the search for a
/// hidden id then takes no longer than that for one that does not exist.
pub(crate) fn pad(may: &mut [bool], terms: &[Vec<u8>]) {
    let missing = PADDED_RUNS.saturating_sub(may.iter().filter(|may| **may).count());
    let count = may.len() as u64;
    let begin = terms.first().map_or(0, |term| hash(term)).checked_rem(count).unwrap_or(0);
    let (before, after) = may.split_at_mut(usize::try_from(begin).unwrap_or(0));
    after.iter_mut().chain(before).filter(|may| !**may).take(missing).for_each(|may| *may = true);
}

fn may_contain(connection: &Connection, first: i64, low: i64, hash: u64) -> rusqlite::Result<bool> {
    let mut found = false;
    let is_recorded = each(connection, first, low, |own| found |= own == fingerprint(hash))?;
    Ok(found || !is_recorded)
}

/// Returns the numbers of a group's runs that may have a term, as bits.
fn run_numbers(connection: &Connection, first: i64, hash: u64) -> rusqlite::Result<Option<u32>> {
    let (mut numbers, required_terms) = (0, fingerprint(hash) << 4);
    let is_recorded = each(connection, first, GROUP_LOW + group_part(hash), |own| {
        if own & !15 == required_terms {
            numbers |= 1 << (own & 15);
        }
    })?;
    Ok(is_recorded.then_some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { small: 4, large: 64, group: 1_024 };

    fn id(number: i64) -> Vec<u8> {
        terms::term(Field::RequestId.code(), &format!("r-{number}"))
    }

    /// Returns the first lines of the runs that may have an id.
    fn found(connection: &Connection, number: i64) -> Vec<i64> {
        let runs = crate::sqlite::runs::infos(connection, 0..i64::MAX).unwrap();
        let may = may_have(connection, SIZES, &runs, &[id(number)]).unwrap();
        runs.iter().zip(may).filter_map(|(run, may)| may.then_some(run.first)).collect()
    }

    #[test]
    fn an_id_maps_to_its_small_large_and_grouped_runs() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::sqlite::schema::create(&mut connection).unwrap();
        let times = [7; 64];
        // A group of large runs, a single large run, and a small one. Each line has an id of its own, and all share
        // another.
        let larges: Vec<i64> = (0..17).map(|number| number * SIZES.large).collect();
        for first in larges.iter().copied().chain([1_088]) {
            let lines = if first == 1_088 { SIZES.small } else { SIZES.large };
            let mut terms: Vec<_> = (first..first + lines).map(id).chain([id(-1)]).collect();
            terms.sort();
            let places = [1_u16];
            let sets = terms.iter().map(|term| (term.as_slice(), places.as_slice()));
            let run = crate::sqlite::runs::Run { first, times: &times[..lines as usize], durations: &[] };
            crate::sqlite::tail::write_run(&connection, &run, sets).unwrap();
            if lines == SIZES.large {
                remove(&connection, first, first + 1).unwrap();
                assert_eq!(
                    found(&connection, -2).first(),
                    Some(&first),
                    "of what is not is_recorded, nothing is ruled out"
                );
                put_large(&connection, first, first).unwrap();
            }
        }
        let all = [larges.as_slice(), &[1_088]].concat();
        let check = || {
            assert_eq!(found(&connection, -1), all);
            assert_eq!(found(&connection, -2), [0_i64; 0]);
            for line in [0, 63, 64, 1_000, 1_023, 1_024, 1_087, 1_088, 1_091] {
                let run = all.iter().rev().find(|first| **first <= line).unwrap();
                assert_eq!(found(&connection, line), [*run], "{line}");
            }
        };
        check();
        let mut parts = 0;
        while group_next(&connection, SIZES).unwrap() {
            parts += 1;
            check();
        }
        assert_eq!(parts, LARGE_PARTS);
        let rows = |of: &str| -> i64 {
            connection.query_row(&format!("SELECT count(*) FROM ids WHERE {of}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((rows("place & 1023 >= 256"), rows("place & 1023 < 256")), (256, 16 + 1));
        assert!(all.iter().all(|first| are_recorded(&connection, *first, SIZES).unwrap()));
        remove_group(&connection, 1_024, SIZES).unwrap();
        assert_eq!(rows("1"), 16 + 1);
    }

    #[test]
    fn a_missing_id_examines_as_many_runs_as_an_existing_one() {
        for (may, expected) in [
            (vec![], 0),
            (vec![false], 1),
            (vec![false; 5], 2),
            (vec![false, true, false, false], 2),
            (vec![true, true, false], 2),
            (vec![true; 4], 4),
        ] {
            let mut padded = may.clone();
            pad(&mut padded, &[id(1)]);
            assert_eq!(padded.iter().filter(|may| **may).count(), expected);
            assert!(may.iter().zip(&padded).all(|(before, after)| *after || !before));
        }
    }

    #[test]
    fn filters_that_match_without_an_id_are_not_looked_up() {
        let required_terms = |query: &str| required_terms(&query.parse().unwrap()).map(|terms| terms.len());
        for (query, terms) in [
            ("request_id:a", Some(1)),
            ("request_id:a level:error", Some(1)),
            ("request_id:(a OR b) OR trace_id:c", Some(3)),
            ("NOT request_id:a", None),
            ("request_id:a OR level:error", None),
            ("request_id:*", None),
            ("span_id:a", None),
        ] {
            assert_eq!(required_terms(query), terms, "{query}");
        }
    }

    #[test]
    fn the_hash_is_stable() {
        assert_eq!(hash(b"\x03demo-1"), 0x0bbe_6e55_d6ee_e11b);
    }
}
