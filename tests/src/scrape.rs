//! Parses the Prometheus text format (version 0.0.4), strictly enough to detect what Prometheus would reject.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::http;

/// The metrics of the shipper's accounting: lines read, then their outcomes.
const ACCOUNTING: [&str; 6] = [
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
    /// All samples in order.
    pub samples: Vec<Sample>,
    /// `# HELP` by family.
    pub help: BTreeMap<String, String>,
    /// `# TYPE` by family.
    pub types: BTreeMap<String, String>,
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name, with the suffix `_bucket`, `_sum` or `_count` for histograms.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Scrape {
    /// Scrapes `/metrics`. Panics if the response is not in the Prometheus format, or a shipper's accounting does not hold.
    #[track_caller]
    pub fn of(address: SocketAddr) -> Self {
        let answer = http::get(address, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "Content-Type: {kind}");
        let scrape = Self::parse(answer.text());
        scrape.assert_accounting_holds();
        scrape
    }

    /// Asserts the accounting equation, which holds in every scrape of a shipper:
    /// `read = stored + already_stored + dead_lettered + dropped + pending`. Other programs pass.
    #[track_caller]
    pub fn assert_accounting_holds(&self) {
        let [read, rest @ ..] =
            ACCOUNTING.map(|name| self.all(name, &[]).map(|sample| sample.value).collect::<Vec<_>>());
        if read.is_empty() {
            return;
        }
        assert!(
            read.len() == 1 && rest.iter().all(|found| found.len() == 1),
            "expected one sample of each: {ACCOUNTING:?}"
        );
        let rest: Vec<_> = rest.into_iter().flatten().collect();
        assert_eq!(
            read[0],
            rest.iter().sum::<f64>(),
            "read is not the sum of {rest:?}, which are {:?}",
            &ACCOUNTING[1..]
        );
        assert_eq!(self.metric("shipper_accounting_errors", &[]), 0.0);
    }

    /// Parses a scrape. Panics if Prometheus would reject it or drop part of it.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut seen = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line has no newline");
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, family, rest) = (words.next(), words.next().unwrap(), words.next().unwrap_or_default());
                let known = match kind {
                    Some("HELP") => scrape.help.insert(family.to_owned(), rest.to_owned()),
                    Some("TYPE") => scrape.types.insert(family.to_owned(), rest.to_owned()),
                    _ => None,
                };
                assert!(known.is_none(), "duplicate: {line}");
            } else {
                let sample = parse_sample(line).unwrap_or_else(|| panic!("invalid sample: {line}"));
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "duplicate: {line}");
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// All samples with this name and at least these labels.
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

    /// The sum of the samples with this name and at least these labels; 0 if there are none, as in
    /// `sum(…) or vector(0)`.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The values of a label in all samples with this name.
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

/// Parses a label value up to its closing quote. Returns the value and the text after the quote.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (index, '"') => return Some((value, &text[index + 1..])),
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
    fn samples_are_parsed_and_summed() {
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
    fn what_prometheus_rejects_is_rejected() {
        for text in ["a 1\na 2\n", "a{x=\"1\n", "1a 2\n", "a\n", "a x\n", "a 1", "# TYPE a counter\n# TYPE a gauge\n"] {
            assert!(std::panic::catch_unwind(|| Scrape::parse(text)).is_err(), "{text:?}");
        }
    }

    fn shipper_scrape(counts: [u64; 6]) -> Scrape {
        let samples = ACCOUNTING.iter().zip(counts).map(|(name, count)| format!("{name} {count}\n"));
        Scrape::parse(&samples.collect::<String>())
    }

    #[test]
    fn accounting_that_holds_is_accepted() {
        shipper_scrape([15, 1, 2, 3, 4, 5]).assert_accounting_holds();
        Scrape::parse("request_count 1\n").assert_accounting_holds();
    }

    #[test]
    #[should_panic(expected = "read is not the sum")]
    fn a_wrong_sum_is_detected() {
        shipper_scrape([15, 1, 2, 3, 4, 6]).assert_accounting_holds();
    }

    #[test]
    #[should_panic(expected = "expected one sample of each")]
    fn a_missing_metric_is_detected() {
        let mut scrape = shipper_scrape([10, 1, 2, 3, 4, 0]);
        scrape.samples.pop();
        scrape.assert_accounting_holds();
    }
}
