//! Options of a connection to an engine, which the programs offer under names of their own and check here.

use std::io;
use std::path::{Path, PathBuf};

use crate::proxy::{ParseProxyError, Proxy};
use crate::secret_file::{self, SecretFileError};
use crate::settings::{ClientCertificate, Credentials, EngineSettings};

/// Options as given. [`ConnectionOptions::settings`] checks them.
#[derive(Clone, Debug, Default)]
pub struct ConnectionOptions {
    /// User name; requires `password_file`.
    pub user: Option<String>,
    /// File that contains only the password.
    pub password_file: Option<PathBuf>,
    /// File that contains only an encoded API key; excludes `user`.
    pub api_key_file: Option<PathBuf>,
    /// PEM file of extra certificates to trust.
    pub ca_certificate: Option<PathBuf>,
    /// PEM file of the client certificate; requires `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the private key of the client certificate.
    pub client_key: Option<PathBuf>,
    /// Address of the proxy, or `none`. Without one, the environment decides.
    pub proxy: Option<String>,
    /// User name for the proxy; requires `proxy` and `proxy_password_file`.
    pub proxy_user: Option<String>,
    /// File that contains only the password for the proxy.
    pub proxy_password_file: Option<PathBuf>,
}

/// An invalid option. No message contains a secret.
#[derive(Debug)]
pub struct ConnectionError {
    /// The option, by the name of its field.
    pub option: &'static str,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Empty,
    Requires(&'static str, &'static str),
    Excludes(&'static str),
    Secret(SecretFileError),
    Unreadable(PathBuf, io::Error),
    Proxy(ParseProxyError),
}

impl ConnectionError {
    /// What is wrong, with the options' names in the program from `name`.
    #[must_use]
    pub fn message(&self, name: impl Fn(&str) -> String) -> String {
        match &self.reason {
            Reason::Empty => "it is empty".to_owned(),
            Reason::Requires(other, what) => format!("it requires {}{what}", name(other)),
            Reason::Excludes(other) => format!("set either this or {}, not both", name(other)),
            Reason::Secret(error) => error.to_string(),
            Reason::Unreadable(path, error) => format!("can't read {}: {error}", path.display()),
            Reason::Proxy(ParseProxyError::Credentials(address)) => {
                let (user, file) = (name("proxy_user"), name("proxy_password_file"));
                format!("{address:?} contains credentials: set {user} and {file} instead")
            }
            Reason::Proxy(error) => error.to_string(),
        }
    }
}

impl ConnectionOptions {
    /// The settings of an engine with these options, and the defaults for everything else. Reads the secrets.
    ///
    /// # Errors
    /// The first invalid option.
    pub fn settings(&self) -> Result<EngineSettings, ConnectionError> {
        Ok(EngineSettings {
            credentials: self.credentials()?,
            ca_certificate: readable("ca_certificate", self.ca_certificate.as_deref())?,
            client_certificate: self.client_certificate()?,
            proxy: self.proxy()?,
            ..EngineSettings::default()
        })
    }

    /// The files that contain secrets, with the options that name them.
    pub fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("password_file", &self.password_file),
            ("api_key_file", &self.api_key_file),
            ("client_key", &self.client_key),
            ("proxy_password_file", &self.proxy_password_file),
        ];
        files.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }

    fn credentials(&self) -> Result<Option<Credentials>, ConnectionError> {
        match (&self.api_key_file, &self.user, &self.password_file) {
            (None, user, password_file) => {
                let basic = basic(("user", user), ("password_file", password_file))?;
                Ok(basic.map(|(user, password)| Credentials::Basic { user, password }))
            }
            (Some(file), None, None) => Ok(Some(Credentials::ApiKey(secret("api_key_file", file)?))),
            (Some(_), Some(_), _) => Err(refuse("api_key_file", Reason::Excludes("user"))),
            (Some(_), None, Some(_)) => Err(refuse("api_key_file", Reason::Excludes("password_file"))),
        }
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, ConnectionError> {
        let certificate = readable("client_certificate", self.client_certificate.as_deref())?;
        match (certificate, readable("client_key", self.client_key.as_deref())?) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
            (Some(_), None) => {
                Err(refuse("client_certificate", Reason::Requires("client_key", ", a file with its private key")))
            }
            (None, Some(_)) => Err(refuse("client_key", Reason::Requires("client_certificate", ""))),
        }
    }

    fn proxy(&self) -> Result<Proxy, ConnectionError> {
        let credentials = basic(("proxy_user", &self.proxy_user), ("proxy_password_file", &self.proxy_password_file))?;
        match self.proxy.as_deref() {
            None | Some("none") if credentials.is_some() => {
                Err(refuse("proxy_user", Reason::Requires("proxy", ", the address of the proxy")))
            }
            None => Ok(Proxy::from_environment(|name| std::env::var(name).ok())),
            Some("none") => Ok(Proxy::none()),
            Some(address) => Proxy::new(address, credentials).map_err(|error| refuse("proxy", Reason::Proxy(error))),
        }
    }
}

/// User name and password, from options of these names.
fn basic(
    user: (&'static str, &Option<String>),
    password: (&'static str, &Option<PathBuf>),
) -> Result<Option<(String, String)>, ConnectionError> {
    match (user.1, password.1) {
        (None, None) => Ok(None),
        (Some(name), _) if name.is_empty() => Err(refuse(user.0, Reason::Empty)),
        (Some(name), Some(file)) => Ok(Some((name.clone(), secret(password.0, file)?))),
        (Some(_), None) => Err(refuse(user.0, Reason::Requires(password.0, ", a file with the user's password"))),
        (None, Some(_)) => Err(refuse(password.0, Reason::Requires(user.0, ""))),
    }
}

fn secret(option: &'static str, file: &Path) -> Result<String, ConnectionError> {
    secret_file::read(file).map_err(|error| refuse(option, Reason::Secret(error)))
}

fn readable(option: &'static str, file: Option<&Path>) -> Result<Option<PathBuf>, ConnectionError> {
    let Some(file) = file else { return Ok(None) };
    match std::fs::File::open(file) {
        Ok(_) => Ok(Some(file.to_owned())),
        Err(error) => Err(refuse(option, Reason::Unreadable(file.to_owned(), error))),
    }
}

fn refuse(option: &'static str, reason: Reason) -> ConnectionError {
    ConnectionError { option, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_options_as_the_program_does() {
        let options = ConnectionOptions { user: Some("logs".to_owned()), ..ConnectionOptions::default() };
        let error = options.settings().unwrap_err();
        let message = error.message(|option| format!("STORE_{}", option.to_uppercase()));
        assert_eq!(error.option, "user");
        assert_eq!(message, "it requires STORE_PASSWORD_FILE, a file with the user's password");
    }

    #[test]
    fn secret_files_are_listed() {
        let options = ConnectionOptions {
            ca_certificate: Some("ca.pem".into()),
            client_key: Some("client.key".into()),
            proxy_password_file: Some("proxy".into()),
            ..ConnectionOptions::default()
        };
        let files: Vec<_> = options.secret_files().collect();
        assert_eq!(files, [("client_key", Path::new("client.key")), ("proxy_password_file", Path::new("proxy"))]);
    }
}
