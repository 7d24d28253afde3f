//! The address of a store in options and settings: `sqlite:PATH`, or one or more `http(s)://` addresses.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// The store to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An embedded SQLite database in this file.
    Sqlite(PathBuf),
    /// One or more nodes of an Elasticsearch or OpenSearch cluster.
    Engine(Vec<Url>),
}

/// The text is not the address of a store.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseTargetError {
    /// The text has neither of the two forms.
    #[error("invalid store {0:?}: expected sqlite:PATH or http(s)://HOST:PORT[,…]")]
    Form(String),
    /// One of the addresses is invalid.
    #[error("invalid address {address:?}: {reason}")]
    Address {
        /// The address, without credentials.
        address: String,
        /// The reason.
        reason: String,
    },
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(ParseTargetError::Form(text.rsplit('@').next().unwrap_or_default().to_owned()))
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(ParseTargetError::Form(text.rsplit('@').next().unwrap_or_default().to_owned()));
        }
        text.split(',').map(|address| parse_address(address.trim())).collect::<Result<_, _>>().map(Self::Engine)
    }
}

/// Parses an `http://` or `https://` address. It may have a host, a port and a path, and nothing else.
///
/// # Errors
/// [`ParseTargetError::Address`], whose message does not show credentials.
pub fn parse_address(address: &str) -> Result<Url, ParseTargetError> {
    let refuse =
        |shown: &str, reason: &str| ParseTargetError::Address { address: shown.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(address)
        .map_err(|error| refuse(address.rsplit('@').next().unwrap_or_default(), &error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse(address.rsplit('@').next().unwrap_or_default(), "expected http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(url.host_str().unwrap_or_default(), "it contains credentials, which must be set in a file"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(address, "it must not contain a query or a fragment"));
    }
    Ok(url)
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Engine(addresses) => {
                for (index, address) in addresses.iter().enumerate() {
                    write!(formatter, "{}{address}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_parse_and_display() {
        for text in ["sqlite:data/logs.db", "http://127.0.0.1:9200/", "http://127.0.0.1:9200/,https://b.example:9200/"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_forms_are_rejected_without_showing_secrets() {
        for text in [
            "",
            "sqlite:",
            "ftp://x",
            "http://",
            "http://a,ftp://b",
            "http://user:secret@h:9200",
            "http://h/?x=1",
            "http://user:secret@h:99999",
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
