//! Streams: standard input, or the standard output of a command. Their bytes are in spool segments.

use super::Describe;

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSource {
    name: String,
}

impl StreamSource {
    /// Creates the source of a stream with this name, such as `stdout`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Describe for StreamSource {
    fn each_field(&self, with: &mut dyn FnMut(&'static str, &str)) {
        with("stream", &self.name);
    }
}
