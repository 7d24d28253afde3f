//! Checks the accessibility of pages with axe-core.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Look, Page};
use crate::schema::repository;

/// Panics if the page has accessibility violations in its current state.
#[track_caller]
pub fn assert_accessible(page: &Page) {
    let found = violations(page);
    assert!(found.is_empty(), "{} has accessibility violations:\n{}", page.path(), found.join("\n"));
}

/// The rules that the page violates in the light or dark color scheme, with elements and remedies. The rules are those of
/// WCAG 2.2 up to level AA and axe-core's best practices. Needs JavaScript, and leaves the page in the light scheme.
#[track_caller]
pub fn violations(page: &Page) -> Vec<String> {
    let folder = std::env::var_os("CACHE_DIR").map_or_else(|| repository().join(".cache"), PathBuf::from);
    let axe = folder.join("axe-core/axe.min.js");
    let axe =
        std::fs::read_to_string(&axe).unwrap_or_else(|error| panic!("{}: {error}: run `make deps`", axe.display()));
    page.script(&axe, &[]);
    let mut found = Vec::new();
    for look in [Look::Dark, Look::Light] {
        page.look(look);
        let script = "const done = arguments[arguments.length - 1]; \
            axe.run(document, { resultTypes: ['violations'] }).then(done, error => done({ error: String(error) }))";
        let result = page.script_later(script, &[]);
        let violations = result["violations"].as_array().unwrap_or_else(|| panic!("axe-core failed: {result}"));
        found.extend(violations.iter().map(|violation| format!("in {}: {}", look.name(), readable(violation))));
    }
    found
}

fn readable(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let nodes: Vec<_> = nodes
        .map(|node| {
            let summary = node["failureSummary"].as_str().unwrap_or_default().replace('\n', " ");
            format!("    {} {}", node["target"].get(0).unwrap_or(&json!(null)), summary)
        })
        .collect();
    let text = |name: &str| violation[name].as_str().unwrap_or_default();
    format!("{} ({}): {}\n{}", text("id"), text("impact"), text("help"), nodes.join("\n"))
}
