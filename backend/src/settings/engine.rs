//! Settings for an engine.

use std::path::PathBuf;
use std::time::Duration;

use store::{ClientCertificate, Credentials, EngineSettings, Proxy};

use super::{SettingsError, malformed, parse};

pub(super) fn engine_settings(lookup: &impl Fn(&str) -> Option<String>) -> Result<EngineSettings, SettingsError> {
    let timeout_ms = parse::<u64>(lookup, "STORE_TIMEOUT_MS", "milliseconds, at least 1")?.unwrap_or(10_000);
    if timeout_ms == 0 {
        return Err(malformed("STORE_TIMEOUT_MS", "0", "milliseconds, at least 1"));
    }
    let credentials = match (lookup("STORE_USER"), lookup("STORE_PASSWORD_FILE"), lookup("STORE_API_KEY_FILE")) {
        (None, None, None) => None,
        (Some(user), Some(file), None) => {
            Some(Credentials::Basic { user, password: secret("STORE_PASSWORD_FILE", &file)? })
        }
        (None, None, Some(file)) => Some(Credentials::ApiKey(secret("STORE_API_KEY_FILE", &file)?)),
        (user, ..) => {
            let expected = "set STORE_USER with STORE_PASSWORD_FILE, or STORE_API_KEY_FILE alone";
            return Err(malformed("STORE_USER", &user.unwrap_or_default(), expected));
        }
    };
    let defaults = EngineSettings::default();
    Ok(EngineSettings {
        index_prefix: lookup("STORE_INDEX_PREFIX").unwrap_or(defaults.index_prefix),
        request_timeout: Duration::from_millis(timeout_ms),
        credentials,
        ca_certificate: lookup("STORE_CA_CERTIFICATE").map(PathBuf::from),
        client_certificate: client_certificate(lookup)?,
        proxy: proxy(lookup)?,
        ..EngineSettings::default()
    })
}

fn client_certificate(lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<ClientCertificate>, SettingsError> {
    match (lookup("STORE_CLIENT_CERTIFICATE"), lookup("STORE_CLIENT_KEY")) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(ClientCertificate { certificate: certificate.into(), key: key.into() }))
        }
        (Some(certificate), None) => {
            Err(malformed("STORE_CLIENT_CERTIFICATE", &certificate, "set STORE_CLIENT_KEY too"))
        }
        (None, Some(key)) => Err(malformed("STORE_CLIENT_KEY", &key, "set STORE_CLIENT_CERTIFICATE too")),
    }
}

fn proxy(lookup: &impl Fn(&str) -> Option<String>) -> Result<Proxy, SettingsError> {
    let credentials = match (lookup("STORE_PROXY_USER"), lookup("STORE_PROXY_PASSWORD_FILE")) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user, secret("STORE_PROXY_PASSWORD_FILE", &file)?)),
        (user, _) => {
            let expected = "set STORE_PROXY_USER with STORE_PROXY_PASSWORD_FILE";
            return Err(malformed("STORE_PROXY_USER", &user.unwrap_or_default(), expected));
        }
    };
    match lookup("STORE_PROXY").as_deref() {
        None | Some("none") if credentials.is_some() => {
            Err(malformed("STORE_PROXY_USER", "", "set STORE_PROXY, the proxy's address, too"))
        }
        None => Ok(Proxy::from_environment(lookup)),
        Some("none") => Ok(Proxy::none()),
        // The error must not show a password in the address.
        Some(address) => Proxy::new(address, credentials).map_err(|error| SettingsError::Malformed {
            name: "STORE_PROXY",
            value: String::new(),
            expected: error.to_string(),
        }),
    }
}

fn secret(name: &'static str, file: &str) -> Result<String, SettingsError> {
    match std::fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(malformed(name, file, "the file is empty")),
        Err(error) => Err(malformed(name, file, &format!("the file can't be read: {error}"))),
    }
}
