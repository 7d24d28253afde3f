//! The pattern of the route that took a request.
//!
//! A request that ended early (a panic, a client that disconnected, a middleware's error) takes with it what routing
//! decided. Its pattern is then the only one that can take its path; where there are several, it is not known.

use actix_web::HttpRequest;
use actix_web::dev::{ResourceDef, ResourceMap};

/// The pattern that routing took; none if it took no route, or was not reached. Actix itself looks the path up there,
/// which may name a route that refused the request.
pub(crate) fn taken(request: &HttpRequest) -> Option<String> {
    let path = request.match_info();
    let (whole, rest) = (path.as_str(), path.unprocessed());
    if rest.len() == whole.len() && !whole.is_empty() {
        return None;
    }
    let pattern = request.match_pattern()?;
    // the beginning of the path was taken: by a service of its own, such as static files, or by a scope that had no
    // route for the rest
    let taken = rest.is_empty() || !ResourceDef::new(pattern.as_str()).is_match(whole);
    taken.then_some(pattern)
}

/// The patterns of an app.
#[derive(Debug)]
pub(crate) struct Routes(Option<Node>);

#[derive(Debug)]
struct Node {
    definition: ResourceDef,
    /// None for a resource, which takes the whole rest of a path.
    children: Option<Vec<Self>>,
}

impl Routes {
    /// Reads the patterns out of Actix's map, which shows them by `Debug` only. If that changes, there are none, and a
    /// request that ended early has no known route; the tests say so.
    pub(crate) fn read(map: &ResourceMap) -> Self {
        let text = format!("{map:?}");
        Self(Value::parse(&text).and_then(|map| Node::read(&map)))
    }

    /// The one pattern that can take this path; none if there are several, or none.
    pub(crate) fn only_candidate(&self, path: &str) -> Option<String> {
        let mut found = Vec::new();
        self.0.as_ref()?.candidates(path, String::new(), &mut found);
        let first = found.pop()?;
        found.iter().all(|other| *other == first).then_some(first)
    }
}

impl Node {
    fn read(map: &Value<'_>) -> Option<Self> {
        let pattern = map.field("pattern")?;
        let patterns: Vec<String> = pattern.field("patterns")?.strings();
        let is_prefix = matches!(pattern.field("is_prefix")?, Value::Node("true", _));
        let definition = match (is_prefix, patterns.as_slice()) {
            (true, [prefix]) => ResourceDef::prefix(prefix.as_str()),
            (true, _) => ResourceDef::prefix(patterns),
            (false, [only]) => ResourceDef::new(only.as_str()),
            (false, _) => ResourceDef::new(patterns),
        };
        let children = match map.field("nodes")? {
            Value::Node("Some", list) => match list.as_slice() {
                [(_, Value::Node("", nodes))] => {
                    Some(nodes.iter().map(|(_, node)| Self::read(node)).collect::<Option<_>>()?)
                }
                _ => return None,
            },
            _ => None,
        };
        Some(Self { definition, children })
    }

    fn candidates(&self, path: &str, before: String, found: &mut Vec<String>) {
        let Some(length) = self.definition.find_match(path) else { return };
        let pattern = before + self.definition.pattern().unwrap_or_default();
        match &self.children {
            Some(children) => {
                children.iter().for_each(|child| child.candidates(&path[length..], pattern.clone(), found));
            }
            None => found.push(pattern),
        }
    }
}

/// What `Debug` prints of a value: a string, or a name with what stands in its brackets, by field if they have names.
#[derive(Debug)]
enum Value<'a> {
    String(String),
    Node(&'a str, Vec<(&'a str, Self)>),
}

impl<'a> Value<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let value = Self::next(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    fn next(rest: &mut &'a str) -> Option<Self> {
        if rest.starts_with('"') {
            return quoted(rest).map(Self::String);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        *rest = after;
        let opened = rest.trim_start();
        let Some(close) = opened.chars().next().and_then(|open| match open {
            '{' => Some('}'),
            '(' => Some(')'),
            '[' => Some(']'),
            _ => None,
        }) else {
            return (!name.is_empty()).then_some(Self::Node(name, Vec::new()));
        };
        *rest = opened[1..].trim_start();
        let mut parts = Vec::new();
        loop {
            if let Some(after) = rest.strip_prefix(close) {
                *rest = after;
                return Some(Self::Node(name, parts));
            }
            let mut part = ("", Self::next(rest)?);
            if let Some(after) = rest.strip_prefix(": ") {
                *rest = after;
                let name = if let Self::Node(name, _) = part.1 { name } else { "" };
                part = (name, Self::next(rest)?);
            }
            parts.push(part);
            *rest = rest.trim_start();
            *rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
    }

    fn field(&self, name: &str) -> Option<&Self> {
        let Self::Node(_, parts) = self else { return None };
        parts.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All strings in it, in order.
    fn strings(&self) -> Vec<String> {
        match self {
            Self::String(text) => vec![text.clone()],
            Self::Node(_, parts) => parts.iter().flat_map(|(_, part)| part.strings()).collect(),
        }
    }
}

/// Reads a quoted string. Of the escapes, those that patterns have: `\\` and `\"`; another one is kept as it stands.
fn quoted(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            '\\' => match chars.next()?.1 {
                c @ ('\\' | '"' | '\'') => text.push(c),
                c => text.extend(['\\', c]),
            },
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_only_pattern_that_can_take_a_path_is_found() {
        let mut scope = ResourceMap::new(ResourceDef::root_prefix("/s/{id}"));
        scope.add(&mut ResourceDef::new("/u"), None);
        let mut map = ResourceMap::new(ResourceDef::prefix(""));
        map.add(&mut ResourceDef::new("/a/{x}"), None);
        map.add(&mut ResourceDef::new("/a/b"), None);
        map.add(&mut ResourceDef::new(r#"/n/{n:\d{1,3}"?}"#), None);
        map.add(&mut ResourceDef::root_prefix("/s/{id}"), Some(Rc::new(scope)));
        map.add(&mut ResourceDef::root_prefix("/files"), None);
        map.add(&mut ResourceDef::new(vec!["/one", "/two"]), None);
        let mut named = ResourceDef::new("/named");
        named.set_name("a \"name\", {so}: [on]");
        map.add(&mut named, None);
        let routes = Routes::read(&map);
        for (path, pattern) in [
            ("/a/c", Some("/a/{x}")),
            ("/a/b", None),
            ("/n/12", Some(r#"/n/{n:\d{1,3}"?}"#)),
            ("/n/x", None),
            ("/s/7/u", Some("/s/{id}/u")),
            ("/s/7/v", None),
            ("/s/7", None),
            ("/files/a/b.css", Some("/files")),
            ("/named", Some("/named")),
            ("/nowhere", None),
        ] {
            assert_eq!(routes.only_candidate(path).as_deref(), pattern, "{path}");
        }
        assert!(routes.only_candidate("/two").is_some());
    }
}
