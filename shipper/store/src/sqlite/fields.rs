//! The index of user-named fields. The table `fields` has a row for each time a field was named, with the range of
//! indexed lines from `since` to before `until`. Terms use the field's [code](FieldCodes). Codes are never reused, so a
//! field whose type changes gets a new one.
//!
//! Older lines are not indexed when a field is named, except for the newest ones that are not in a run yet. Searches by
//! that field do not find them.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::query::named::value::{Value, each_value};
use crate::query::words::words;
use crate::query::{Bounds, DocumentFields, Field, FieldTest, FieldType, Filter, NamedField, NamedFields, Number};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::matches::{Matches, lines_with_term};
use crate::sqlite::runs::RunInfo;
use crate::sqlite::terms;

/// Kind of terms of user-named fields: followed by the field's code in two bytes, and a value whose bytes sort in the
/// order of values.
pub(crate) const NAMED: u8 = 80;
/// Kind of terms for lines that have a user-named field: followed by its code in two bytes.
const NAMED_HAS: u8 = 81;

/// One row of `fields`.
#[derive(Clone, Debug)]
struct IndexedField {
    code: u16,
    name: String,
    kind: FieldType,
    /// Id of the first line that is indexed by it, and of the first one after that is not.
    since: i64,
    until: Option<i64>,
}

/// All rows of `fields`.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexedFields(Vec<IndexedField>);

impl IndexedFields {
    /// Reads the table. Returns nothing if the file's version does not have it.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'fields'";
        if connection.prepare_cached(exists)?.query_row([], |_| Ok(())).optional()?.is_none() {
            return Ok(Self::default());
        }
        let mut statement =
            connection.prepare_cached("SELECT code, name, type, since, until FROM fields ORDER BY code")?;
        let mut rows = statement.query([])?;
        let mut indexed = Vec::new();
        while let Some(row) = rows.next()? {
            // Types of newer programs are skipped; nothing here can query them.
            if let (Ok(code), Ok(kind)) = (u16::try_from(row.get::<_, i64>(0)?), row.get_ref(2)?.as_str()?.parse()) {
                indexed.push(IndexedField { code, name: row.get(1)?, kind, since: row.get(3)?, until: row.get(4)? });
            }
        }
        Ok(Self(indexed))
    }

    fn active(&self) -> impl Iterator<Item = &IndexedField> {
        self.0.iter().filter(|field_row| field_row.until.is_none())
    }

    /// Returns the fields by which new lines are indexed.
    pub(crate) fn fields(&self) -> NamedFields {
        // They were validated when they were stored.
        NamedFields::new(self.active().map(|field_row| (field_row.name.clone(), field_row.kind))).unwrap_or_default()
    }

    /// Returns the same fields with their codes.
    pub(crate) fn codes(&self) -> FieldCodes {
        let fields = self.fields();
        let code = |field: &NamedField| self.active().find(|own| own.name == field.name()).map(|own| own.code);
        FieldCodes(fields.iter().filter_map(|field| Some((code(field)?, field.clone()))).collect())
    }

    /// Replaces the active fields, starting with the line `at`. Returns whether anything changed.
    pub(crate) fn put(&self, connection: &Connection, wanted: &NamedFields, at: i64) -> rusqlite::Result<bool> {
        let current = self.fields();
        if current == *wanted {
            return Ok(false);
        }
        let is_same = |fields: &NamedFields, name: &str, kind| fields.get(name).is_some_and(|own| own.kind() == kind);
        for removed in self.active().filter(|field_row| !is_same(wanted, &field_row.name, field_row.kind)) {
            let end = "UPDATE fields SET until = ?2 WHERE code = ?1";
            connection.execute(end, params![i64::from(removed.code), at])?;
        }
        for added in wanted.iter().filter(|field| !is_same(&current, field.name(), field.kind())) {
            // Codes have two bytes. Once they are used up, further fields are ignored.
            let insert = "INSERT INTO fields (code, name, type, since)
                          SELECT coalesce(max(code), 0) + 1, ?1, ?2, ?3 FROM fields HAVING coalesce(max(code), 0) < 65535";
            connection.execute(insert, params![added.name(), added.kind().name(), at])?;
        }
        Ok(true)
    }

    /// Whether a line is indexed by a field.
    fn indexes(&self, id: i64, field: &NamedField) -> bool {
        let spans = |field_row: &IndexedField| field_row.since <= id && field_row.until.is_none_or(|until| id < until);
        self.rows_of(field).any(spans)
    }

    fn rows_of<'s>(&'s self, field: &NamedField) -> impl Iterator<Item = &'s IndexedField> {
        self.0.iter().filter(move |field_row| field_row.name == field.name() && field_row.kind == field.kind())
    }

    /// Whether a filter matches a line that the scope may see. A field by which the line is not indexed matches
    /// nothing.
    pub(crate) fn is_match(&self, id: i64, scope: &Scope, filter: &Filter, document: &str) -> bool {
        let mut has_all = true;
        filter.each_named(&mut |field| has_all &= self.indexes(id, field));
        if has_all {
            return is_match(scope, filter, document);
        }
        is_match(scope, &filter.clone().without_named(&|field| !self.indexes(id, field)), document)
    }

    /// Returns the prefixes of a field's terms, one for each time it was named.
    pub(crate) fn prefixes(&self, field: &NamedField) -> impl Iterator<Item = [u8; 3]> {
        self.rows_of(field).map(|field_row| prefix(field_row.code))
    }

    /// Returns the lines of a run whose field satisfies a test.
    pub(crate) fn matches(
        &self,
        connection: &Connection,
        run: &RunInfo,
        field: &NamedField,
        test: &FieldTest,
    ) -> rusqlite::Result<Matches> {
        let mut matches = Matches::none();
        for field_row in self.rows_of(field).filter(|field_row| field_row.since < run.end()) {
            let own = by_terms(connection, run, field_row.code, test)?;
            matches.certain.or(&own.certain);
            matches.possible.or(&own.possible);
        }
        Ok(matches)
    }
}

/// Whether a filter matches a document that the scope may see.
fn is_match(scope: &Scope, filter: &Filter, document: &str) -> bool {
    if *filter == Filter::EVERY && *scope == Scope::All {
        return true;
    }
    let facts = DocumentFields::parse(document);
    scope.sees(facts.value(Field::ProjectId)) && filter.matches(&facts)
}

/// The active fields with the codes that represent them in terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldCodes(Vec<(u16, NamedField)>);

impl FieldCodes {
    /// Calls `with` for the kind and the rest of each term of a document. A term may be passed more than once.
    pub(crate) fn each_term(&self, document: &str, mut with: impl FnMut(u8, &[u8])) {
        if self.0.is_empty() {
            return;
        }
        let fields: Vec<_> = self.0.iter().map(|(_, field)| field).collect();
        let mut term = Vec::new();
        each_value(document, &fields, |index, value| {
            let (code, field) = &self.0[index];
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
                Value::Integer(whole) => put(&integer_bytes(*whole)),
                Value::Number(number) => put(&number_bytes(*number)),
                Value::Boolean(truth) => put(&[u8::from(*truth)]),
            }
        });
    }
}

fn prefix(code: u16) -> [u8; 3] {
    let [high, low] = code.to_be_bytes();
    [NAMED, high, low]
}

/// Encodes an integer in bytes of the same order.
fn integer_bytes(whole: i64) -> [u8; 8] {
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

fn by_terms(connection: &Connection, run: &RunInfo, code: u16, test: &FieldTest) -> rusqlite::Result<Matches> {
    let one = |value: &[u8]| lines_with_term(connection, run, &[&prefix(code)[..], value].concat());
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
    Ok(Matches::exactly(match test {
        FieldTest::Any => {
            let [high, low] = code.to_be_bytes();
            lines_with_term(connection, run, &[NAMED_HAS, high, low])?
        }
        FieldTest::OneOf(values) => {
            let mut bits = Bits::none();
            for value in values {
                bits.or(&one(value.as_bytes())?);
            }
            bits
        }
        FieldTest::Words(text) | FieldTest::Phrase(text) => {
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
            if count > 1 && matches!(test, FieldTest::Phrase(_)) {
                return Ok(Matches { certain: Bits::none(), possible: bits });
            }
            bits
        }
        FieldTest::Between(from, to) => between(&integer_bytes(*from), &integer_bytes(*to), &|_| true)?,
        FieldTest::Number(Bounds { from, to }) => {
            let end = |bound: &std::ops::Bound<Number>, none: [u8; 8]| match bound {
                std::ops::Bound::Included(number) | std::ops::Bound::Excluded(number) => number_bytes(*number),
                std::ops::Bound::Unbounded => none,
            };
            let bounds = Bounds { from: *from, to: *to };
            let is_within = |bytes: &[u8]| number_of(bytes).is_some_and(|number| bounds.contain(number));
            between(&end(from, [0; 8]), &end(to, [u8::MAX; 8]), &is_within)?
        }
        FieldTest::Is(truth) => one(&[u8::from(*truth)])?,
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
        crate::sqlite::schema::create(&mut connection).unwrap();
        let put = |named: &[(&str, FieldType)], at| {
            IndexedFields::read(&connection).unwrap().put(&connection, &fields(named), at).unwrap()
        };
        assert!(put(&[("a", FieldType::Long), ("b", FieldType::Text)], 0));
        assert!(!put(&[("b", FieldType::Text), ("a", FieldType::Long)], 7));
        assert!(put(&[("a", FieldType::Keyword)], 1_024));
        assert!(put(&[("a", FieldType::Long)], 2_048));
        let indexed = IndexedFields::read(&connection).unwrap();
        assert_eq!(indexed.fields().to_string(), "a=long");
        assert_eq!(indexed.0.iter().map(|field_row| field_row.code).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let known = |id| fields(&[("a", FieldType::Long)]).iter().all(|field| indexed.indexes(id, field));
        assert_eq!([0, 1_023, 1_024, 2_047, 2_048].map(known), [true, true, false, false, true]);
        assert!(put(&[], 2_048));
        assert!(IndexedFields::read(&connection).unwrap().fields().is_empty());
    }

    proptest! {
        #[test]
        fn bytes_sort_as_their_numbers(one in any::<i64>(), other in any::<i64>(), left in -1e300..1e300_f64, right in -2.0..2.0_f64) {
            prop_assert_eq!(integer_bytes(one).cmp(&integer_bytes(other)), one.cmp(&other));
            let (left, right) = (Number::new(left).unwrap(), Number::new(right).unwrap());
            prop_assert_eq!(number_bytes(left).cmp(&number_bytes(right)), left.cmp(&right));
            prop_assert_eq!(number_of(&number_bytes(left)), Some(left));
        }
    }
}
