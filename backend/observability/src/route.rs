//! Finds the route pattern of a request.
//!
//! A request that ended early (panic, disconnected client, error of a middleware) does not report its route. Its pattern
//! is then looked up by the path, and unknown if several patterns match.

use actix_web::HttpRequest;
use actix_web::dev::{ResourceDef, ResourceMap};

/// The pattern that routing matched; `None` if no route matched or routing was not reached. In these cases Actix's
/// `match_pattern` looks up the path and may return a route that rejected the request.
pub(crate) fn matched_pattern(request: &HttpRequest) -> Option<String> {
    let path = request.match_info();
    let (whole, rest) = (path.as_str(), path.unprocessed());
    if rest.len() == whole.len() && !whole.is_empty() {
        return None;
    }
    let pattern = request.match_pattern()?;
    // only a prefix of the path matched: either a service such as static files, or a scope without a route for the rest
    let is_matched = rest.is_empty() || !ResourceDef::new(pattern.as_str()).is_match(whole);
    is_matched.then_some(pattern)
}

/// The route patterns of an app.
#[derive(Debug)]
pub(crate) struct Routes(Option<Node>);

#[derive(Debug)]
struct Node {
    definition: ResourceDef,
    /// `None` for a resource, which matches all of the remaining path.
    children: Option<Vec<Self>>,
}

impl Routes {
    /// Reads the patterns from the `Debug` output of Actix's map, the only way to list them. If that format changes, no
    /// pattern is found and a request that ended early has an unknown route; the tests detect it.
    pub(crate) fn read(map: &ResourceMap) -> Self {
        let text = format!("{map:?}");
        Self(Value::parse(&text).and_then(|map| Node::read(&map)))
    }

    /// The only pattern that matches this path; `None` if several or none do.
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

/// A parsed `Debug` output: a string, or a name with the values in its brackets and their field names, if any.
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

    /// All strings within the value, in order.
    fn strings(&self) -> Vec<String> {
        match self {
            Self::String(text) => vec![text.clone()],
            Self::Node(_, parts) => parts.iter().flat_map(|(_, part)| part.strings()).collect(),
        }
    }
}

/// Parses a quoted string. Unescapes `\\`, `\"` and `\'`, the escapes that occur in patterns, and keeps others unchanged.
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
    fn the_only_matching_pattern_is_found() {
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
