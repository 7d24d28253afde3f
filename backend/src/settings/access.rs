//! Who may see what, and whom to believe.

use std::path::PathBuf;

use url::Url;

use super::{SettingsError, malformed};
use crate::access::name::OwnNames;
use crate::access::proxies::TrustedProxies;
use crate::access::tokens::{TOKEN_MAX_BYTES, TOKEN_MIN_BYTES};

/// Settings of [`crate::access`].
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// The file of tokens; none where everyone may see everything.
    pub tokens_file: Option<PathBuf>,
    /// The names that this service answers to.
    pub names: OwnNames,
    /// The proxies that are believed where a request comes from.
    pub proxies: TrustedProxies,
    /// The token that scrapes of `/metrics` come with, if they need one.
    pub metrics_token: Option<String>,
}

impl AccessSettings {
    pub(super) fn from_lookup(
        lookup: &impl Fn(&str) -> Option<String>,
        public: Option<&Url>,
    ) -> Result<Self, SettingsError> {
        let names = lookup("ALLOWED_HOSTS").unwrap_or_default();
        let names: OwnNames = names.parse().map_err(|error| malformed("ALLOWED_HOSTS", &names, &format!("{error}")))?;
        let proxies = lookup("TRUSTED_PROXIES").unwrap_or_default();
        Ok(Self {
            tokens_file: lookup("TOKENS_FILE").map(PathBuf::from),
            names: names.with_host_of(public),
            proxies: proxies.parse().map_err(|error| malformed("TRUSTED_PROXIES", &proxies, &format!("{error}")))?,
            metrics_token: lookup("METRICS_TOKEN").map(checked).transpose()?,
        })
    }
}

fn checked(token: String) -> Result<String, SettingsError> {
    let has_length = (TOKEN_MIN_BYTES..=TOKEN_MAX_BYTES).contains(&token.len());
    if has_length && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    }
    let expected = "16 to 256 printable ASCII characters without a blank, better random: `openssl rand -hex 32`";
    Err(malformed("METRICS_TOKEN", "…", expected))
}
