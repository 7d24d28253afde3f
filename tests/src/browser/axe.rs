//! axe-core's judgement of a page: whether people can use it who see little, see no colours, or use no mouse.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Look, Page};
use crate::schema::repository;

/// Panics with what keeps people from using a page as it is now.
#[track_caller]
pub fn assert_accessible(page: &Page) {
    let found = violations(page);
    assert!(found.is_empty(), "{} can't be used by everyone:\n{}", page.path(), found.join("\n"));
}

/// The rules that a page as it is now violates in light or in dark, of WCAG 2.2 up to level AA and of axe-core's best
/// practice: each with its elements and what would mend it. The page is left in light. It has to have JavaScript.
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
