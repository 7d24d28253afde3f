//! The index of user-named fields. The table `fields` has a row for each time a field was named, with the range of
//! indexed lines from `since` to before `until`. Terms use the field's [code](NamedCodes). Codes are never reused, so a
//! field whose type changes gets a new one.
//!
//! Older lines are not indexed when a field is named, except for the newest ones that are not in a run yet. Searches by
//! that field do not find them.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::query::named::value::{Value, each_value};
use crate::query::words::words;
use crate::query::{Bounds, FieldType, Filter, NamedField, NamedFields, NamedTest, Number};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::runs::RunInfo;
use crate::sqlite::select::{Found, having};
use crate::sqlite::snapshot::is_found;
use crate::sqlite::terms;

/// Kind of terms of user-named fields: followed by the field's code in two bytes, and a value whose bytes sort in the
/// order of values.
pub(crate) const NAMED: u8 = 80;
/// Kind of terms for lines that have a user-named field: followed by its code in two bytes.
const NAMED_HAS: u8 = 81;

/// One row of `fields`.
#[derive(Clone, Debug)]
struct Naming {
    code: u16,
    name: String,
    kind: FieldType,
    /// Id of the first line that is indexed by it, and of the first one after that is not.
    since: i64,
    until: Option<i64>,
}

/// All rows of `fields`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namings(Vec<Naming>);

impl Namings {
    /// Reads the table. Returns nothing if the file's version does not have it.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let is_there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'fields'";
        if connection.prepare_cached(is_there)?.query_row([], |_| Ok(())).optional()?.is_none() {
            return Ok(Self::default());
        }
        let mut statement =
            connection.prepare_cached("SELECT code, name, type, since, until FROM fields ORDER BY code")?;
        let mut rows = statement.query([])?;
        let mut namings = Vec::new();
        while let Some(row) = rows.next()? {
            // Types of newer programs are skipped; nothing here can query them.
            if let (Ok(code), Ok(kind)) = (u16::try_from(row.get::<_, i64>(0)?), row.get_ref(2)?.as_str()?.parse()) {
                namings.push(Naming { code, name: row.get(1)?, kind, since: row.get(3)?, until: row.get(4)? });
            }
        }
        Ok(Self(namings))
    }

    fn in_force(&self) -> impl Iterator<Item = &Naming> {
        self.0.iter().filter(|naming| naming.until.is_none())
    }

    /// Returns the fields by which new lines are indexed.
    pub(crate) fn fields(&self) -> NamedFields {
        // They were validated when they were stored.
        NamedFields::new(self.in_force().map(|naming| (naming.name.clone(), naming.kind))).unwrap_or_default()
    }

    /// Returns the same fields with their codes.
    pub(crate) fn codes(&self) -> NamedCodes {
        let fields = self.fields();
        let code = |field: &NamedField| self.in_force().find(|own| own.name == field.name()).map(|own| own.code);
        NamedCodes(fields.iter().filter_map(|field| Some((code(field)?, field.clone()))).collect())
    }

    /// Replaces the active fields, starting with the line `at`. Returns whether anything changed.
    pub(crate) fn put(&self, connection: &Connection, wanted: &NamedFields, at: i64) -> rusqlite::Result<bool> {
        let there = self.fields();
        if there == *wanted {
            return Ok(false);
        }
        let is_same = |fields: &NamedFields, name: &str, kind| fields.get(name).is_some_and(|own| own.kind() == kind);
        for gone in self.in_force().filter(|naming| !is_same(wanted, &naming.name, naming.kind)) {
            let end = "UPDATE fields SET until = ?2 WHERE code = ?1";
            connection.execute(end, params![i64::from(gone.code), at])?;
        }
        for new in wanted.iter().filter(|field| !is_same(&there, field.name(), field.kind())) {
            // Codes have two bytes. Once they are used up, further fields are ignored.
            let insert = "INSERT INTO fields (code, name, type, since)
                          SELECT coalesce(max(code), 0) + 1, ?1, ?2, ?3 FROM fields HAVING coalesce(max(code), 0) < 65535";
            connection.execute(insert, params![new.name(), new.kind().name(), at])?;
        }
        Ok(true)
    }

    /// Whether a line is indexed by a field.
    fn know(&self, id: i64, field: &NamedField) -> bool {
        let spans = |naming: &Naming| naming.since <= id && naming.until.is_none_or(|until| id < until);
        self.of(field).any(spans)
    }

    fn of<'s>(&'s self, field: &NamedField) -> impl Iterator<Item = &'s Naming> {
        self.0.iter().filter(move |naming| naming.name == field.name() && naming.kind == field.kind())
    }

    /// Whether a filter matches a line that the scope may see. A field by which the line is not indexed matches
    /// nothing.
    pub(crate) fn is_found(&self, id: i64, scope: &Scope, filter: &Filter, document: &str) -> bool {
        let mut is_whole = true;
        filter.each_named(&mut |field| is_whole &= self.know(id, field));
        if is_whole {
            return is_found(scope, filter, document);
        }
        is_found(scope, &filter.clone().without_named(&|field| !self.know(id, field)), document)
    }

    /// Returns the prefixes of a field's terms, one for each time it was named.
    pub(crate) fn prefixes(&self, field: &NamedField) -> impl Iterator<Item = [u8; 3]> {
        self.of(field).map(|naming| prefix(naming.code))
    }

    /// Returns the lines of a run whose field satisfies a test.
    pub(crate) fn found(
        &self,
        connection: &Connection,
        run: &RunInfo,
        field: &NamedField,
        test: &NamedTest,
    ) -> rusqlite::Result<Found> {
        let mut found = Found::none();
        for naming in self.of(field).filter(|naming| naming.since < run.end()) {
            let own = by_terms(connection, run, naming.code, test)?;
            found.surely.or(&own.surely);
            found.maybe.or(&own.maybe);
        }
        Ok(found)
    }
}

/// The active fields with the codes that represent them in terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedCodes(Vec<(u16, NamedField)>);

impl NamedCodes {
    /// Calls `with` for the kind and the rest of each term of a document. A term may be passed more than once.
    pub(crate) fn each_term(&self, document: &str, mut with: impl FnMut(u8, &[u8])) {
        if self.0.is_empty() {
            return;
        }
        let fields: Vec<_> = self.0.iter().map(|(_, field)| field).collect();
        let mut term = Vec::new();
        each_value(document, &fields, |place, value| {
            let (code, field) = &self.0[place];
            let code = code.to_be_bytes();
            with(NAMED_HAS, &code);
            let mut put = |value: &[u8]| {
                term.clear();
                term.extend_from_slice(&code);
                term.extend_from_slice(value);
                with(NAMED, &term);
            };
            match &value {
                Value::Text(text) if field.kind() == FieldType::Text => {
                    words(text).for_each(|word| put(word.as_bytes()));
                }
                Value::Text(text) => put(text.as_bytes()),
                Value::Whole(whole) => put(&whole_bytes(*whole)),
                Value::Number(number) => put(&number_bytes(*number)),
                Value::Truth(truth) => put(&[u8::from(*truth)]),
            }
        });
    }
}

fn prefix(code: u16) -> [u8; 3] {
    let [high, low] = code.to_be_bytes();
    [NAMED, high, low]
}

/// Encodes an integer in bytes of the same order.
fn whole_bytes(whole: i64) -> [u8; 8] {
    (whole ^ i64::MIN).to_be_bytes()
}

/// Encodes a number in bytes of the same order.
fn number_bytes(number: Number) -> [u8; 8] {
    let bits = number.get().to_bits();
    let sorted = if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits };
    sorted.to_be_bytes()
}

/// Decodes a number.
fn number_of(bytes: &[u8]) -> Option<Number> {
    let sorted = u64::from_be_bytes(bytes.try_into().ok()?);
    Number::new(f64::from_bits(if sorted >> 63 == 1 { sorted ^ (1 << 63) } else { !sorted }))
}

fn by_terms(connection: &Connection, run: &RunInfo, code: u16, test: &NamedTest) -> rusqlite::Result<Found> {
    let one = |value: &[u8]| having(connection, run, &[&prefix(code)[..], value].concat());
    let between = |from: &[u8], to: &[u8], is_within: &dyn Fn(&[u8]) -> bool| -> rusqlite::Result<Bits> {
        let (from, to) = ([&prefix(code)[..], from].concat(), [&prefix(code)[..], to].concat());
        let mut bits = Bits::none();
        terms::each_between(connection, run.terms, &from, &to, |term, set| {
            if is_within(&term[3..]) {
                bits::add(&mut bits, set, run.lines);
            }
        })?;
        Ok(bits)
    };
    Ok(Found::exactly(match test {
        NamedTest::Any => {
            let [high, low] = code.to_be_bytes();
            having(connection, run, &[NAMED_HAS, high, low])?
        }
        NamedTest::OneOf(values) => {
            let mut bits = Bits::none();
            for value in values {
                bits.or(&one(value.as_bytes())?);
            }
            bits
        }
        NamedTest::Words(text) | NamedTest::Phrase(text) => {
            let (mut bits, mut count) = (None::<Bits>, 0);
            for word in words(text) {
                count += 1;
                let own = one(word.as_bytes())?;
                match &mut bits {
                    Some(bits) => bits.and(&own),
                    None => bits = Some(own),
                }
            }
            let bits = bits.unwrap_or_else(Bits::none);
            if count > 1 && matches!(test, NamedTest::Phrase(_)) {
                return Ok(Found { surely: Bits::none(), maybe: bits });
            }
            bits
        }
        NamedTest::Between(from, to) => between(&whole_bytes(*from), &whole_bytes(*to), &|_| true)?,
        NamedTest::Number(Bounds { from, to }) => {
            let end = |bound: &std::ops::Bound<Number>, none: [u8; 8]| match bound {
                std::ops::Bound::Included(number) | std::ops::Bound::Excluded(number) => number_bytes(*number),
                std::ops::Bound::Unbounded => none,
            };
            let bounds = Bounds { from: *from, to: *to };
            let is_within = |bytes: &[u8]| number_of(bytes).is_some_and(|number| bounds.contain(number));
            between(&end(from, [0; 8]), &end(to, [u8::MAX; 8]), &is_within)?
        }
        NamedTest::Is(truth) => one(&[u8::from(*truth)])?,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(named: &[(&str, FieldType)]) -> NamedFields {
        NamedFields::new(named.iter().map(|(name, kind)| ((*name).to_owned(), *kind))).unwrap()
    }

    #[test]
    fn codes_are_never_reused() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::sqlite::schema::make(&mut connection).unwrap();
        let put = |named: &[(&str, FieldType)], at| {
            Namings::read(&connection).unwrap().put(&connection, &fields(named), at).unwrap()
        };
        assert!(put(&[("a", FieldType::Long), ("b", FieldType::Text)], 0));
        assert!(!put(&[("b", FieldType::Text), ("a", FieldType::Long)], 7));
        assert!(put(&[("a", FieldType::Keyword)], 1_024));
        assert!(put(&[("a", FieldType::Long)], 2_048));
        let namings = Namings::read(&connection).unwrap();
        assert_eq!(namings.fields().to_string(), "a=long");
        assert_eq!(namings.0.iter().map(|naming| naming.code).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let known = |id| fields(&[("a", FieldType::Long)]).iter().all(|field| namings.know(id, field));
        assert_eq!([0, 1_023, 1_024, 2_047, 2_048].map(known), [true, true, false, false, true]);
        assert!(put(&[], 2_048));
        assert!(Namings::read(&connection).unwrap().fields().is_empty());
    }

    proptest! {
        #[test]
        fn bytes_sort_as_their_numbers(one in any::<i64>(), other in any::<i64>(), left in -1e300..1e300_f64, right in -2.0..2.0_f64) {
            prop_assert_eq!(whole_bytes(one).cmp(&whole_bytes(other)), one.cmp(&other));
            let (left, right) = (Number::new(left).unwrap(), Number::new(right).unwrap());
            prop_assert_eq!(number_bytes(left).cmp(&number_bytes(right)), left.cmp(&right));
            prop_assert_eq!(number_of(&number_bytes(left)), Some(left));
        }
    }
}
