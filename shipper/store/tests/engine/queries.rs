//! Random lines and random queries with few possible values, so that they match.

use std::ops::Bound;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use store::query::{Bounds, Number};
use store::{Breakdown, Field, Filter, Level, NumberField, Order, Scope, Search, Selection, Timestamp};

/// Base time of lines; offsets are in microseconds.
const BASE_MICROS: i64 = 1_795_000_000_000_000;

/// Parts of messages that are difficult to split into words. No character is newer than Unicode 12.1: a newer one is a
/// word in the embedded store and none in engines (docs/search.md).
const FRAGMENTS: [&str; 57] = [
    "payment",
    "Failed",
    "fox",
    "FOX",
    "don't",
    "O'Neil's",
    "3.14",
    "1,000",
    "10.0.0.1",
    "a.b",
    "a:b",
    "a_b",
    "_x_",
    "x-y",
    "user@host.example",
    "/api/x?y=1",
    "C++",
    "#42",
    "50%",
    "ärger",
    "ÄRGER",
    "a\u{308}rger",
    "Straße",
    "STRASSE",
    "İstanbul",
    "ΣΊΣΥΦΟΣ",
    "ﬁnance",
    "日本語",
    "ひらがな",
    "カタカナ",
    "한국어",
    "中a文",
    "ภาษาไทย",
    "русский",
    "עברית",
    "עברית״ם",
    "ד'",
    "नमस्ते",
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "❤️",
    "\u{0}",
    "\"quoted\"",
    "(p)",
    "*",
    "OR",
    "e\u{301}\u{301}",
    "ab\u{ad}cd",
    "a\u{2019}b",
    "٣٤٥",
    "x²",
    "①",
    "Ⅷ",
    "𝔘𝔫𝔦",
    "...",
    "—",
];

mod named;

pub(crate) use named::fields;

const SERVICES: [&str; 3] = ["shop", "Shop", "billing \"x\""];
const IDS: [&str; 4] = ["a", "A", "b", "a/b:c+="];
const ENDPOINTS: [&str; 4] = ["/x/{id}", "/y", "unmatched", ""];
const TARGETS: [&str; 3] = ["access", "db::pool", "alert"];

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(values.to_vec())
}

fn message() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![12 => one_of(&FRAGMENTS).prop_map(str::to_owned), 1 => "[a-zA-Z0-9À-ʯЀ-ӿα-ωא-תぁ-んァ-ヺ一-丏가-각 ._:'-]{1,6}", 1 => Just("long".repeat(130))];
    vec((fragment, one_of(&[" ", " ", " ", "-", "", ": ", "\t", ", "])), 0..6)
        .prop_map(|parts| parts.into_iter().flat_map(|(part, between)| [part, between.to_owned()]).collect())
}

fn time() -> impl Strategy<Value = Timestamp> {
    // Some times are close together, some far apart.
    prop_oneof![0..5_i64, (0..20_i64).prop_map(|second| second * 1_000_000), 0..7_200_000_000_i64]
        .prop_map(|micros| Timestamp::from_unix_micros(BASE_MICROS + micros))
}

fn status() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop::sample::select(vec![200, 204, 404, 499, 500, 503, 599, 600]).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!("503")),
        1 => Just(json!("none")),
        1 => Just(json!(499.9)),
        1 => Just(json!([200, 500])),
    ]
}

fn duration_ms() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..1_000_u32).prop_map(|tenths| json!(f64::from(tenths) / 10.0)),
        2 => (0..50_u32).prop_map(Value::from),
        1 => Just(json!("12.5")),
        1 => Just(json!("soon")),
    ]
}

/// A contract record without its origin, and the number of its source.
pub(crate) fn line() -> impl Strategy<Value = (u8, Value)> {
    let contract = (time(), one_of(&SERVICES), prop::sample::select(Level::ALL.to_vec()), message());
    let ids = (option::of(one_of(&IDS)), option::of(one_of(&IDS)));
    let free = (
        option::of(one_of(&TARGETS).prop_map(|target| json!(target))),
        option::of(
            prop_oneof![3 => one_of(&ENDPOINTS).prop_map(|value| json!(value)), 1 => Just(json!(["/y", "/x/{id}", "/y"]))],
        ),
        option::of(status()),
        option::of(duration_ms()),
        option::of(prop_oneof![
            Just(json!(7)),
            Just(json!(true)),
            Just(json!("x".repeat(1_025))),
            Just(json!("ü".repeat(1_024)))
        ]),
    );
    (0..3_u8, contract, ids, free, named::members()).prop_map(|(source, contract, ids, free, named)| {
        let (time, service, level, message) = contract;
        let mut line = json!({
            "timestamp": time.to_string(), "service": service, "level": level.as_str(), "message": message,
            "request_id": ids.0, "project_id": ids.1,
        });
        let (target, endpoint, status, duration_ms, method) = free;
        let free = [
            ("target", target),
            ("endpoint", endpoint),
            ("status", status),
            ("duration_ms", duration_ms),
            ("method", method),
        ];
        let free: Map<_, _> = free.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        line.as_object_mut().unwrap().extend(free);
        line.as_object_mut().unwrap().extend(named);
        (source, line)
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => one_of(&FRAGMENTS).prop_map(str::to_owned),
        3 => vec(one_of(&FRAGMENTS), 2..4).prop_map(|parts| parts.join(" ")),
        1 => vec(one_of(&FRAGMENTS), 2..3).prop_map(|parts| parts.concat()),
        1 => Just("long".repeat(130)),
        1 => Just("long".repeat(63)),
    ]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let number = prop::sample::select(vec![0.0, 5.0, 12.5, 49.9, 200.0, 404.0, 499.0, 500.0, 599.0, 1e9]);
    let bound = prop_oneof![
        Just(Bound::Unbounded),
        number.clone().prop_map(|value| Bound::Included(Number::new(value).unwrap())),
        number.prop_map(|value| Bound::Excluded(Number::new(value).unwrap())),
    ];
    (bound.clone(), bound).prop_map(|(from, to)| Bounds { from, to })
}

/// A filter that a query can express: a simplified one. In others, texts without words are not merged with their
/// neighbours yet.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let is = |field: Field, values: &'static [&'static str]| {
        vec(one_of(values), 1..3)
            .prop_map(move |values| Filter::Is(field, values.into_iter().map(str::to_owned).collect()))
            .boxed()
    };
    let leaf = prop_oneof![
        2 => is(Field::Service, &SERVICES),
        2 => is(Field::RequestId, &IDS),
        2 => is(Field::ProjectId, &IDS),
        2 => is(Field::Endpoint, &ENDPOINTS),
        1 => is(Field::Target, &TARGETS),
        1 => is(Field::Method, &["7", "true", "x"]),
        1 => is(Field::Stream, &["stdout", "stderr"]),
        2 => vec(prop::sample::select(Level::ALL.to_vec()), 0..3).prop_map(Filter::levels),
        2 => prop::sample::select(Field::ALL.to_vec()).prop_map(Filter::Has),
        8 => text().prop_map(Filter::Words),
        5 => text().prop_map(Filter::Phrase),
        12 => named::test(),
        3 => (prop::sample::select(NumberField::ALL.to_vec()), bounds()).prop_map(|(field, bounds)| Filter::Number(field, bounds)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::All),
            vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
    .prop_map(Filter::simplify)
}

pub(crate) fn scope() -> impl Strategy<Value = Scope> {
    let projects = btree_set(one_of(&IDS).prop_map(str::to_owned), 0..3).prop_map(Scope::Projects);
    prop_oneof![3 => Just(()).prop_map(|()| Scope::All), 1 => projects]
}

/// One query of each kind, over the same lines.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) scope: Scope,
    pub(crate) search: Search,
    pub(crate) by: Breakdown,
    pub(crate) step: std::time::Duration,
    pub(crate) top: usize,
    pub(crate) place: (u8, u64),
    pub(crate) sides: (usize, usize),
}

impl Queries {
    /// Adapts the query to a larger number of lines, with even longer pages.
    pub(crate) fn widen(&mut self, times: u64) {
        self.search.limit *= 3 * usize::try_from(times).unwrap();
        self.place.1 *= times;
    }

    pub(crate) fn selection(&self) -> Selection {
        Selection { filter: self.search.filter.clone(), from: self.search.from, to: self.search.to }
    }
}

pub(crate) fn queries() -> impl Strategy<Value = Queries> {
    let search = (filter(), option::weighted(0.3, time()), option::weighted(0.3, time()), any::<bool>(), 1..12_usize);
    let step =
        prop::sample::select(vec![1_000_u64, 1_500, 60_000, 3_600_000]).prop_map(std::time::Duration::from_millis);
    let by = prop_oneof![
        Just(Breakdown::Total),
        Just(Breakdown::Endpoint),
        Just(Breakdown::Project),
        step.clone().prop_map(Breakdown::Time),
    ];
    let around = ((0..3_u8, 0..80_u64), (0..4_usize, 0..4_usize));
    (scope(), search, by, step, 1..5_usize, around).prop_map(|(scope, search, by, step, top, (place, sides))| {
        let (filter, from, to, oldest_first, limit) = search;
        let order = if oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        let search = Search { filter, from, to, order, limit, ..Search::default() };
        Queries { scope, search, by, step, top, place: (place.0, place.1 * 500), sides }
    })
}
