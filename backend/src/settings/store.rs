//! Options of the store.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use store::{ConnectionOptions, EngineSettings, Target};

use super::{SettingsError, milliseconds};

/// Options of the store to search.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreOptions {
    /// Store to search: sqlite:PATH or http(s)://HOST:PORT[,…]
    #[arg(long = "store", env = "STORE", value_name = "STORE", default_value = "sqlite:data/logs.db")]
    pub target: Target,
    /// Prefix of index names, PREFIX-YYYY.MM.DD
    #[arg(long, env, value_name = "PREFIX", default_value = "app-logs")]
    store_index_prefix: String,
    /// User name; requires --store-password-file
    #[arg(long, env, value_name = "NAME")]
    store_user: Option<String>,
    /// File that contains only the password
    #[arg(long, env, value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// File that contains only an encoded API key
    #[arg(long, env, value_name = "FILE")]
    store_api_key_file: Option<PathBuf>,
    /// Additional PEM certificates to trust: of an authority, or a self-signed one of the server
    #[arg(long, env, value_name = "FILE")]
    store_ca_certificate: Option<PathBuf>,
    /// PEM client certificate (mTLS); requires --store-client-key
    #[arg(long, env, value_name = "FILE")]
    store_client_certificate: Option<PathBuf>,
    /// Unencrypted PEM private key of the client certificate
    #[arg(long, env, value_name = "FILE")]
    store_client_key: Option<PathBuf>,
    /// Proxy to the engine, http(s)://HOST:PORT, or none [default: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for
    /// NO_PROXY]
    #[arg(long, env, value_name = "URL")]
    store_proxy: Option<String>,
    /// User name for the proxy; requires --store-proxy and --store-proxy-password-file
    #[arg(long, env, value_name = "NAME")]
    store_proxy_user: Option<String>,
    /// File that contains only the password for the proxy
    #[arg(long, env, value_name = "FILE")]
    store_proxy_password_file: Option<PathBuf>,
    /// Timeout of a request to the engine, in milliseconds
    #[arg(long = "store-timeout-ms", env = "STORE_TIMEOUT_MS", value_name = "N", default_value = "10000", value_parser = milliseconds(1..=3_600_000))]
    timeout: Duration,
}

impl StoreOptions {
    /// The settings of an engine. Reads the secrets.
    pub(super) fn engine(&self) -> Result<EngineSettings, SettingsError> {
        let connected = self.connection().settings();
        let connected = connected.map_err(|error| {
            let name = error.option;
            SettingsError::Invalid { name: variable(name), message: error.message(variable) }
        })?;
        Ok(EngineSettings { index_prefix: self.store_index_prefix.clone(), request_timeout: self.timeout, ..connected })
    }

    /// The options of the connection to an engine.
    pub(super) fn connection(&self) -> ConnectionOptions {
        let options = self.clone();
        ConnectionOptions {
            user: options.store_user,
            password_file: options.store_password_file,
            api_key_file: options.store_api_key_file,
            ca_certificate: options.store_ca_certificate,
            client_certificate: options.store_client_certificate,
            client_key: options.store_client_key,
            proxy: options.store_proxy,
            proxy_user: options.store_proxy_user,
            proxy_password_file: options.store_proxy_password_file,
        }
    }
}

/// The variable of an option of the connection.
pub(super) fn variable(option: &str) -> String {
    format!("STORE_{}", option.to_uppercase())
}
