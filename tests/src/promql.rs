//! What a PromQL expression asks for: the series it selects, and the labels by which it groups and joins them.

use std::collections::BTreeSet;

use promql_parser::parser::{self, BinModifier, Expr, LabelModifier, VectorSelector};

/// What an expression asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// Each selector as it stands, without range and offset.
    pub selectors: Vec<Selector>,
    /// Labels that are grouped by, joined on or brought over.
    pub groupings: Vec<Grouping>,
}

/// A selector.
#[derive(Debug)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// The selector as PromQL.
    pub text: String,
    /// The labels that it matches.
    pub labels: BTreeSet<String>,
}

/// A label that at least one of some metrics has to have.
#[derive(Debug)]
pub struct Grouping {
    /// The label.
    pub label: String,
    /// The metrics beneath.
    pub metrics: BTreeSet<String>,
}

/// Reads an expression; panics when it is none.
#[track_caller]
pub fn parse(expression: &str) -> Asked {
    let tree = parser::parse(expression).unwrap_or_else(|error| panic!("{error}: {expression}"));
    let mut asked = Asked::default();
    asked.walk(&tree);
    asked
}

impl Asked {
    /// Notes what a subtree asks for; the metrics in it.
    fn walk(&mut self, tree: &Expr) -> BTreeSet<String> {
        match tree {
            Expr::Aggregate(aggregate) => {
                let metrics = self.walk(&aggregate.expr);
                if let Some(LabelModifier::Include(by) | LabelModifier::Exclude(by)) = &aggregate.modifier {
                    self.group(&by.labels, &metrics);
                }
                metrics
            }
            Expr::Binary(binary) => {
                let (left, right) = (self.walk(&binary.lhs), self.walk(&binary.rhs));
                if let Some(modifier) = &binary.modifier {
                    self.join(modifier, &left, &right);
                }
                left.union(&right).cloned().collect()
            }
            Expr::Call(call) => call.args.args.iter().flat_map(|argument| self.walk(argument)).collect(),
            Expr::Unary(unary) => self.walk(&unary.expr),
            Expr::Paren(paren) => self.walk(&paren.expr),
            Expr::Subquery(subquery) => self.walk(&subquery.expr),
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => BTreeSet::new(),
        }
    }

    fn select(&mut self, selector: &VectorSelector) -> BTreeSet<String> {
        let metric = selector.name.clone().expect("a selector without a metric's name");
        assert!(selector.matchers.or_matchers.is_empty(), "{selector}: write the alternatives as a regular expression");
        let labels = selector.matchers.matchers.iter().map(|matcher| matcher.name.clone()).collect();
        let plain = VectorSelector { offset: None, at: None, ..selector.clone() };
        self.selectors.push(Selector { metric: metric.clone(), text: plain.to_string(), labels });
        [metric].into()
    }

    fn join(&mut self, modifier: &BinModifier, left: &BTreeSet<String>, right: &BTreeSet<String>) {
        if let Some(LabelModifier::Include(on) | LabelModifier::Exclude(on)) = &modifier.matching {
            self.group(&on.labels, left);
            self.group(&on.labels, right);
        }
        if let Some(brought) = modifier.card.labels() {
            self.group(&brought.labels, &left.union(right).cloned().collect());
        }
    }

    fn group(&mut self, labels: &[String], metrics: &BTreeSet<String>) {
        let grouping = |label: &String| Grouping { label: label.clone(), metrics: metrics.clone() };
        self.groupings.extend(labels.iter().map(grouping));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_and_groupings_are_found_wherever_they_stand() {
        let asked = parse(
            r#"topk(3, sum by (a) (rate(m{x="1", y!~"2.."}[5m] offset 1h)))
               / on (b) group_left (c) (n > bool 0) or max_over_time((-o)[10m:1m]) and absent(p{z=""})"#,
        );
        let texts: Vec<_> = asked.selectors.iter().map(|selector| selector.text.as_str()).collect();
        assert_eq!(texts, [r#"m{x="1",y!~"2.."}"#, "n", "o", r#"p{z=""}"#]);
        assert_eq!(asked.selectors[0].labels, ["x".to_owned(), "y".to_owned()].into());
        let groupings: Vec<_> = asked
            .groupings
            .iter()
            .map(|grouping| (grouping.label.as_str(), grouping.metrics.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        assert_eq!(groupings, [("a", vec!["m"]), ("b", vec!["m"]), ("b", vec!["n"]), ("c", vec!["m", "n"])]);
    }

    #[test]
    fn what_is_no_promql_is_refused() {
        for text in ["sum by (a", "rate(m[$__rate_interval])", "{x=\"1\"}", "m[5m"] {
            assert!(std::panic::catch_unwind(|| parse(text)).is_err(), "{text}");
        }
    }
}
