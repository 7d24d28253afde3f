//! Settings of access control.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use super::{SettingsError, malformed};
use crate::access::host_names::HostNames;
use crate::access::proxies::TrustedProxies;
use crate::access::tokens::{TOKEN_MAX_BYTES, TOKEN_MIN_BYTES};

/// Settings of [`crate::access`].
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// The tokens file; without one, everyone reads everything.
    pub tokens_file: Option<PathBuf>,
    /// The host names of this service.
    pub names: HostNames,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub proxies: TrustedProxies,
    /// The token required to scrape `/metrics`.
    pub metrics_token: Option<String>,
}

impl AccessSettings {
    pub(super) fn from_lookup(
        lookup: &impl Fn(&str) -> Option<String>,
        public: Option<&Url>,
    ) -> Result<Self, SettingsError> {
        let names = lookup("ALLOWED_HOSTS").unwrap_or_default();
        let names: HostNames =
            names.parse().map_err(|error| malformed("ALLOWED_HOSTS", &names, &format!("{error}")))?;
        let proxies = lookup("TRUSTED_PROXIES").unwrap_or_default();
        Ok(Self {
            tokens_file: lookup("TOKENS_FILE").map(PathBuf::from),
            names: names.with_host_of(public),
            proxies: proxies.parse().map_err(|error| malformed("TRUSTED_PROXIES", &proxies, &format!("{error}")))?,
            metrics_token: lookup("METRICS_TOKEN").map(checked).transpose()?,
        })
    }

    /// Checks that addresses other than loopback are protected by tokens, unless `is_open` allows it.
    pub(super) fn check_addresses(
        &self,
        is_open: bool,
        listen: SocketAddr,
        admin_listen: Option<SocketAddr>,
    ) -> Result<(), SettingsError> {
        if is_open || self.tokens_file.is_some() {
            return Ok(());
        }
        if is_reached_by_others(&listen) {
            return Err(SettingsError::Unguarded(listen));
        }
        match admin_listen.filter(is_reached_by_others) {
            Some(address) if self.metrics_token.is_none() => Err(SettingsError::UnguardedAdmin(address)),
            _ => Ok(()),
        }
    }
}

/// Whether an address is not loopback.
#[must_use]
pub fn is_reached_by_others(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn checked(token: String) -> Result<String, SettingsError> {
    let has_length = (TOKEN_MIN_BYTES..=TOKEN_MAX_BYTES).contains(&token.len());
    if has_length && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    }
    let expected = "16 to 256 printable ASCII characters without spaces, preferably random: `openssl rand -hex 32`";
    Err(malformed("METRICS_TOKEN", "…", expected))
}

#[cfg(test)]
mod tests {
    use observability::ObservabilitySettings;

    use crate::settings::{SERVICE, Settings, SettingsError};

    #[test]
    fn metrics_beyond_loopback_need_a_token_or_open_listen() {
        let from = |variables: &[(&str, &str)], admin_listen: &str| {
            let mut observability = ObservabilitySettings::new(SERVICE);
            observability.admin_listen = Some(admin_listen.parse().unwrap());
            let found = |name: &str| variables.iter().find(|variable| variable.0 == name);
            Settings::from_lookup(|name| found(name).map(|variable| variable.1.to_owned()), observability)
        };
        let error = from(&[], "0.0.0.0:9100").unwrap_err();
        assert!(matches!(error, SettingsError::UnguardedAdmin(_)) && error.to_string().contains("METRICS_TOKEN"));
        assert!(from(&[], "127.0.0.1:9100").is_ok());
        for guard in [("METRICS_TOKEN", "a-token-of-the-scrape"), ("OPEN_LISTEN", "1"), ("TOKENS_FILE", "tokens.toml")]
        {
            assert!(from(&[guard], "0.0.0.0:9100").is_ok(), "{guard:?}");
        }
    }
}
