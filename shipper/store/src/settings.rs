//! How an engine is spoken to, and which fields a store is to have.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::file_mode::FileMode;
use crate::proxy::Proxy;
use crate::query::NamedFields;

/// Settings of an engine's client. Of these the embedded store needs the fields and the file mode alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Indices are named `<index_prefix>-YYYY.MM.DD`; the template carries this name too. `app-logs` by default.
    pub index_prefix: String,
    /// The ingest pipeline that documents pass; `None` for engines without ingest processors. `app-logs` by default.
    pub pipeline: Option<String>,
    /// A request without an answer after this long has failed. 30 s by default.
    pub request_timeout: Duration,
    /// Who is asking.
    pub credentials: Option<Credentials>,
    /// A file of PEM certificates to trust besides the usual ones: of authorities, or a server's own, self-signed one.
    pub ca_certificate: Option<PathBuf>,
    /// What this client proves itself with to a server that asks for it (mTLS).
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy that the engine is reached through; none by default.
    pub proxy: Proxy,
    /// What batches are on the wire. Sizes are counted without it.
    pub compression: Compression,
    /// The fields that are named beyond the template's, which bootstrap puts in place; `None` for those that are there.
    pub fields: Option<NamedFields>,
    /// The permissions of an embedded store's file and folder where they are made. `0600` by default.
    pub file_mode: FileMode,
}

/// A client certificate. Its files are read when a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A PEM file with the certificate, and after it those of intermediate authorities, if there are any.
    pub certificate: PathBuf,
    /// A PEM file with its private key, not encrypted: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// What a request's body is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// gzip at its fastest: for networks that are slower than the processor.
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

/// Who is asking. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// An API key in its encoded form, the base64 of `id:key`, as engines give it out.
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
    fn secrets_are_not_shown() {
        let basic = Credentials::Basic { user: "logs".into(), password: "hunter2".into() };
        for credentials in [basic, Credentials::ApiKey("hunter2".into())] {
            let settings = EngineSettings { credentials: Some(credentials), ..EngineSettings::default() };
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }
}
