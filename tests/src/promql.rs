//! Parses PromQL expressions into the series they select and the labels they group and join by.

use std::collections::BTreeSet;

use promql_parser::parser::{self, BinModifier, Expr, LabelModifier, VectorSelector};

/// The selectors and groupings of an expression.
#[derive(Debug, Default)]
pub struct Expression {
    /// Every selector, without range and offset.
    pub selectors: Vec<Selector>,
    /// Labels in `by`, `without`, `on`, `ignoring` and `group_…` clauses.
    pub groupings: Vec<Grouping>,
}

/// A selector.
#[derive(Debug)]
pub struct Selector {
    /// Name of the metric.
    pub metric: String,
    /// The selector in PromQL.
    pub text: String,
    /// Labels with a matcher.
    pub labels: BTreeSet<String>,
}

/// A label that at least one of these metrics must have.
#[derive(Debug)]
pub struct Grouping {
    /// The label.
    pub label: String,
    /// Metrics in the operand.
    pub metrics: BTreeSet<String>,
}

/// Parses an expression. Panics if it is invalid.
#[track_caller]
pub fn parse(expression: &str) -> Expression {
    let tree = parser::parse(expression).unwrap_or_else(|error| panic!("{error}: {expression}"));
    let mut parsed = Expression::default();
    parsed.walk(&tree);
    parsed
}

impl Expression {
    /// Collects from a subtree and returns the metrics in it.
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
        let metric = selector.name.clone().expect("every selector must name a metric");
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
        if let Some(included) = modifier.card.labels() {
            self.group(&included.labels, &left.union(right).cloned().collect());
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
    fn selectors_and_groupings_are_found_at_any_depth() {
        let parsed = parse(
            r#"topk(3, sum by (a) (rate(m{x="1", y!~"2.."}[5m] offset 1h)))
               / on (b) group_left (c) (n > bool 0) or max_over_time((-o)[10m:1m]) and absent(p{z=""})"#,
        );
        let texts: Vec<_> = parsed.selectors.iter().map(|selector| selector.text.as_str()).collect();
        assert_eq!(texts, [r#"m{x="1",y!~"2.."}"#, "n", "o", r#"p{z=""}"#]);
        assert_eq!(parsed.selectors[0].labels, ["x".to_owned(), "y".to_owned()].into());
        let groupings: Vec<_> = parsed
            .groupings
            .iter()
            .map(|grouping| (grouping.label.as_str(), grouping.metrics.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        assert_eq!(groupings, [("a", vec!["m"]), ("b", vec!["m"]), ("b", vec!["n"]), ("c", vec!["m", "n"])]);
    }

    #[test]
    fn invalid_promql_is_rejected() {
        for text in ["sum by (a", "rate(m[$__rate_interval])", "{x=\"1\"}", "m[5m"] {
            assert!(std::panic::catch_unwind(|| parse(text)).is_err(), "{text}");
        }
    }
}
