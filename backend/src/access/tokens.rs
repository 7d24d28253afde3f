//! Parses the tokens file: who may read which projects. Pure except for reading the file.
//!
//! ```toml
//! # Reads everything, also lines without a project.
//! [[token]]
//! name = "on-call"
//! token = "one-long-random-text"
//! projects = ["*"]
//!
//! # Reads two projects. The file may contain the SHA-256 of a token instead, in hexadecimal:
//! # `printf %s TOKEN | sha256sum`
//! [[token]]
//! name = "team-billing"
//! sha256 = "6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090"
//! projects = ["billing", "invoices"]
//!
//! # Alertmanager's token for `POST /api/alerts`. Without this section alerts are rejected.
//! [alerts]
//! token = "another-long-random-text"
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use observability::is_valid_id;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::Scope;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// Maximum bytes of the file.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Maximum number of tokens. Each check compares all of them.
pub const TOKENS_MAX: usize = 1_000;

/// Maximum projects of a token.
pub const PROJECTS_MAX: usize = 1_000;

/// Minimum bytes of a token; a shorter one could be guessed.
pub const TOKEN_MIN_BYTES: usize = 16;

/// Maximum bytes of a token.
pub const TOKEN_MAX_BYTES: usize = 256;

/// All projects, and lines without one.
const ALL: &str = "*";

/// SHA-256 of a token; tokens themselves are not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn new(presented: &[u8]) -> Self {
        Self(Sha256::digest(presented).into())
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn equals(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenHash")
    }
}

/// A token's holder.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name in the file.
    pub(super) name: Arc<str>,
    /// What they may read.
    pub(super) scope: Arc<Scope>,
}

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens {
    readers: Vec<(TokenHash, Holder)>,
    alerts: Option<TokenHash>,
}

/// Why a tokens file is invalid. It never shows a token.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It can't be read.
    #[error("the file can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is a directory, a FIFO or a device.
    #[error("not a regular file")]
    NoFile,
    /// It is empty or has no section with a token.
    #[error("the file contains no token")]
    NoToken,
    /// It is too large.
    #[error("the file is larger than {FILE_MAX_BYTES} bytes")]
    TooLong,
    /// It is not valid TOML or has unknown keys.
    #[error("line {line}: {reason}")]
    Form {
        /// The line number.
        line: usize,
        /// What is wrong, without the content of the line.
        reason: String,
    },
    /// An invalid entry.
    #[error("{entry}: {reason}")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
    alerts: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    token: Option<String>,
    sha256: Option<String>,
    projects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    token: Option<String>,
    sha256: Option<String>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read or is invalid.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        use std::io::Read as _;
        // Opening a FIFO would block, and opening a device may have side effects.
        if !std::fs::metadata(path)?.is_file() {
            return Err(TokensError::NoFile);
        }
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let file = std::fs::File::from(
            rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(std::io::Error::from)?,
        );
        if !file.metadata()?.is_file() {
            return Err(TokensError::NoFile);
        }
        let mut text = String::new();
        file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_MAX_BYTES { Err(TokensError::TooLong) } else { Self::parse(&text) }
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// It is invalid.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let file: File = toml::from_str(text).map_err(|error| TokensError::Form {
            line: error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
            reason: error.message().to_owned(),
        })?;
        if file.token.len() > TOKENS_MAX {
            return Err(entry("the file", "more than 1,000 tokens"));
        }
        let mut tokens = Self::default();
        let mut names = BTreeSet::new();
        for (place, found) in file.token.into_iter().enumerate() {
            let called = format!("token {} ({})", place + 1, cut(&found.name));
            if found.name.trim().is_empty() || found.name.len() > 100 || found.name.chars().any(char::is_control) {
                return Err(entry(&called, "a name has 1 to 100 bytes and no control characters"));
            }
            if !names.insert(found.name.clone()) {
                return Err(entry(&called, "duplicate name"));
            }
            let hash = hash(&called, found.token.as_deref(), found.sha256.as_deref())?;
            if tokens.readers.iter().any(|(known, _)| *known == hash) {
                return Err(entry(&called, "duplicate token"));
            }
            let scope = Arc::new(scope(&called, found.projects)?);
            tokens.readers.push((hash, Holder { name: found.name.into(), scope }));
        }
        if let Some(secret) = file.alerts {
            let found = hash("alerts", secret.token.as_deref(), secret.sha256.as_deref())?;
            if tokens.readers.iter().any(|(known, _)| *known == found) {
                return Err(entry("alerts", "the alerts token is also a reader's token"));
            }
            tokens.alerts = Some(found);
        }
        if tokens.is_empty() && tokens.alerts.is_none() {
            return Err(TokensError::NoToken);
        }
        Ok(tokens)
    }

    /// The holder of a token. Compares all tokens, whichever matches.
    #[must_use]
    pub fn holder(&self, presented: &TokenHash) -> Option<&Holder> {
        let mut place = 0_u32;
        let mut found = Choice::from(0);
        for (index, (hash, _)) in (0_u32..).zip(&self.readers) {
            let same = hash.equals(presented);
            place.conditional_assign(&index, same);
            found |= same;
        }
        if bool::from(found) { self.readers.get(place as usize).map(|(_, holder)| holder) } else { None }
    }

    /// Whether this is the token for alerts.
    #[must_use]
    pub fn is_alert_token(&self, presented: &TokenHash) -> bool {
        self.alerts.as_ref().is_some_and(|hash| bool::from(hash.equals(presented)))
    }

    /// The tokens whose sessions end when `next` replaces these: those that it does not contain, or gives other
    /// projects.
    pub(super) fn ended_with(&self, next: &Self) -> Vec<TokenHash> {
        let goes_on = |(hash, holder): &&(TokenHash, Holder)| {
            next.readers.iter().any(|(other, then)| other == hash && then.scope == holder.scope)
        };
        self.readers.iter().filter(|reader| !goes_on(reader)).map(|(hash, _)| *hash).collect()
    }

    /// Number of readers' tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.readers.len()
    }

    /// Whether there are no readers' tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }
}

fn hash(called: &str, token: Option<&str>, sha256: Option<&str>) -> Result<TokenHash, TokensError> {
    match (token, sha256) {
        (Some(token), None) if token.len() < TOKEN_MIN_BYTES => {
            Err(entry(called, "a token has at least 16 bytes, and should be random: `openssl rand -hex 32`"))
        }
        (Some(token), None) if token.len() > TOKEN_MAX_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(entry(called, "a token has at most 256 printable ASCII characters without spaces"))
        }
        (Some(token), None) => Ok(TokenHash::new(token.as_bytes())),
        (None, Some(text)) => TokenHash::from_hex(text).ok_or_else(|| entry(called, "sha256 is 64 hexadecimal digits")),
        _ => Err(entry(called, "set either token or sha256")),
    }
}

fn scope(called: &str, projects: Vec<String>) -> Result<Scope, TokensError> {
    if projects.iter().any(|project| project == ALL) {
        return if projects.len() == 1 {
            Ok(Scope::All)
        } else {
            Err(entry(called, "\"*\" can't be combined with project names"))
        };
    }
    if projects.is_empty() || projects.len() > PROJECTS_MAX {
        return Err(entry(called, "projects: expected 1 to 1,000 names, or \"*\" for all"));
    }
    if !projects.iter().all(|project| is_valid_id(project.as_bytes())) {
        return Err(entry(called, "a project is 1 to 128 characters of A-Z a-z 0-9 . _ - : / + ="));
    }
    Ok(Scope::Projects(projects.into_iter().collect()))
}

fn entry(entry: &str, reason: &'static str) -> TokensError {
    TokensError::Entry { entry: entry.to_owned(), reason }
}

fn cut(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[token]]
        name = "all"
        token = "0123456789abcdef-all"
        projects = ["*"]
        [[token]]
        name = "one"
        sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
        projects = ["a", "b/c"]
        [alerts]
        token = "0123456789abcdef-alerts"
    "#;

    #[test]
    fn a_token_has_one_holder() {
        let tokens = Tokens::parse(FILE).unwrap();
        let of = |text: &str| tokens.holder(&TokenHash::new(text.as_bytes()));
        assert_eq!(*of("0123456789abcdef-all").unwrap().scope, Scope::All);
        let one = of("test").unwrap();
        assert_eq!(&*one.name, "one");
        assert_eq!(*one.scope, Scope::Projects(["a".to_owned(), "b/c".to_owned()].into()));
        assert_eq!(of("0123456789abcdef-alerts"), None);
        assert_eq!(of(""), None);
        assert!(tokens.is_alert_token(&TokenHash::new(b"0123456789abcdef-alerts")));
        assert!(!tokens.is_alert_token(&TokenHash::new(b"0123456789abcdef-all")));
        assert!(!Tokens::default().is_alert_token(&TokenHash::new(b"")));
    }

    #[test]
    fn errors_do_not_contain_tokens() {
        let secret = "0123456789abcdef-secret";
        let of = |rest: &str| format!("[[token]]\nname = \"n\"\n{rest}");
        for text in [
            of(&format!("token = \"{secret}\"\nprojects = []")),
            of(&format!("token = \"{secret}\"\nprojects = [\"*\", \"a\"]")),
            of(&format!("token = \"{secret}\"\nprojects = [\"a b\"]")),
            of(&format!("token = \"{secret}\"\nproject = [\"a\"]")),
            of(&format!("token = \"{secret}\"\nsha256 = \"\"\nprojects = [\"a\"]")),
            of(&format!("token = \"{secret} \"\nprojects = [\"a\"]")),
            of("token = \"secret\"\nprojects = [\"a\"]"),
            of("sha256 = \"secret\"\nprojects = [\"a\"]"),
            of("projects = [\"a\"]"),
            String::new(),
            "# Nothing yet.\n".to_owned(),
            of(&format!("token = \"{secret}\nprojects = [\"a\"]")),
            format!("{FILE}\n[[token]]\nname=\"all\"\ntoken=\"{secret}\"\nprojects=[\"a\"]"),
            format!("{FILE}\n[[token]]\nname=\"x\"\ntoken=\"0123456789abcdef-all\"\nprojects=[\"a\"]"),
        ] {
            let error = Tokens::parse(&text).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }
}
