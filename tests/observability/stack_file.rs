//! Parses `docker-compose.observability.yml`, merged and with the defaults of its variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use observability_tests::schema::repository;
use serde_json::Value;

/// The file's name in the root folder.
pub(crate) const FILE: &str = "docker-compose.observability.yml";

/// Reads a file of the repository.
#[track_caller]
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Parses YAML to JSON and merges `<<`.
#[track_caller]
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The compose file with the default of each variable, or `project` if it has none.
#[track_caller]
pub(crate) fn stack() -> Value {
    let raw = text(FILE);
    let mut filled = String::new();
    let mut rest = raw.as_str();
    while let Some(start) = rest.find("${") {
        let end = start + rest[start..].find('}').unwrap();
        filled.push_str(&rest[..start]);
        filled.push_str(rest[start + 2..end].split_once(":-").map_or("project", |(_, default)| default));
        rest = &rest[end + 1..];
    }
    filled.push_str(rest);
    yaml(&filled)
}

/// Services by name.
#[track_caller]
pub(crate) fn services() -> BTreeMap<String, Value> {
    serde_json::from_value(stack()["services"].take()).unwrap()
}

/// The variables of the compose file with their defaults; `None` for required ones.
#[track_caller]
pub(crate) fn variables() -> BTreeMap<String, Option<String>> {
    let raw = text(FILE);
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    for part in raw.split("${").skip(1) {
        let inside = part.split('}').next().unwrap();
        let name: String = inside.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let default = inside.split_once(":-").map(|(_, default)| default.to_owned());
        if let Some(other) = found.insert(name.clone(), default.clone()) {
            assert_eq!(other, default, "{name} has two defaults");
        }
    }
    found
}

/// Published ports of the host by `service:port`.
#[track_caller]
pub(crate) fn ports() -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for (service, definition) in services() {
        for port in definition["ports"].as_array().into_iter().flatten() {
            let [host, outside, inside]: [&str; 3] =
                port.as_str().unwrap().split(':').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(host, "127.0.0.1", "{service} is published beyond the loopback interface");
            found.insert(format!("{service}:{inside}"), outside.parse().unwrap());
        }
    }
    found
}

/// The environment variables of a service.
#[track_caller]
pub(crate) fn environment(service: &str) -> BTreeMap<String, String> {
    let given: BTreeMap<String, Value> = serde_json::from_value(services()[service]["environment"].clone()).unwrap();
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    given.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// All files with a suffix below a folder of the repository.
#[track_caller]
pub(crate) fn files_below(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found
}
