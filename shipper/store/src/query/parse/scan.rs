//! Splits a query into tokens.

use super::super::QueryError;

/// A token of a query. Texts keep their backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'q> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// A `-` right before a term.
    Minus,
    /// A name followed by a colon.
    Field(&'q str),
    /// A quoted text, without the quotes.
    Quoted(&'q str),
    /// Any other text up to white space, a parenthesis or a quote, including keywords.
    Word(&'q str),
}

/// The tokens in order, each with its byte offset.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'q> {
    query: &'q str,
    at: usize,
}

impl<'q> Scanner<'q> {
    pub(super) fn new(query: &'q str) -> Self {
        Self { query, at: 0 }
    }

    /// Returns the offset of the next token.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'q str {
        &self.query[self.at..]
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.query.len() - self.rest().trim_start().len();
    }

    pub(super) fn peek(&self) -> Result<Option<(usize, Token<'q>)>, QueryError> {
        self.clone().next()
    }

    pub(super) fn next(&mut self) -> Result<Option<(usize, Token<'q>)>, QueryError> {
        self.skip_space();
        let at = self.at;
        let rest = self.rest();
        if let Some(name) = field_name(rest) {
            self.at += name.len() + 1;
            return Ok(Some((at, Token::Field(name))));
        }
        if rest.starts_with('-') && rest[1..].starts_with(|next: char| !next.is_whitespace() && next != ')') {
            self.at += 1;
            return Ok(Some((at, Token::Minus)));
        }
        self.next_value(at)
    }

    /// Returns the token at this offset, where a name with a colon is not special. Returns `None` at white space, a
    /// closing parenthesis or the end.
    pub(super) fn next_value(&mut self, at: usize) -> Result<Option<(usize, Token<'q>)>, QueryError> {
        self.at = at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let token = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '"' => return self.quoted(at).map(Some),
            _ if first.is_whitespace() => return Ok(None),
            _ => {
                let word = &rest[..end_of_word(rest)];
                self.at += word.len();
                return Ok(Some((at, Token::Word(word))));
            }
        };
        self.at += 1;
        Ok(Some((at, token)))
    }

    fn quoted(&mut self, at: usize) -> Result<(usize, Token<'q>), QueryError> {
        let inner = &self.query[at + 1..];
        let mut escaped = false;
        for (end, byte) in inner.bytes().enumerate() {
            if byte == b'"' && !escaped {
                self.at = at + 1 + end + 1;
                return Ok((at, Token::Quoted(&inner[..end])));
            }
            escaped = byte == b'\\' && !escaped;
        }
        Err(QueryError::new(
            self.query,
            at,
            "an unclosed quote",
            "add a closing `\"`, or write `\\\"` for the character",
        ))
    }

    /// Consumes a keyword if it comes next.
    pub(super) fn take_keyword(&mut self, keyword: &str) -> Result<bool, QueryError> {
        let mut ahead = self.clone();
        let is_next = matches!(ahead.next()?, Some((_, Token::Word(word))) if word == keyword);
        if is_next {
            *self = ahead;
        }
        Ok(is_next)
    }
}

/// Returns the name before a colon at the start of a text.
fn field_name(text: &str) -> Option<&str> {
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')))?;
    let named = text.as_bytes()[end] == b':' && text.starts_with(|first: char| first.is_ascii_alphabetic());
    named.then(|| &text[..end])
}

fn end_of_word(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if !escaped && (character.is_whitespace() || matches!(character, '(' | ')' | '"')) {
            return at;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}
