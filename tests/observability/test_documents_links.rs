//! Every document's links and paths lead somewhere, every document is reachable from the index, and ARCHITECTURE.md's table
//! of changes names files that exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use observability_tests::documents::Document;
use observability_tests::schema::repository;

use crate::test_documents::read;

/// The document that leads to all others.
const INDEX: &str = "docs/README.md";

/// Folders without documents of this repository: what is built, unpacked or left by runs.
const NOT_SEARCHED: [&str; 6] = ["target", ".git", ".cache", "data", ".local", "corpus"];

/// Folders of the repository: code in a document that begins with one of them is a path.
const FOLDERS: [&str; 7] = ["backend/", "shipper/", "infra/", "tests/", "specs/", "docs/", "fuzz/"];

/// Paths of all Markdown files, relative to the repository. A symbolic link counts as its target.
pub(crate) fn documents() -> Vec<String> {
    files_with_extension("md")
}

/// Paths of all files with an extension, relative to the repository, without symbolic links.
fn files_with_extension(extension: &str) -> Vec<String> {
    fn search(folder: &Path, extension: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type().unwrap());
            if kind.is_dir() && NOT_SEARCHED.iter().all(|name| entry.file_name() != *name) {
                search(&path, extension, found);
            } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    search(Path::new(""), extension, &mut found);
    found.sort();
    found
}

/// A path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => assert!(normalized.pop(), "{} leads out of the repository", path.display()),
            other => normalized.push(other),
        }
    }
    normalized
}

/// Links of a document to files of this repository, with the lines they are on and their anchors.
fn local_links(path: &str) -> Vec<(usize, PathBuf, String)> {
    let folder = Path::new(path).parent().unwrap();
    let links = read(path).links().into_iter().filter(|(_, link)| !link.contains("://"));
    links
        .map(|(line, link)| {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { PathBuf::from(path) } else { normalized(&folder.join(file)) };
            (line, target, anchor.to_owned())
        })
        .collect()
}

#[test]
fn documents_links_and_paths_lead_somewhere() {
    let all = documents();
    assert!(all.len() > 40, "{all:?}");
    let mut faults = Vec::new();
    for path in &all {
        for (line, target, anchor) in local_links(path) {
            if !repository().join(&target).exists() {
                faults.push(format!("{path}, line {line}: there is no {}", target.display()));
            } else if !anchor.is_empty() && !read(target.to_str().unwrap()).anchors().contains(&anchor) {
                faults.push(format!("{path}, line {line}: {} has no heading {anchor}", target.display()));
            }
        }
        for (line, code) in read(path).code() {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder)) && !code.contains([' ', '{', '*']);
            if is_path && !repository().join(&code).exists() {
                faults.push(format!("{path}, line {line}: there is no {code}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn documents_are_reachable_from_the_index() {
    let (mut reached, mut open) = (BTreeSet::new(), vec![INDEX.to_owned()]);
    while let Some(path) = open.pop() {
        if reached.insert(path.clone()) {
            let links = local_links(&path).into_iter().map(|(_, target, _)| target);
            let documents = links.filter(|target| target.extension().is_some_and(|extension| extension == "md"));
            open.extend(documents.map(|target| target.to_str().unwrap().to_owned()));
        }
    }
    let missed: Vec<_> = documents().into_iter().filter(|path| !reached.contains(path)).collect();
    assert!(missed.is_empty(), "{INDEX} does not lead to {missed:?}");
}

#[test]
fn documents_name_only_tests_that_exist() {
    let sources =
        files_with_extension("rs").into_iter().map(|path| std::fs::read_to_string(repository().join(path)).unwrap());
    let sources: String = sources.collect();
    let mut named = 0;
    for path in ["docs/mutants.md", "docs/simulation.md"] {
        for (line, code) in read(path).code() {
            let name = code.rsplit("::").next().unwrap();
            let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            // Settings have one underscore, sentences have more.
            if is_name && name.matches('_').count() > 1 {
                named += 1;
                assert!(sources.contains(&format!("fn {name}(")), "{path}, line {line}: there is no test {name}");
            }
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

#[test]
fn readme_is_short() {
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let words = text.split_whitespace().count();
    assert!(words < 1500, "{words} words");
}

#[test]
fn architecture_names_the_file_to_open_for_each_change() {
    let rows = read("ARCHITECTURE.md").table("To change X, open Y");
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        let document = Document::parse(&row[1]).unwrap();
        let paths: Vec<_> = document.code().into_iter().map(|(_, code)| code).collect();
        assert!(!paths.is_empty(), "{row:?} names no file");
        for path in paths {
            assert!(repository().join(&path).is_file(), "{row:?}: there is no {path}");
        }
    }
}

#[test]
fn architecture_names_modules_that_exist() {
    for (heading, sources) in [
        ("`backend/observability`: a request becomes metrics and lines", "backend/observability/src"),
        ("`backend`: lines are found again", "backend/src"),
        ("`shipper`: a line reaches its store", "shipper/src"),
    ] {
        let rows = read("ARCHITECTURE.md").table(heading);
        assert!(!rows.is_empty(), "no table below {heading}");
        for row in rows {
            for (_, module) in Document::parse(&row[0]).unwrap().code() {
                let path = repository().join(sources).join(&module);
                let exists = path.is_dir() || path.with_extension("rs").is_file();
                assert!(exists, "{sources} has no module {module}");
            }
        }
    }
}
