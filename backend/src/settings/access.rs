//! Options of access control.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use url::Url;

use super::SettingsError;
use crate::access::host_names::HostNames;
use crate::access::proxies::TrustedProxies;
use crate::access::tokens::{TOKEN_MAX_BYTES, TOKEN_MIN_BYTES};

/// Options of [`crate::access`].
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// TOML file of tokens and the projects each may read [default: no tokens, everyone reads everything]
    #[arg(long, env, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
    /// Allow LISTEN and ADMIN_LISTEN beyond loopback without --tokens-file
    #[arg(
        long, env, value_name = "BOOL", default_value = "false", value_parser = BoolishValueParser::new(),
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    open_listen: bool,
    /// Addresses and networks of proxies whose X-Forwarded-For is trusted, comma-separated
    #[arg(long, env, value_name = "NETWORKS")]
    trusted_proxies: Option<TrustedProxies>,
    /// File that contains only the token required to scrape /metrics [default: scrapes are allowed by IP address,
    /// localhost and --allowed-hosts]
    #[arg(long, env, value_name = "FILE")]
    metrics_token_file: Option<PathBuf>,
    /// The token itself, for a variable; on a command line everyone can read it
    #[arg(long, env, value_name = "TOKEN", conflicts_with = "metrics_token_file")]
    metrics_token: Option<String>,
    /// Host names to answer to, comma-separated, besides IP addresses, localhost and the host of --public-url
    #[arg(long, env, value_name = "NAMES")]
    allowed_hosts: Option<HostNames>,
}

impl AccessOptions {
    /// The host names of this service, which is reached at `public`.
    #[must_use]
    pub fn names(&self, public: Option<&Url>) -> HostNames {
        self.allowed_hosts.clone().unwrap_or_default().with_host_of(public)
    }

    /// Proxies whose `X-Forwarded-For` is trusted.
    #[must_use]
    pub fn proxies(&self) -> TrustedProxies {
        self.trusted_proxies.clone().unwrap_or_default()
    }

    /// Reads the token required to scrape `/metrics`.
    pub(super) fn metrics_token(&self) -> Result<Option<String>, SettingsError> {
        let (name, token) = match (&self.metrics_token_file, &self.metrics_token) {
            (Some(path), _) => {
                ("METRICS_TOKEN_FILE", store::secret_file::read(path).map_err(|error| error.to_string()))
            }
            (None, Some(token)) => ("METRICS_TOKEN", Ok(token.clone())),
            (None, None) => return Ok(None),
        };
        let refuse = |message: String| SettingsError::Invalid { name: name.to_owned(), message };
        let token = token.map_err(refuse)?;
        let has_length = (TOKEN_MIN_BYTES..=TOKEN_MAX_BYTES).contains(&token.len());
        if has_length && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Some(token));
        }
        let expected = "expected 16 to 256 printable ASCII characters without spaces, preferably random: `openssl rand \
                        -hex 32`";
        Err(refuse(expected.to_owned()))
    }

    /// The files that contain secrets, with their variables.
    pub(super) fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [("TOKENS_FILE", &self.tokens_file), ("METRICS_TOKEN_FILE", &self.metrics_token_file)];
        files.into_iter().filter_map(|(variable, path)| Some((variable, path.as_deref()?)))
    }

    /// Checks that addresses other than loopback are protected by tokens, unless `OPEN_LISTEN` allows it.
    pub(super) fn check_addresses(
        &self,
        listen: SocketAddr,
        admin_listen: Option<SocketAddr>,
    ) -> Result<(), SettingsError> {
        if self.open_listen || self.tokens_file.is_some() {
            return Ok(());
        }
        if is_reached_by_others(&listen) {
            return Err(SettingsError::Unguarded(listen));
        }
        match admin_listen.filter(is_reached_by_others) {
            Some(address) if self.metrics_token_file.is_none() && self.metrics_token.is_none() => {
                Err(SettingsError::UnguardedAdmin(address))
            }
            _ => Ok(()),
        }
    }
}

/// Whether an address is not loopback.
#[must_use]
pub fn is_reached_by_others(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}
