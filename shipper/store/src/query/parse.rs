//! Parses a query. The grammar, in which a space between two terms is an AND:
//!
//! ```text
//! query   = [ or ]
//! or      = and { "OR" and }
//! and     = term { [ "AND" ] term }
//! term    = ( "NOT" | "-" ) term | "(" or ")" | "*" | quoted | word | field ":" values
//! values  = "*" | value | "(" value { "OR" value } ")"
//! value   = quoted | characters except white space, parentheses and quotes
//! quoted  = '"' characters '"', in which \" and \\ are escapes
//! ```
//!
//! A backslash in a word escapes the next character. A level's value may begin with `>=`. A number's value is a number,
//! `>n`, `>=n`, `<n`, `<=n`, `n..m`, or `5xx` for a status. The value of a user-named field depends on its type: see
//! `named`.

mod named;
mod number;
mod scan;

use std::str::FromStr;

use super::error::shown;
use super::words::words;
use super::{Field, Filter, NamedField, NamedFields, NumberField, QueryError};
use crate::level::Level;
use scan::{Scanner, Token};

/// Maximum length of a query in bytes.
pub const MAX_QUERY_BYTES: usize = 4_096;

/// Maximum number of words, quoted texts and values in a query.
pub const MAX_TERMS: usize = 200;

/// Maximum number of words to search for. A single term in a script without spaces has many.
pub const MAX_WORDS: usize = 400;

/// Maximum nesting depth of parentheses and NOTs.
pub const MAX_DEPTH: usize = 12;

impl FromStr for Filter {
    type Err = QueryError;

    /// Parses a query without user-named fields. An empty query matches every line.
    fn from_str(query: &str) -> Result<Self, QueryError> {
        Self::parse(query, &NamedFields::default())
    }
}

impl Filter {
    /// Parses a query with these user-named fields. An empty query matches every line.
    ///
    /// # Errors
    /// The position of the error, and what was expected.
    pub fn parse(query: &str, named: &NamedFields) -> Result<Self, QueryError> {
        if query.len() > MAX_QUERY_BYTES {
            let expected = format!("a query has at most {MAX_QUERY_BYTES} bytes");
            return Err(QueryError::new(query, 0, format!("{} bytes", query.len()), expected));
        }
        let mut parser = Parser { query, named, scanner: Scanner::new(query), terms: 0, words: 0 };
        if parser.scanner.peek()?.is_none() {
            return Ok(Self::EVERY);
        }
        let filter = parser.disjunction(0)?;
        match parser.scanner.next()? {
            None => Ok(filter.simplify()),
            Some((at, _)) => {
                Err(QueryError::new(query, at, "an unmatched `)`", "remove it, or write `\\)` to search for it"))
            }
        }
    }
}

struct Parser<'q> {
    query: &'q str,
    named: &'q NamedFields,
    scanner: Scanner<'q>,
    terms: usize,
    words: usize,
}

impl<'q> Parser<'q> {
    fn disjunction(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let mut operands = vec![self.conjunction(depth)?];
        while self.scanner.take_keyword("OR")? {
            operands.push(self.conjunction(depth)?);
        }
        Ok(Filter::Any(operands).simplify())
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let mut parts = vec![self.term(depth)?];
        loop {
            let joined = self.scanner.take_keyword("AND")?;
            match self.scanner.peek()? {
                None | Some((_, Token::Close)) if !joined => break,
                Some((_, Token::Word("OR"))) if !joined => break,
                _ => parts.push(self.term(depth)?),
            }
        }
        Ok(Filter::All(parts).simplify())
    }

    fn term(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let Some((at, token)) = self.scanner.next()? else {
            return Err(self.error(self.query.len(), "the end of the query", "expected a word, a field or a `(`"));
        };
        if depth > MAX_DEPTH {
            let expected = format!("parentheses and NOT can be nested {MAX_DEPTH} deep");
            return Err(self.error(at, "too many nested terms", expected));
        }
        match token {
            Token::Minus => Ok(Filter::Not(Box::new(self.term(depth + 1)?))),
            Token::Word("NOT") => Ok(Filter::Not(Box::new(self.term(depth + 1)?))),
            Token::Word(keyword @ ("AND" | "OR")) => Err(self.error(
                at,
                format!("{keyword} without a term before it"),
                format!("put a term on both operands, or write `\\{keyword}` to search for the word"),
            )),
            Token::Open => self.parenthesis(at, depth),
            Token::Close => Err(self.error(at, "a `)`", "expected a word, a field or a `(`")),
            Token::Word("*") => Ok(Filter::EVERY),
            Token::Quoted(raw) => self.phrase(at, raw),
            Token::Word(raw) => self.word(at, raw),
            Token::Field(name) => self.field(at, name),
        }
    }

    fn parenthesis(&mut self, at: usize, depth: usize) -> Result<Filter, QueryError> {
        let filter = self.disjunction(depth + 1)?;
        match self.scanner.next()? {
            Some((_, Token::Close)) => Ok(filter),
            _ => Err(self.error(at, "an unclosed `(`", "add a `)`, or write `\\(` to search for it")),
        }
    }

    fn phrase(&mut self, at: usize, raw: &str) -> Result<Filter, QueryError> {
        let text = unescaped(raw);
        self.count(at, &text)?;
        Ok(Filter::Phrase(text))
    }

    fn word(&mut self, at: usize, raw: &str) -> Result<Filter, QueryError> {
        if let Some(star) = unescaped_star(raw) {
            return Err(self.error(
                at + star,
                format!("a `*` in {}", shown(raw)),
                "only whole words match: remove it, or write `\\*` for the character",
            ));
        }
        let text = unescaped(raw);
        self.count(at, &text)?;
        Ok(Filter::Words(text))
    }

    /// Parses what follows `name:`.
    fn field(&mut self, at: usize, name: &str) -> Result<Filter, QueryError> {
        let after = at + name.len() + 1;
        if name == "message" {
            return match self.value(after, name)? {
                (at, Token::Quoted(raw)) => self.phrase(at, raw),
                (at, Token::Word(raw)) => self.word(at, raw),
                (at, _) => Err(self.error(at, "no word", "expected a word or a quoted text after `message:`")),
            };
        }
        if let Ok(field) = name.parse::<NumberField>() {
            let (at, token) = self.value(after, name)?;
            self.count(at, "")?;
            let Token::Word(text) = token else {
                return Err(self.error(at, "no number", number::expected(field)));
            };
            let bounds = number::bounds(field, text);
            return bounds
                .map(|bounds| Filter::Number(field, bounds))
                .ok_or_else(|| self.error(at, shown(text).to_string(), number::expected(field)));
        }
        if let Some(field) = self.named.get(name) {
            return self.named(field.clone(), after);
        }
        let Ok(field) = name.parse::<Field>() else {
            let own = Field::ALL.map(Field::name).into_iter().chain(NumberField::ALL.map(NumberField::name));
            let names: Vec<_> = own.chain(self.named.iter().map(NamedField::name)).collect();
            let expected =
                format!("the fields are {}; quote a text with a colon to search for its words", names.join(", "));
            return Err(self.error(at, format!("{} is not a field", shown(name)), expected));
        };
        match self.value(after, name)? {
            (_, Token::Word("*")) => Ok(Filter::Has(field)),
            (at, Token::Word(raw)) if field == Field::Level && raw.starts_with(">=") => {
                let least = self.level(at + 2, &raw[2..])?;
                Ok(Filter::levels(Level::ALL.into_iter().filter(|level| *level >= least)))
            }
            (_, Token::Open) => Ok(Filter::Is(field, self.list(field.name(), field == Field::Level)?)),
            (at, token) => Ok(Filter::Is(field, vec![self.one_value(field.name(), field == Field::Level, at, token)?])),
        }
    }

    /// Returns the token right after a colon.
    fn value(&mut self, after: usize, name: &str) -> Result<(usize, Token<'q>), QueryError> {
        let expected = format!("expected a value right after the colon, as in `{name}:value`; quote other texts");
        match self.scanner.next_value(after)? {
            Some(found) => Ok(found),
            None => Err(self.error(after, format!("nothing after {}", shown(&format!("{name}:"))), expected)),
        }
    }

    /// Parses `value OR value …)`.
    fn list(&mut self, field: &str, of_levels: bool) -> Result<Vec<String>, QueryError> {
        let mut values = Vec::new();
        loop {
            self.scanner.skip_space();
            let at = self.scanner.at();
            let Some((at, token)) = self.scanner.next_value(at)? else {
                return Err(self.error(at, "no value", format!("write `{field}:(one OR other)`")));
            };
            values.push(self.one_value(field, of_levels, at, token)?);
            match self.scanner.next()? {
                Some((_, Token::Close)) => return Ok(values),
                Some((_, Token::Word("OR"))) => {}
                Some((at, _)) => {
                    return Err(self.error(at, "a second value without OR", format!("write `{field}:(one OR other)`")));
                }
                None => {
                    let at = self.query.len();
                    return Err(self.error(at, "the end of the query", "add a `)` after the list of values"));
                }
            }
        }
    }

    fn one_value(&mut self, field: &str, is_level: bool, at: usize, token: Token<'_>) -> Result<String, QueryError> {
        self.count(at, "")?;
        let value = match token {
            Token::Quoted(raw) => unescaped(raw),
            Token::Word(raw) => {
                if let Some(star) = unescaped_star(raw) {
                    let expected = format!(
                        "only whole values match: write `{field}:*` for any value, or quote it for the character"
                    );
                    return Err(self.error(at + star, format!("a `*` in {}", shown(raw)), expected));
                }
                unescaped(raw)
            }
            _ => return Err(self.error(at, "no value", format!("write `{field}:value` or `{field}:\"a value\"`"))),
        };
        if is_level {
            self.level(at, &value)?;
        }
        Ok(value)
    }

    fn level(&self, at: usize, text: &str) -> Result<Level, QueryError> {
        let expected = "the levels are trace, debug, info, warn and error; `level:>=warn` matches warn and error";
        text.parse().map_err(|_| self.error(at, format!("{} is not a level", shown(text)), expected))
    }

    /// Counts a term and the words of its text.
    fn count(&mut self, at: usize, text: &str) -> Result<(), QueryError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            let expected = format!("a query has at most {MAX_TERMS} words and values");
            return Err(self.error(at, "too many terms", expected));
        }
        self.words += words(text).count();
        if self.words > MAX_WORDS {
            let expected = format!("a query has at most {MAX_WORDS} words");
            return Err(self.error(at, format!("{} words", self.words), expected));
        }
        Ok(())
    }

    fn error(&self, at: usize, found: impl Into<String>, expected: impl Into<String>) -> QueryError {
        QueryError::new(self.query, at, found, expected)
    }
}

/// Returns the offset of the first unescaped `*`.
fn unescaped_star(raw: &str) -> Option<usize> {
    let mut escaped = false;
    raw.char_indices().find_map(|(at, character)| {
        let star = character == '*' && !escaped;
        escaped = character == '\\' && !escaped;
        star.then_some(at)
    })
}

/// Removes the escaping backslashes from a text.
fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        // A backslash at the very end is literal.
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
