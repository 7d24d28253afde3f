//! How to connect to an engine, and which user-named fields a store has.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::file_mode::FileMode;
use crate::proxy::Proxy;
use crate::query::NamedFields;

/// Settings of a store. The embedded store uses only `fields` and `file_mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Prefix of the index names `<index_prefix>-YYYY.MM.DD`, and the name of the index template. `app-logs` by
    /// default.
    pub index_prefix: String,
    /// Name of the ingest pipeline, or `None` for engines without ingest processors. `app-logs` by default.
    pub pipeline: Option<String>,
    /// Timeout of one request. 30 s by default.
    pub request_timeout: Duration,
    /// Credentials of this client.
    pub credentials: Option<Credentials>,
    /// PEM file of extra certificates to trust: certificate authorities, or a server's self-signed certificate.
    pub ca_certificate: Option<PathBuf>,
    /// Certificate that this client presents to servers that require one (mTLS).
    pub client_certificate: Option<ClientCertificate>,
    /// Proxy for connections to the engine. None by default.
    pub proxy: Proxy,
    /// Compression of batches on the wire. Size limits apply to uncompressed batches.
    pub compression: Compression,
    /// User-named fields that bootstrap puts in place. `None` keeps the existing ones.
    pub fields: Option<NamedFields>,
    /// Permissions of the embedded store's file and directory when they are created. `0600` by default.
    pub file_mode: FileMode,
}

/// A client certificate. Its files are read when a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate, followed by any intermediate certificates.
    pub certificate: PathBuf,
    /// PEM file with the unencrypted private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Compression of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip at its fastest level, for networks slower than the CPU.
    Gzip,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            index_prefix: "app-logs".to_owned(),
            pipeline: Some("app-logs".to_owned()),
            request_timeout: Duration::from_secs(30),
            credentials: None,
            ca_certificate: None,
            client_certificate: None,
            proxy: Proxy::none(),
            compression: Compression::None,
            fields: None,
            file_mode: FileMode::default(),
        }
    }
}

/// Credentials of this client. `Debug` does not show secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// An API key in its encoded form, the base64 of `id:key`, as engines issue it.
    ApiKey(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(formatter, "Basic {{ user: {user:?}, password: … }}"),
            Self::ApiKey(_) => formatter.write_str("ApiKey(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_secrets() {
        let basic = Credentials::Basic { user: "logs".into(), password: "hunter2".into() };
        for credentials in [basic, Credentials::ApiKey("hunter2".into())] {
            let settings = EngineSettings { credentials: Some(credentials), ..EngineSettings::default() };
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }
}
