//! Reading a scrape: the Prometheus text format (version 0.0.4), strictly enough to notice what Prometheus would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::http;

/// Of a shipper: what was read, and where it all is.
const ACCOUNTS: [&str; 6] = [
    "shipper_lines_read_total",
    "shipper_lines_stored_total",
    "shipper_lines_already_stored_total",
    "shipper_lines_dead_lettered_total",
    "shipper_lines_dropped_total",
    "shipper_lines_pending",
];

/// One scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Every sample in its order.
    pub samples: Vec<Sample>,
    /// The `# HELP` of each family.
    pub help: BTreeMap<String, String>,
    /// The `# TYPE` of each family.
    pub types: BTreeMap<String, String>,
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name, with `_bucket`, `_sum` or `_count` for a histogram's.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Scrape {
    /// Scrapes `/metrics`; panics when the answer is not Prometheus text, or is a shipper's whose books do not balance.
    #[track_caller]
    pub fn of(address: SocketAddr) -> Self {
        let answer = http::get(address, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "Content-Type: {kind}");
        let scrape = Self::parse(answer.text());
        scrape.assert_books_balance();
        scrape
    }

    /// `read = stored + already stored + dead-lettered + lost + waiting`, which a shipper's scrape must show whenever it is
    /// taken. Of another program's there is nothing to say.
    #[track_caller]
    pub fn assert_books_balance(&self) {
        let [read, rest @ ..] = ACCOUNTS.map(|name| self.all(name, &[]).map(|sample| sample.value).collect::<Vec<_>>());
        if read.is_empty() {
            return;
        }
        assert!(read.len() == 1 && rest.iter().all(|found| found.len() == 1), "not one each: {ACCOUNTS:?}");
        let rest: Vec<_> = rest.into_iter().flatten().collect();
        assert_eq!(
            read[0],
            rest.iter().sum::<f64>(),
            "read is not the sum of {rest:?}, which are {:?}",
            &ACCOUNTS[1..]
        );
        assert_eq!(self.metric("shipper_accounting_errors", &[]), 0.0);
    }

    /// Reads a scrape; panics when Prometheus would refuse it or keep only part of it.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut seen = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, family, rest) = (words.next(), words.next().unwrap(), words.next().unwrap_or_default());
                let known = match kind {
                    Some("HELP") => scrape.help.insert(family.to_owned(), rest.to_owned()),
                    Some("TYPE") => scrape.types.insert(family.to_owned(), rest.to_owned()),
                    _ => None,
                };
                assert!(known.is_none(), "twice: {line}");
            } else {
                let sample = parse_sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// All samples of a name whose labels include those given.
    pub fn all<'a, 'q>(
        &'a self,
        name: &'q str,
        labels: &'q [(&'q str, &'q str)],
    ) -> impl Iterator<Item = &'a Sample> + use<'a, 'q> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        })
    }

    /// The sum over the samples of a name whose labels include those given; 0 where there is none, as Prometheus'
    /// `sum(…) or vector(0)`.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The values of one label over all samples of a name.
    pub fn label_values<'a>(&'a self, name: &str, label: &str) -> BTreeSet<&'a str> {
        self.all(name, &[]).filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect()
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let name_is_valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = unescape(after)?;
            if labels.insert(key.to_owned(), value).is_some() {
                return None;
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    (!name.is_empty() && name_is_valid).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Reads a label's value up to its closing quote; returns it and what follows the quote.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (place, '"') => return Some((value, &text[place + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            (_, character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_summed() {
        let scrape = Scrape::parse(
            "# HELP a what it is\n# TYPE a counter\na{x=\"1\",y=\"q\\\"\\\\\\n}\"} 2\na{x=\"2\",y=\"\"} 3.5\nb 1e3\nc{le=\"+Inf\"} +Inf\n",
        );
        assert_eq!(scrape.metric("a", &[]), 5.5);
        assert_eq!(scrape.metric("a", &[("x", "2")]), 3.5);
        assert_eq!(scrape.metric("a", &[("y", "q\"\\\n}")]), 2.0);
        assert_eq!(scrape.metric("b", &[]), 1000.0);
        assert_eq!(scrape.metric("nowhere", &[]).to_string(), "0", "the sum over nothing is not -0");
        assert_eq!(scrape.label_values("a", "x"), ["1", "2"].into());
        assert_eq!((scrape.help["a"].as_str(), scrape.types["a"].as_str()), ("what it is", "counter"));
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for text in ["a 1\na 2\n", "a{x=\"1\n", "1a 2\n", "a\n", "a x\n", "a 1", "# TYPE a counter\n# TYPE a gauge\n"] {
            assert!(std::panic::catch_unwind(|| Scrape::parse(text)).is_err(), "{text:?}");
        }
    }

    fn of_a_shipper(counts: [u64; 6]) -> Scrape {
        let samples = ACCOUNTS.iter().zip(counts).map(|(name, count)| format!("{name} {count}\n"));
        Scrape::parse(&samples.collect::<String>())
    }

    #[test]
    fn books_that_balance_are_taken() {
        of_a_shipper([15, 1, 2, 3, 4, 5]).assert_books_balance();
        Scrape::parse("request_count 1\n").assert_books_balance();
    }

    #[test]
    #[should_panic(expected = "read is not the sum")]
    fn books_that_do_not_are_not() {
        of_a_shipper([15, 1, 2, 3, 4, 6]).assert_books_balance();
    }

    #[test]
    #[should_panic(expected = "not one each")]
    fn nor_are_those_with_an_account_too_few() {
        let mut scrape = of_a_shipper([10, 1, 2, 3, 4, 0]);
        scrape.samples.pop();
        scrape.assert_books_balance();
    }
}
