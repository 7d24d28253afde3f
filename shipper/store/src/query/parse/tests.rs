//! What reads as which filter, what is refused and where, and that a filter reads back as it is written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::query::{Bounds, Facts, Number};

fn read(query: &str) -> Filter {
    query.parse().unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn words(text: &str) -> Filter {
    Filter::Words(text.to_owned())
}

#[test]
fn queries_read_as_they_are_meant() {
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
fn what_has_no_word_is_passed_over_among_words_and_finds_nothing_by_itself() {
    let line = Facts::of(r#"{"message":"order 8 — paid","target":"access"}"#);
    for (query, finds) in
        [("order — paid", true), ("order target:access — paid", true), ("—", false), ("order — gone", false)]
    {
        let filter = read(query);
        assert_eq!(filter.matches(&line), finds, "{query}");
        assert_eq!(filter.and(Filter::access_lines()).matches(&line), finds, "{query} of access lines");
    }
}

#[test]
fn a_mistake_is_shown_with_its_place_and_what_would_be_right() {
    for (query, column, said) in [
        ("a OR", 5, "the end; a word, a field"),
        ("OR a", 1, "write `\\OR`"),
        ("a AND OR b", 7, "OR without anything"),
        ("(a", 1, "a `)` has to follow"),
        ("ä )", 3, "closes nothing"),
        ("()", 2, "stands before it"),
        ("\"abc", 1, "a `\"` has to follow"),
        ("colour:red", 1, "a field is one of service, level"),
        ("error: no", 1, "in quotes"),
        ("service: x", 9, "follows the colon at once"),
        ("service:sh*", 11, "`service:*` for any value"),
        ("paym*", 5, "words are found whole"),
        ("level:loud", 7, "a level is one of trace"),
        ("level:>=loud", 9, "a level is one of trace"),
        ("status:abc", 8, "status:5xx"),
        ("status:500..400", 8, "status:5xx"),
        ("status:1.5", 8, "status:5xx"),
        ("duration_ms:\"1\"", 13, "write milliseconds"),
        ("service:(a b)", 12, "write `service:(one OR other)`"),
        ("service:(a OR", 14, "one OR other"),
        ("service:(a", 11, "a `)` has to close"),
    ] {
        let error = query.parse::<Filter>().unwrap_err();
        assert_eq!(error.place.column, column, "{query}: {error}");
        assert!(error.to_string().contains(said), "{query}: {error}");
    }
}

#[test]
fn what_is_too_much_is_refused_in_words() {
    let too_deep = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
    for (query, said) in [
        ("x ".repeat(MAX_QUERY_BYTES), "at most 4096 bytes"),
        ("x ".repeat(MAX_TERMS + 1), "at most 200 words and values"),
        (format!("service:({}x)", "x OR ".repeat(MAX_TERMS)), "at most 200 words and values"),
        ("字".repeat(MAX_WORDS + 1), "at most 400 words"),
        (too_deep, "12 deep"),
        ("NOT ".repeat(1_000), "12 deep"),
        ("-".repeat(1_000), "12 deep"),
    ] {
        let error = query.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Any filter of few parts, its texts of characters that mean something.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let text = || "[a-cA-C-:()\"*\\\\ äOR\u{a0}]{0,6}|AND|OR|NOT|-|\\PC{0,4}";
    let number =
        prop_oneof![(-10..700_i32).prop_map(f64::from), -1e9..1e9_f64].prop_map(|value| Number::new(value).unwrap());
    let bound = prop_oneof![
        Just(std::ops::Bound::Unbounded),
        number.clone().prop_map(std::ops::Bound::Included),
        number.prop_map(std::ops::Bound::Excluded)
    ];
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
        (bound.clone(), bound).prop_filter_map("a range has something in it", |(from, to)| {
            let bounds = Bounds { from, to };
            let numbers = [from, to].map(|bound| match bound {
                std::ops::Bound::Included(number) | std::ops::Bound::Excluded(number) => Some(number),
                std::ops::Bound::Unbounded => None,
            });
            let empty = matches!(numbers, [Some(from), Some(to)] if from > to);
            (!empty).then_some(Filter::Number(NumberField::DurationMs, bounds))
        }),
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
    fn a_filter_reads_as_itself(filter in filter()) {
        let plain = filter.clone().plain();
        prop_assert_eq!(plain.clone().plain(), plain.clone());
        prop_assert_eq!(plain.to_string().parse(), Ok(plain.clone()), "{}", plain);
        prop_assert_eq!(filter.to_string().parse(), Ok(plain), "{}", filter);
    }

    #[test]
    fn any_text_is_read_or_refused_within_it(query in "[a-c:()\"*\\\\ \\-OR<>=.0-9äé字\u{0}]{0,40}|\\PC{0,40}|(NOT |\\(|-|status:|level:|service:|message:|AND |OR ){0,12}") {
        match query.parse::<Filter>() {
            Ok(filter) => prop_assert_eq!(filter.to_string().parse(), Ok(filter)),
            Err(error) => {
                prop_assert!(query.is_char_boundary(error.place.byte));
                prop_assert!(error.to_string().len() < 1_000);
            }
        }
    }
}
