//! Valid request and project ids.

/// Maximum length of a request or project id. Longer ids are invalid.
pub const MAX_ID_CHARS: usize = 128;

/// Whether a request or project id is valid: 1–128 characters of `A-Z a-z 0-9 . _ - : / + =`.
pub fn is_valid_id(id: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/+=".contains(byte);
    (1..=MAX_ID_CHARS).contains(&id.len()) && id.iter().all(valid)
}

/// Converts bytes that are known to be ASCII.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
