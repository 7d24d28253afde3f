//! Random values of user-named fields, of their type and of others, and random queries.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use store::{FieldTest, FieldType, Filter, NamedFields};

use super::{bounds, message, one_of, text};

/// One field of each type, three of them nested in an object.
pub(crate) fn fields() -> NamedFields {
    let named = [
        ("tag", FieldType::Keyword),
        ("note", FieldType::Text),
        ("flag", FieldType::Boolean),
        ("o.count", FieldType::Long),
        ("o.ratio", FieldType::Double),
        ("o.in.when", FieldType::Date),
    ];
    NamedFields::new(named.map(|(name, kind)| (name.to_owned(), kind))).unwrap()
}

const TAGS: [&str; 5] = ["a", "A", "b \"c\"", "", "7"];
const TIMES: [&str; 6] = [
    "2026-11-23",
    "2026-11-23T18:00:00Z",
    "2026-11-23T18:00:00.0009Z",
    "2026-11-24T00:30:00.5+01:00",
    "1969-12-31T23:59:59.999Z",
    "0001-01-01",
];
const ODD: [&str; 9] = ["", "x", "soon", "yes", "2026-11-23T18:00:00", "2026-02-30", "1e400", "NaN", "false "];

fn whole() -> impl Strategy<Value = i64> + Clone {
    prop::sample::select(vec![-7, 0, 1, 2, 42, 9_007_199_254_740_993, i64::MAX, i64::MIN])
}

/// A value of any type.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => one_of(&TAGS).prop_map(Value::from),
        4 => one_of(&TIMES).prop_map(Value::from),
        2 => one_of(&ODD).prop_map(Value::from),
        4 => whole().prop_map(Value::from),
        2 => whole().prop_map(|whole| json!(whole.to_string())),
        3 => prop::sample::select(vec![0.5, -7.25, 42.0, 1e9]).prop_map(Value::from),
        1 => Just(json!("42.5")),
        3 => any::<bool>().prop_map(Value::from),
        1 => any::<bool>().prop_map(|truth| json!(truth.to_string())),
        1 => Just(json!("x".repeat(1_025))),
        1 => Just(Value::Null),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![4 => value(), 1 => vec(value(), 0..3).prop_map(Value::from), 1 => vec(value(), 0..2).prop_map(|values| json!([values, null]))]
}

/// Members with user-named fields. Each fits its path as a scalar or an object: an engine moves aside what does not
/// fit, so the results would differ.
pub(super) fn members() -> impl Strategy<Value = Map<String, Value>> {
    let note = prop_oneof![
        4 => message().prop_map(Value::from),
        1 => vec(message(), 0..3).prop_map(Value::from),
        1 => values(),
    ];
    let object = (option::of(values()), option::of(values()), option::of(values())).prop_map(|(count, ratio, when)| {
        let member = |key: &str, value: Option<Value>| value.map(|value| (key.to_owned(), value));
        let when = when.map(|when| json!({ "when": when, "then": "2026-11-23" }));
        let members = [member("count", count), member("ratio", ratio), member("in", when)];
        Value::Object(members.into_iter().flatten().collect())
    });
    let object = object.boxed();
    let objects = prop_oneof![
        4 => object.clone(),
        1 => vec(object, 0..3).prop_map(|objects| json!([objects, null])),
        1 => Just(Value::Null),
    ];
    let all = (option::of(values()), option::of(note), option::of(values()), option::of(objects), option::of(values()));
    all.prop_map(|(tag, note, flag, objects, dotted)| {
        let all = [("tag", tag), ("note", note), ("flag", flag), ("o", objects), ("o.count", dotted)];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    })
}

/// A query of one of the fields.
pub(super) fn test() -> impl Strategy<Value = Filter> {
    let between = |bounds: Vec<i64>| {
        let bound = move |none| prop_oneof![1 => Just(none), 3 => prop::sample::select(bounds.clone())];
        (bound(i64::MIN), bound(i64::MAX)).prop_map(|(from, to)| FieldTest::Between(from, to))
    };
    let of = |name: &str, test: BoxedStrategy<FieldTest>| {
        let field = fields().get(name).unwrap().clone();
        let test = prop_oneof![1 => Just(FieldTest::Any), 5 => test];
        test.prop_map(move |test| Filter::Named(field.clone(), test)).boxed()
    };
    let tags = vec(prop_oneof![one_of(&TAGS), one_of(&["true", "42", "2026-11-23"])], 1..3);
    let second = 1_000;
    let noon = 1_795_456_800_000;
    let times = vec![-1, 0, noon, noon + 1, noon - second, noon + 86_400 * second, -62_135_596_800_000];
    let ratio = prop_oneof![
        bounds(),
        prop::sample::select(vec![-7.25, 0.5, 42.0, 42.5])
            .prop_map(|value| store::query::Bounds::exactly(store::query::Number::new(value).unwrap())),
    ];
    prop_oneof![
        of("tag", tags.prop_map(|tags| FieldTest::OneOf(tags.into_iter().map(str::to_owned).collect())).boxed()),
        of("note", prop_oneof![text().prop_map(FieldTest::Words), text().prop_map(FieldTest::Phrase)].boxed()),
        of("flag", any::<bool>().prop_map(FieldTest::Is).boxed()),
        of("o.count", between(vec![-8, -7, 0, 2, 42, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX]).boxed()),
        of("o.ratio", ratio.prop_map(FieldTest::Number).boxed()),
        of("o.in.when", between(times).boxed()),
    ]
}
