//! Values that were moved, by the path of their key.

use std::collections::BTreeMap;

use serde_json::Value;

/// The key of values whose paths would in total be longer than the line.
const ELSEWHERE: &str = "…";

/// The values, as JSON texts.
#[derive(Debug)]
pub(super) struct Replaced {
    /// Remaining bytes for paths. With many short duplicates at a deep level they would be far longer than the line.
    room: usize,
    values: BTreeMap<String, Vec<String>>,
}

impl Replaced {
    /// Empty, for a line of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        Self { room: length, values: BTreeMap::new() }
    }

    /// Adds the value of a `key` of the object at the end of `path`.
    pub(super) fn add(&mut self, path: &[String], key: &str, value: String) {
        let length = path.iter().map(|key| key.len() + 1).sum::<usize>() + key.len();
        let place = match self.room.checked_sub(length) {
            Some(rest) => {
                self.room = rest;
                path.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join(".")
            }
            None => ELSEWHERE.to_owned(),
        };
        self.values.entry(place).or_default().push(value);
    }

    /// A JSON object with a value per path, or a list if there are several; empty if there are none.
    pub(super) fn into_json(self) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let members = self.values.into_iter().map(|(place, values)| {
            let value = if let [value] = &values[..] { value.clone() } else { format!("[{}]", values.join(",")) };
            format!("{}:{value}", Value::from(place))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}
