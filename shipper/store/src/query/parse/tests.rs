//! Tests of parsing: results, errors with their positions, and round trips through `Display`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::query::{Bounds, DocumentFields, FieldTest, FieldType, Number};

/// A field of each type.
fn named() -> NamedFields {
    let name = |kind: FieldType| (format!("o.{kind}"), kind);
    NamedFields::new(FieldType::ALL.map(name)).unwrap()
}

fn field(kind: FieldType) -> NamedField {
    named().get(&format!("o.{kind}")).unwrap().clone()
}

/// Tests of a field of this type.
fn test_of(kind: FieldType) -> BoxedStrategy<FieldTest> {
    let text = || "[a-cA-C-:()\"*\\\\ äOR\u{a0}]{0,6}|AND|OR|NOT|-";
    let between = |values: std::ops::RangeInclusive<i64>| {
        let bound = move |none| prop_oneof![1 => Just(none), 4 => values.clone()];
        (bound(i64::MIN), bound(i64::MAX)).prop_map(|(from, to)| FieldTest::Between(from, to))
    };
    let own = match kind {
        FieldType::Keyword => vec(text(), 0..3).prop_map(FieldTest::OneOf).boxed(),
        FieldType::Text => prop_oneof![text().prop_map(FieldTest::Words), text().prop_map(FieldTest::Phrase)].boxed(),
        FieldType::Long => prop_oneof![between(-20..=20), between(i64::MIN..=i64::MAX)].boxed(),
        FieldType::Double => bounds().prop_map(FieldTest::Number).boxed(),
        FieldType::Boolean => any::<bool>().prop_map(FieldTest::Is).boxed(),
        FieldType::Date => between(-62_135_596_800_000..=253_402_300_799_999).boxed(),
    };
    prop_oneof![6 => own, 1 => Just(FieldTest::Any)].boxed()
}

fn read(query: &str) -> Filter {
    query.parse().unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn words(text: &str) -> Filter {
    Filter::Words(text.to_owned())
}

#[test]
fn queries_parse() {
    let number = |value| Number::new(value).unwrap();
    let status = |from, to| Filter::Number(NumberField::Status, Bounds::between(number(from), number(to)));
    let is = |field, values: &[&str]| Filter::Is(field, values.iter().map(|value| (*value).to_owned()).collect());
    let not = |filter| Filter::Not(Box::new(filter));
    for (query, filter) in [
        ("", Filter::EVERY),
        (" \t", Filter::EVERY),
        ("*", Filter::EVERY),
        ("payment failed", words("payment failed")),
        ("a level:error b", Filter::All(vec![words("a b"), is(Field::Level, &["error"])])),
        ("a AND b OR c", Filter::Any(vec![words("a b"), words("c")])),
        ("a (b OR c)", Filter::All(vec![words("a"), Filter::Any(vec![words("b"), words("c")])])),
        ("NOT a b", Filter::All(vec![not(words("a")), words("b")])),
        ("-service:shop", not(is(Field::Service, &["shop"]))),
        ("NOT NOT a", words("a")),
        ("\"a \\\"b\\\" \\\\\"", Filter::Phrase("a \"b\" \\".to_owned())),
        ("message:a message:\"b c\"", Filter::All(vec![words("a"), Filter::Phrase("b c".to_owned())])),
        ("service:(b OR \"a c\")", is(Field::Service, &["a c", "b"])),
        ("origin.host:h", is(Field::Host, &["h"])),
        ("endpoint:/a/{id}:x", is(Field::Endpoint, &["/a/{id}:x"])),
        ("target:\"\"", is(Field::Target, &[""])),
        ("pod:*", Filter::Has(Field::Pod)),
        ("level:>=warn", is(Field::Level, &["error", "warn"])),
        ("status:404", status(404.0, 404.0)),
        ("status:5xx", status(500.0, 599.0)),
        ("status:400..404", status(400.0, 404.0)),
        ("status:*", Filter::Number(NumberField::Status, Bounds::ANY)),
        ("12:30:05 a-b \\OR \\-x", words("12:30:05 a-b OR -x")),
        ("a\\:b \\(c\\) \\*", words("a:b (c) *")),
        ("and or not", words("and or not")),
    ] {
        assert_eq!(read(query), filter, "{query}");
        assert_eq!(read(&filter.to_string()), filter, "{query}: {filter}");
    }
}

#[test]
fn texts_without_words_are_ignored_among_words_and_match_nothing_alone() {
    let line = DocumentFields::parse(r#"{"message":"order 8 — paid","target":"access"}"#);
    for (query, finds) in
        [("order — paid", true), ("order target:access — paid", true), ("—", false), ("order — gone", false)]
    {
        let filter = read(query);
        assert_eq!(filter.matches(&line), finds, "{query}");
        assert_eq!(filter.and(Filter::access_lines()).matches(&line), finds, "{query} of access lines");
    }
}

#[test]
fn errors_have_a_position_and_an_expectation() {
    for (query, column, expected) in [
        ("a OR", 5, "the end of the query; expected a word"),
        ("OR a", 1, "write `\\OR`"),
        ("a AND OR b", 7, "OR without a term"),
        ("(a", 1, "add a `)`"),
        ("ä )", 3, "unmatched"),
        ("()", 2, "expected a word"),
        ("\"abc", 1, "add a closing `\"`"),
        ("colour:red", 1, "the fields are service, level"),
        ("error: no", 1, "quote a text"),
        ("service: x", 9, "right after the colon"),
        ("service:sh*", 11, "`service:*` for any value"),
        ("paym*", 5, "only whole words match"),
        ("level:loud", 7, "the levels are trace"),
        ("level:>=loud", 9, "the levels are trace"),
        ("status:abc", 8, "status:5xx"),
        ("status:500..400", 8, "status:5xx"),
        ("status:1.5", 8, "status:5xx"),
        ("duration_ms:\"1\"", 13, "write milliseconds"),
        ("service:(a b)", 12, "write `service:(one OR other)`"),
        ("service:(a OR", 14, "one OR other"),
        ("service:(a", 11, "add a `)`"),
    ] {
        let error = query.parse::<Filter>().unwrap_err();
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.to_string().contains(expected), "{query}: {error}");
    }
}

#[test]
fn queries_beyond_the_limits_are_rejected() {
    let too_deep = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
    for (query, expected) in [
        ("x ".repeat(MAX_QUERY_BYTES), "at most 4096 bytes"),
        ("x ".repeat(MAX_TERMS + 1), "at most 200 words and values"),
        (format!("service:({}x)", "x OR ".repeat(MAX_TERMS)), "at most 200 words and values"),
        ("字".repeat(MAX_WORDS + 1), "at most 400 words"),
        (too_deep, "12 deep"),
        ("NOT ".repeat(1_000), "12 deep"),
        ("-".repeat(1_000), "12 deep"),
    ] {
        let error = query.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn user_named_fields_parse_by_type() {
    let day = 1_795_392_000_000;
    let time = day + 18 * 3_600_000;
    let number = |value| Number::new(value).unwrap();
    for (query, kind, test) in [
        ("o.keyword:(b OR \"a c\")", FieldType::Keyword, FieldTest::OneOf(vec!["a c".into(), "b".into()])),
        ("o.keyword:\"\"", FieldType::Keyword, FieldTest::OneOf(vec![String::new()])),
        ("o.text:a o.text:b\\:c", FieldType::Text, FieldTest::Words("a b:c".into())),
        ("o.text:\"a b\"", FieldType::Text, FieldTest::Phrase("a b".into())),
        ("o.long:-7", FieldType::Long, FieldTest::Between(-7, -7)),
        ("o.long:>7", FieldType::Long, FieldTest::Between(8, i64::MAX)),
        ("o.long:9007199254740993..", FieldType::Long, FieldTest::Between(9_007_199_254_740_993, i64::MAX)),
        ("o.long:<=7", FieldType::Long, FieldTest::Between(i64::MIN, 7)),
        ("o.double:0.5..1", FieldType::Double, FieldTest::Number(Bounds::between(number(0.5), number(1.0)))),
        ("o.boolean:true", FieldType::Boolean, FieldTest::Is(true)),
        ("o.date:2026-11-23", FieldType::Date, FieldTest::Between(day, day + 86_399_999)),
        ("o.date:>2026-11-23", FieldType::Date, FieldTest::Between(day + 86_400_000, i64::MAX)),
        ("o.date:<2026-11-23", FieldType::Date, FieldTest::Between(i64::MIN, day - 1)),
        ("o.date:2026-11-23..2026-11-23T19:00:00.0009+01:00", FieldType::Date, FieldTest::Between(day, time)),
        ("o.date:*", FieldType::Date, FieldTest::Any),
    ] {
        let filter = Filter::parse(query, &named()).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(filter, Filter::Named(field(kind), test), "{query}");
    }
    for (query, column, expected) in [
        (
            "a o.colour:red",
            3,
            "pipeline_error, status, duration_ms, o.boolean, o.date, o.double, o.keyword, o.long, o.text;",
        ),
        ("o.long:x", 8, "write an integer such as `o.long:7`"),
        ("o.long:1.5", 8, "write an integer"),
        ("o.long:7..1", 8, "write an integer"),
        ("o.long:>9223372036854775807", 8, "write an integer"),
        ("o.double:1e5", 10, "write a number"),
        ("o.boolean:yes", 11, "write `o.boolean:true`"),
        ("o.boolean:(true)", 11, "write `o.boolean:true`"),
        ("o.date:tomorrow", 8, "write a day or a time"),
        ("o.date:\"2026-11-23\"", 8, "write a day or a time"),
        ("o.date:>9999-12-31", 8, "write a day or a time"),
        ("o.keyword:a*", 12, "only whole values match"),
        ("o.text:a*", 9, "only whole words match"),
        ("o.text:(a)", 8, "expected a word or a quoted text"),
        ("o.text: a", 8, "right after the colon"),
    ] {
        let error = Filter::parse(query, &named()).unwrap_err();
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.to_string().contains(expected), "{query}: {error}");
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let number =
        prop_oneof![(-10..700_i32).prop_map(f64::from), -1e9..1e9_f64].prop_map(|value| Number::new(value).unwrap());
    let bound = prop_oneof![
        Just(std::ops::Bound::Unbounded),
        number.clone().prop_map(std::ops::Bound::Included),
        number.prop_map(std::ops::Bound::Excluded)
    ];
    (bound.clone(), bound).prop_filter_map("a range has something in it", |(from, to)| {
        let numbers = [from, to].map(|bound| match bound {
            std::ops::Bound::Included(number) | std::ops::Bound::Excluded(number) => Some(number),
            std::ops::Bound::Unbounded => None,
        });
        let empty = matches!(numbers, [Some(from), Some(to)] if from > to);
        (!empty).then_some(Bounds { from, to })
    })
}

/// Any filter of few parts, with texts of special characters.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let text = || "[a-cA-C-:()\"*\\\\ äOR\u{a0}]{0,6}|AND|OR|NOT|-|\\PC{0,4}";
    let field = prop::sample::select(Field::ALL.to_vec());
    let level = prop::sample::select(Level::ALL.to_vec());
    let leaf = prop_oneof![
        (field.clone(), vec(text(), 0..3)).prop_filter_map("levels are levels", |(field, values)| {
            (field != Field::Level).then_some(Filter::Is(field, values))
        }),
        vec(level, 0..3).prop_map(Filter::levels),
        field.prop_map(Filter::Has),
        text().prop_map(Filter::Words),
        text().prop_map(Filter::Phrase),
        bounds().prop_map(|bounds| Filter::Number(NumberField::DurationMs, bounds)),
        prop::sample::select(FieldType::ALL.to_vec())
            .prop_flat_map(|kind| test_of(kind).prop_map(move |test| Filter::Named(self::field(kind), test))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::All),
            vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_round_trips_through_its_text(filter in filter()) {
        let plain = filter.clone().simplify();
        prop_assert_eq!(plain.clone().simplify(), plain.clone());
        prop_assert_eq!(Filter::parse(&plain.to_string(), &named()), Ok(plain.clone()), "{}", plain);
        prop_assert_eq!(Filter::parse(&filter.to_string(), &named()), Ok(plain), "{}", filter);
    }

    #[test]
    fn any_text_parses_or_fails_at_a_character_boundary(query in "[a-c:()\"*\\\\ \\-OR<>=.0-9äé字\u{0}]{0,40}|\\PC{0,40}|(NOT |\\(|-|status:|level:|service:|message:|AND |OR |o.keyword:|o.text:|o.long:|o.double:|o.boolean:|o.date:){0,12}") {
        match Filter::parse(&query, &named()) {
            Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string(), &named()), Ok(filter)),
            Err(error) => {
                prop_assert!(query.is_char_boundary(error.offset));
                prop_assert!(error.to_string().len() < 1_000);
            }
        }
    }
}
