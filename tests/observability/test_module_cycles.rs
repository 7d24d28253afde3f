//! The modules of each crate depend on each other without cycles, except for those in [`KNOWN`], and those of the shipper
//! only on modules of their own layer and below.
//!
//! A module depends on another if its code, tests aside, names an item of it by a path that starts with `crate::`, `super::`
//! or `self::`. Dependencies are compared among siblings: one of `access::reader` on `page::text` is one of `access` on `page`.
//! A module and its own submodules may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use observability_tests::schema::repository;

/// The crates, by their directories.
const CRATES: [&str; 6] = ["backend", "backend/observability", "shipper", "shipper/store", "tests", "xtask"];

/// Cycles that are there: crate, modules, and why they stay.
const KNOWN: &[(&str, &[&str], &str)] = &[
    ("shipper", &["cli", "commands"], "commands take the options that `cli` parses, and `cli` lists the commands"),
    ("shipper", &["config::check", "config::files"], "to be split"),
];

/// A layer of a crate.
struct Layer {
    modules: &'static [&'static str],
    /// Whether its modules do not use each other.
    is_independent: bool,
}

/// The layers of the shipper's library, from the bottom. A module uses only its own layer and those below.
const SHIPPER_LAYERS: [Layer; 7] = [
    Layer { modules: &["clock", "disk", "random", "sync"], is_independent: true },
    Layer {
        modules: &["compressed", "document", "encoding", "escape", "ndjson", "reader", "record", "sources"],
        is_independent: false,
    },
    Layer { modules: &["completed", "dead_letters", "journal", "ledger"], is_independent: false },
    // The stages.
    Layer { modules: &["delivery", "files", "spool"], is_independent: true },
    Layer { modules: &["pipeline"], is_independent: true },
    Layer {
        modules: &["config", "retention", "shipper", "sink", "start_error", "status_log", "store_watch"],
        is_independent: false,
    },
    Layer { modules: &["inspect", "resend", "verify"], is_independent: true },
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The source files of a crate by module path, such as `access::reader`; that of the crate itself is empty.
fn modules(source: &Path) -> BTreeMap<String, String> {
    fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let child = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
            if path.is_dir() {
                collect(&path, &child(&name), found);
            } else if let Some(stem) = name.strip_suffix(".rs") {
                let module = match stem {
                    "lib" | "mod" => prefix.to_owned(),
                    // The program and unit tests are on top of everything.
                    "main" | "tests" => continue,
                    stem => child(stem),
                };
                found.insert(module, code(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(source, "", &mut found);
    found
}

/// A source file without comments and without its tests.
fn code(text: &str) -> String {
    let without_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = without_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a tree such as `a::{b, c::D}`, each as its segments, at the start of a text.
fn paths(text: &str) -> Vec<Vec<String>> {
    fn tree<'t>(mut text: &'t str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'t str {
        let mut path = prefix.to_vec();
        loop {
            text = text.trim_start();
            if let Some(rest) = text.strip_prefix('{') {
                text = rest;
                loop {
                    text = text.trim_start().trim_start_matches(',').trim_start();
                    match text.strip_prefix('}') {
                        Some(rest) => return rest,
                        None if text.is_empty() => return text,
                        None => {
                            let rest = tree(text, &path, found);
                            // What is no path ends the list.
                            text = if rest.len() == text.len() { "" } else { rest };
                        }
                    }
                }
            }
            let end = text.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(text.len());
            path.push(text[..end].to_owned());
            text = &text[end..];
            match text.strip_prefix("::") {
                Some(rest) => text = rest,
                None => {
                    found.push(path);
                    let renamed = text.trim_start().strip_prefix("as ");
                    return renamed.map_or(text, |rest| {
                        rest.trim_start_matches(|sign: char| sign.is_alphanumeric() || sign == '_')
                    });
                }
            }
        }
    }
    let mut found = Vec::new();
    tree(text, &[], &mut found);
    found
}

/// The paths that a module names, from the crate's root.
fn named(module: &str, code: &str) -> Vec<Vec<String>> {
    let own: Vec<String> = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut found = Vec::new();
    for keyword in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(keyword) {
            let is_word =
                code[..at].chars().next_back().is_some_and(|sign| sign.is_alphanumeric() || ":$_".contains(sign));
            if is_word {
                continue;
            }
            let (mut base, mut rest) = (own.clone(), &code[at + keyword.len()..]);
            match keyword {
                "crate::" => base.clear(),
                "super::" => {
                    base.pop();
                    while let Some(further) = rest.strip_prefix("super::") {
                        base.pop();
                        rest = further;
                    }
                }
                _ => {}
            }
            found.extend(paths(rest).into_iter().map(|path| [base.clone(), path].concat()));
        }
    }
    found
}

/// Where a module gets the names from that it exports again, from its own submodules.
fn exports(module: &str, code: &str, modules: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for statement in ["pub use ", "pub(crate) use ", "pub(super) use "] {
        for (at, _) in code.match_indices(statement) {
            for path in paths(&code[at + statement.len()..]) {
                let path: Vec<_> = path.into_iter().skip_while(|part| part == "self").collect();
                let Some((name, parents)) = path.split_last() else { continue };
                let base = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
                let parent = base.chain(parents.iter().cloned()).collect::<Vec<_>>().join("::");
                if !parents.is_empty() && modules.contains_key(&parent) {
                    exports.insert(name.clone(), parent);
                }
            }
        }
    }
    exports
}

/// The names that each module exports from its submodules.
type Exports = BTreeMap<String, BTreeMap<String, String>>;

/// The module that has an item, given its path.
fn owner(path: &[String], modules: &BTreeMap<String, String>, exports: &Exports) -> Option<String> {
    let Some(length) = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length].join("::"))) else {
        return exports.get("")?.get(path.first()?).cloned();
    };
    let module = path[..length].join("::");
    let exported = path.get(length).and_then(|name| exports.get(&module)?.get(name));
    Some(exported.cloned().unwrap_or(module))
}

/// The dependencies among siblings, by their parent.
fn graphs(modules: &BTreeMap<String, String>) -> BTreeMap<String, Graph> {
    let exports: Exports =
        modules.iter().map(|(module, code)| (module.clone(), exports(module, code, modules))).collect();
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    for (module, code) in modules.iter().filter(|(module, _)| !module.is_empty()) {
        let from: Vec<_> = module.split("::").collect();
        for target in named(module, code).iter().filter_map(|path| owner(path, modules, &exports)) {
            let to: Vec<_> = target.split("::").collect();
            let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
            if common < from.len() && common < to.len() {
                let graph = graphs.entry(from[..common].join("::")).or_default();
                graph.entry(from[common].to_owned()).or_default().insert(to[common].to_owned());
            }
        }
    }
    graphs
}

/// The modules that can be reached from one.
fn reached<'g>(graph: &'g Graph, from: &'g str) -> BTreeSet<&'g str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

/// The cycles of a crate, each as the modules that reach each other.
fn cycles(modules: &BTreeMap<String, String>) -> BTreeSet<BTreeSet<String>> {
    let mut cycles = BTreeSet::new();
    for (parent, graph) in graphs(modules) {
        for module in graph.keys() {
            let reached_here = reached(&graph, module);
            if reached_here.contains(module.as_str()) {
                let both = reached_here.into_iter().filter(|other| reached(&graph, other).contains(module.as_str()));
                let full = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}::{name}") };
                cycles.insert(both.map(full).collect());
            }
        }
    }
    cycles
}

#[test]
fn modules_depend_on_each_other_without_cycles() {
    let mut found = BTreeSet::new();
    for name in CRATES {
        let modules = modules(&repository().join(name).join("src"));
        assert!(modules.len() > 3, "{name}: {:?}", modules.keys());
        found.extend(cycles(&modules).into_iter().map(|cycle| (name, cycle)));
    }
    let named = |(name, modules, _): &(&'static str, &[&str], &str)| {
        (*name, modules.iter().map(|module| (*module).to_owned()).collect::<BTreeSet<_>>())
    };
    let known: BTreeSet<_> = KNOWN.iter().map(named).collect();
    let new: Vec<_> = found.difference(&known).collect();
    let stale: Vec<_> = known.difference(&found).collect();
    assert!(new.is_empty() && stale.is_empty(), "new cycles: {new:#?}\nno longer there: {stale:#?}");
}

/// The dependencies that layers forbid, each as the module and what it uses.
fn violations(layers: &[Layer], graph: &Graph) -> Vec<(String, String)> {
    let layer_of = |module: &str| layers.iter().position(|layer| layer.modules.contains(&module));
    let is_forbidden = |from: &str, to: &str| match (layer_of(from), layer_of(to)) {
        (Some(from), Some(to)) => to > from || to == from && layers[from].is_independent,
        _ => false,
    };
    let edges = graph.iter().flat_map(|(from, all)| all.iter().map(move |to| (from.clone(), to.clone())));
    edges.filter(|(from, to)| is_forbidden(from, to)).collect()
}

#[test]
fn modules_of_the_shipper_use_only_their_own_layer_and_those_below() {
    let modules = modules(&repository().join("shipper/src"));
    let declared = modules[""].lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let declared: BTreeSet<_> = declared.map(|name| name.trim_end_matches(';')).collect();
    let layered: BTreeSet<_> = SHIPPER_LAYERS.iter().flat_map(|layer| layer.modules.iter().copied()).collect();
    assert_eq!(declared, layered, "each module of the library is in one layer");
    assert_eq!(violations(&SHIPPER_LAYERS, &graphs(&modules)[""]), []);
}

#[test]
fn a_layer_may_not_use_the_one_above_nor_an_independent_one_itself() {
    let layers =
        [Layer { modules: &["a", "b"], is_independent: true }, Layer { modules: &["c", "d"], is_independent: false }];
    let edges = [("a", "b"), ("a", "c"), ("c", "a"), ("c", "d")];
    let graph = edges.iter().fold(Graph::new(), |mut graph, (from, to)| {
        graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        graph
    });
    let forbidden = [("a", "b"), ("a", "c")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    assert_eq!(violations(&layers, &graph), forbidden);
}

#[test]
fn a_cycle_is_found_also_through_an_export() {
    let crate_of = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(module, text)| ((*module).to_owned(), code(text))).collect()
    };
    let direct = crate_of(&[
        ("", ""),
        ("a", "use crate::b::{self, c::D};"),
        ("b", "// use crate::a;"),
        ("b::c", "fn f() { crate::a::g() }"),
    ]);
    assert_eq!(cycles(&direct), BTreeSet::from([BTreeSet::from(["a".to_owned(), "b".to_owned()])]));
    let exported = crate_of(&[
        ("", ""),
        ("a", "pub mod b;\npub mod c;\npub use b::Thing;"),
        ("a::b", "use super::c::Other;"),
        ("a::c", "use crate::a::Thing;\n#[cfg(test)]\nmod tests { use crate::d::E; }"),
        ("d", "use crate::a::Thing;"),
    ]);
    assert_eq!(cycles(&exported), BTreeSet::from([BTreeSet::from(["a::b".to_owned(), "a::c".to_owned()])]));
    let none = crate_of(&[("", ""), ("a", "use crate::b::C as D;"), ("b", "mod c;"), ("b::c", "use super::X;")]);
    assert_eq!(cycles(&none), BTreeSet::new());
}
