//! All settings, from environment variables. Malformed and unknown variables are rejected at startup. The variables of
//! the library are [`ObservabilitySettings::VARIABLES`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use observability::{ObservabilitySettings, Variable};
use store::target::{ParseTargetError, parse_address};
use store::{EngineSettings, Target};
use url::Url;

mod access;
mod engine;

pub use access::{AccessSettings, is_reached_by_others};
use engine::engine_settings;

/// The service's own variables.
pub const VARIABLES: &[Variable] = &[
    Variable { name: "LISTEN", help: "address and port to listen on (default 127.0.0.1:8000)" },
    Variable { name: "STORE", help: "sqlite:PATH or http(s)://HOST:PORT[,…] (default sqlite:data/logs.db)" },
    Variable {
        name: "STORE_INDEX_PREFIX",
        help: "prefix of the engine's indices, PREFIX-YYYY.MM.DD (default app-logs)",
    },
    Variable { name: "STORE_USER", help: "user name for the engine; requires STORE_PASSWORD_FILE" },
    Variable { name: "STORE_PASSWORD_FILE", help: "file containing the password of STORE_USER" },
    Variable { name: "STORE_API_KEY_FILE", help: "file containing the engine's API key, in its encoded form" },
    Variable {
        name: "STORE_CA_CERTIFICATE",
        help: "PEM file of additional trusted certificates, such as a server's self-signed one",
    },
    Variable {
        name: "STORE_CLIENT_CERTIFICATE",
        help: "PEM file of the client certificate for mTLS; requires STORE_CLIENT_KEY",
    },
    Variable { name: "STORE_CLIENT_KEY", help: "PEM file of the unencrypted private key of STORE_CLIENT_CERTIFICATE" },
    Variable {
        name: "STORE_PROXY",
        help: "proxy for the engine, http(s)://HOST:PORT, or none (default: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except \
               for hosts in NO_PROXY)",
    },
    Variable { name: "STORE_PROXY_USER", help: "user name for STORE_PROXY; requires STORE_PROXY_PASSWORD_FILE" },
    Variable { name: "STORE_PROXY_PASSWORD_FILE", help: "file containing the password of STORE_PROXY_USER" },
    Variable { name: "STORE_TIMEOUT_MS", help: "timeout of a request to the engine, in milliseconds (default 10000)" },
    Variable {
        name: "SHIPPER_STATE_DIR",
        help: "state directory of the local shipper, to show dead letters of a request (default none)",
    },
    Variable {
        name: "TOKENS_FILE",
        help: "TOML file of tokens and the projects each may read (default: no tokens, everyone reads everything)",
    },
    Variable {
        name: "OPEN_LISTEN",
        help: "1 allows LISTEN and ADMIN_LISTEN beyond loopback without TOKENS_FILE (default 0)",
    },
    Variable {
        name: "TRUSTED_PROXIES",
        help: "comma-separated addresses and networks of proxies whose X-Forwarded-For is trusted (default none)",
    },
    Variable {
        name: "METRICS_TOKEN",
        help: "token required to scrape /metrics (default: none; scrapes are allowed by IP address, localhost and \
               ALLOWED_HOSTS)",
    },
    Variable {
        name: "ALLOWED_HOSTS",
        help: "comma-separated host names to answer to, besides IP addresses, localhost and the host of PUBLIC_URL \
               (default none)",
    },
    Variable {
        name: "PUBLIC_URL",
        help: "public URL of this service, for links in downloaded pages (default: the request's Host, if it is an IP \
               address, localhost or in ALLOWED_HOSTS)",
    },
    Variable { name: "KIBANA_URL", help: "URL of Kibana, for links to a request's lines (default none)" },
    Variable {
        name: "GRAFANA_URL",
        help: "URL of Grafana, for links to the dashboard at a request's time (default none)",
    },
    Variable { name: "BACKEND_FAULTS", help: "1 enables fault injection for drills, under /api/faults (default 0)" },
    Variable { name: "BACKEND_WORKERS", help: "worker threads, 1-64 (default: one per core)" },
    Variable {
        name: "BACKEND_REQUEST_TIMEOUT_S",
        help: "timeout for receiving a request's head, and again for its body, in seconds, 1-3600 (default 10)",
    },
    Variable {
        name: "BACKEND_CONNECTIONS",
        help: "maximum number of connections, 8-65536; fewer if the open file limit is too low (default 1024)",
    },
    Variable {
        name: "BACKEND_STALL_TIMEOUT_S",
        help: "disconnect a client that reads nothing of its response for this many seconds, 1-3600 (default 60)",
    },
    Variable {
        name: "BACKEND_SHUTDOWN_TIMEOUT_S",
        help: "time for open requests to finish at shutdown, in seconds, 0-3600 (default 10)",
    },
];

/// Variables that name secret files.
const SECRET_FILES: [&str; 3] = ["TOKENS_FILE", "STORE_PASSWORD_FILE", "STORE_API_KEY_FILE"];

/// Prefixes of this service's variables; an unknown variable with one of them is an error.
const PREFIXES: [&str; 6] = ["BACKEND_", "STORE_", "METRICS_", "ADMIN_", "ACCESS_LOG_", "TRUSTED_"];

const CONNECTIONS: &str = "a number from 8 to 65536";

/// Default `service` of log lines and metrics.
pub const SERVICE: &str = "backend";

/// An invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A malformed value.
    #[error("{name}={value:?}: {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// Its value, truncated; empty for a secret.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// Anyone who can reach `LISTEN` could read everything.
    #[error(
        "LISTEN={0}: without TOKENS_FILE anyone who can reach this address can read all lines; set TOKENS_FILE, or \
         OPEN_LISTEN=1 if the network restricts access"
    )]
    Unguarded(SocketAddr),
    /// Anyone who can reach `ADMIN_LISTEN` could read all metrics.
    #[error(
        "ADMIN_LISTEN={0}: without METRICS_TOKEN anyone who can reach this address can read all metrics, which name \
         projects; set METRICS_TOKEN, or OPEN_LISTEN=1 if the network restricts access"
    )]
    UnguardedAdmin(SocketAddr),
    /// An unknown variable.
    #[error("unknown variable {0}; `backend --help` lists the known ones")]
    Unknown(String),
    /// An invalid setting of the library.
    #[error(transparent)]
    Observability(#[from] observability::SettingsError),
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// The store to search.
    pub store: Target,
    /// Settings for an engine.
    pub engine: EngineSettings,
    /// State directory of a local shipper.
    pub shipper_state_dir: Option<PathBuf>,
    /// Settings of access control.
    pub access: AccessSettings,
    /// Secret files, by variable.
    pub secret_files: Vec<(&'static str, PathBuf)>,
    /// Public URL of this service.
    pub public: Option<Url>,
    /// URL of Kibana.
    pub kibana: Option<Url>,
    /// URL of Grafana.
    pub grafana: Option<Url>,
    /// Whether fault injection is enabled.
    pub faults: bool,
    /// Worker threads; `None` for one per core.
    pub workers: Option<usize>,
    /// A client that reads nothing of its response for this long is disconnected.
    pub stalled_client_timeout: Duration,
    /// Timeout of a request's head, and again of its body.
    pub request_timeout: Duration,
    /// Maximum number of connections.
    pub connections: usize,
    /// Time for open requests to finish at shutdown.
    pub shutdown_timeout: Duration,
    /// Settings of the library.
    pub observability: ObservabilitySettings,
}

impl Settings {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    /// The first invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        let names: BTreeSet<_> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        refuse_unknown(&names)?;
        let observability = ObservabilitySettings::from_env(SERVICE)?;
        Self::from_lookup(
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
            observability,
        )
    }

    fn from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
        observability: ObservabilitySettings,
    ) -> Result<Self, SettingsError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let listen = parse(&lookup, "LISTEN", "an address and a port such as 127.0.0.1:8000")?;
        // The error must not show credentials that were put into a URL.
        let no_address = |name| {
            move |error: ParseTargetError| SettingsError::Malformed {
                name,
                value: String::new(),
                expected: error.to_string(),
            }
        };
        let address = |name| lookup(name).map(|text| parse_address(&text)).transpose().map_err(no_address(name));
        let (public, kibana, grafana) = (address("PUBLIC_URL")?, address("KIBANA_URL")?, address("GRAFANA_URL")?);
        let store = match lookup("STORE") {
            Some(text) => text.parse().map_err(no_address("STORE"))?,
            None => Target::Sqlite(PathBuf::from("data/logs.db")),
        };
        let faults = switch(&lookup, "BACKEND_FAULTS")?;
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8000)));
        let access = AccessSettings::from_lookup(&lookup, public.as_ref())?;
        let is_open = switch(&lookup, "OPEN_LISTEN")?;
        access.check_addresses(is_open, listen, observability.admin_listen)?;
        let workers = parse::<usize>(&lookup, "BACKEND_WORKERS", "a number from 1 to 64")?;
        if let Some(workers) = workers.filter(|workers| !(1..=64).contains(workers)) {
            return Err(malformed("BACKEND_WORKERS", &workers.to_string(), "a number from 1 to 64"));
        }
        let shutdown_timeout = seconds(&lookup, "BACKEND_SHUTDOWN_TIMEOUT_S", 10, 0)?;
        let request_timeout = seconds(&lookup, "BACKEND_REQUEST_TIMEOUT_S", 10, 1)?;
        let connections = parse::<usize>(&lookup, "BACKEND_CONNECTIONS", CONNECTIONS)?.unwrap_or(1_024);
        if !(8..=65_536).contains(&connections) {
            return Err(malformed("BACKEND_CONNECTIONS", &connections.to_string(), CONNECTIONS));
        }
        let stalled_client_timeout = seconds(&lookup, "BACKEND_STALL_TIMEOUT_S", 60, 1)?;
        Ok(Self {
            listen,
            store,
            engine: engine_settings(&lookup)?,
            shipper_state_dir: lookup("SHIPPER_STATE_DIR").map(PathBuf::from),
            access,
            secret_files: SECRET_FILES.into_iter().filter_map(|name| Some((name, lookup(name)?.into()))).collect(),
            public,
            kibana,
            grafana,
            faults,
            workers,
            request_timeout,
            connections,
            stalled_client_timeout,
            shutdown_timeout,
            observability,
        })
    }
}

impl Settings {
    /// Secret files that other users may read or write: variable, path and permission bits.
    #[must_use]
    pub fn exposed_secrets(&self) -> Vec<(&'static str, PathBuf, u32)> {
        let exposed = |(name, path): &(&'static str, PathBuf)| {
            Some((*name, path.clone(), store::file_mode::shared_with_others(path)?))
        };
        self.secret_files.iter().filter_map(exposed).collect()
    }
}

/// Parses seconds from `least` to an hour.
fn seconds(
    lookup: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: u64,
    least: u64,
) -> Result<Duration, SettingsError> {
    let expected = format!("seconds, from {least} to 3600");
    let seconds = parse::<u64>(lookup, name, &expected)?.unwrap_or(default);
    if (least..=3_600).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(malformed(name, &seconds.to_string(), &expected))
    }
}

fn switch(lookup: &impl Fn(&str) -> Option<String>, name: &'static str) -> Result<bool, SettingsError> {
    match lookup(name).as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(malformed(name, other, "0 or 1")),
    }
}

fn refuse_unknown(names: &BTreeSet<String>) -> Result<(), SettingsError> {
    let known =
        |name: &str| VARIABLES.iter().chain(ObservabilitySettings::VARIABLES).any(|variable| variable.name == name);
    let has_prefix = |name: &&String| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    match names.iter().filter(has_prefix).find(|name| !known(name)) {
        Some(name) => Err(SettingsError::Unknown(name.clone())),
        None => Ok(()),
    }
}

fn parse<T: std::str::FromStr>(
    lookup: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, SettingsError> {
    let Some(text) = lookup(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| malformed(name, &text, expected))
}

fn malformed(name: &'static str, value: &str, expected: &str) -> SettingsError {
    SettingsError::Malformed { name, value: value.chars().take(200).collect(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let lookup =
            |name: &str| variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.to_owned());
        Settings::from_lookup(lookup, ObservabilitySettings::new(SERVICE))
    }

    #[test]
    fn defaults_listen_on_loopback() {
        let settings = from(&[]).unwrap();
        assert!(settings.listen.ip().is_loopback() && !settings.faults);
        assert_eq!(settings.store.to_string(), "sqlite:data/logs.db");
    }

    #[test]
    fn listening_beyond_loopback_needs_tokens_or_open_listen() {
        assert!(matches!(from(&[("LISTEN", "0.0.0.0:8000")]), Err(SettingsError::Unguarded(_))));
        assert!(matches!(from(&[("LISTEN", "[::]:8000"), ("OPEN_LISTEN", "0")]), Err(SettingsError::Unguarded(_))));
        for listen in ["127.0.0.2:8000", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert!(from(&[("LISTEN", listen)]).is_ok(), "{listen}");
        }
        assert!(from(&[("LISTEN", "0.0.0.0:8000"), ("OPEN_LISTEN", "1")]).is_ok());
        let with_tokens = from(&[("LISTEN", "0.0.0.0:8000"), ("TOKENS_FILE", "tokens.toml")]).unwrap();
        assert_eq!(with_tokens.access.tokens_file, Some(PathBuf::from("tokens.toml")));
    }

    #[test]
    fn secret_files_that_others_may_read_are_listed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let files = ["TOKENS_FILE", "STORE_API_KEY_FILE"].map(|name| (name, folder.path().join(name)));
        for (place, (_, path)) in files.iter().enumerate() {
            std::fs::write(path, "secret").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode([0o600, 0o604][place])).unwrap();
        }
        let variables = files.each_ref().map(|(name, path)| (*name, path.to_str().unwrap()));
        let settings = from(&variables).unwrap();
        assert_eq!(settings.exposed_secrets(), [("STORE_API_KEY_FILE", files[1].1.clone(), 0o604)]);
    }

    #[test]
    fn malformed_values_are_rejected_by_name() {
        for (name, value) in [
            ("LISTEN", "8000"),
            ("STORE", "mysql:x"),
            ("PUBLIC_URL", "javascript:alert(1)"),
            ("ALLOWED_HOSTS", "http://backend:8000"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
            ("METRICS_TOKEN", "short-secret"),
            ("KIBANA_URL", "127.0.0.1:5601"),
            ("KIBANA_URL", "http://user:secret@127.0.0.1:5601"),
            ("BACKEND_FAULTS", "yes"),
            ("OPEN_LISTEN", "yes"),
            ("BACKEND_WORKERS", "0"),
            ("BACKEND_SHUTDOWN_TIMEOUT_S", "-1"),
            ("BACKEND_STALL_TIMEOUT_S", "0"),
            ("BACKEND_REQUEST_TIMEOUT_S", "0"),
            ("BACKEND_CONNECTIONS", "7"),
            ("STORE_TIMEOUT_MS", "0"),
            ("STORE_USER", "only-a-user"),
            ("STORE_API_KEY_FILE", "/nowhere/key"),
            ("STORE_CLIENT_CERTIFICATE", "client.pem"),
            ("STORE_CLIENT_KEY", "client.key"),
            ("STORE_PROXY", "http://user:secret@proxy:3128"),
            ("STORE_PROXY", "socks5://proxy:1080"),
            ("STORE_PROXY_USER", "only-a-user"),
        ] {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_unknown_variables_with_our_prefixes_are_rejected() {
        let names = |name: &str| BTreeSet::from([name.to_owned()]);
        assert!(refuse_unknown(&names("BACKEND_FAULT")).is_err());
        assert!(refuse_unknown(&names("METRICS_PROJECT")).is_err());
        assert!(refuse_unknown(&names("HOME")).is_ok());
        for variable in VARIABLES.iter().chain(ObservabilitySettings::VARIABLES) {
            assert!(refuse_unknown(&names(variable.name)).is_ok(), "{}", variable.name);
        }
    }
}
