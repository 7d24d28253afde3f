//! Subcommands that work on the state directory: dead letters, verification, the spool. None of them ships new lines.

pub(crate) mod args;
pub(crate) mod dead_letters;
pub(crate) mod progress;
pub(crate) mod spool;
pub(crate) mod verify;

use std::io::{self, Write};

use shipper::config::{Bootstrap, Settings};
use shipper::verify::VerifyError;
use store::{BootstrapError, BootstrapMode, Cause, SearchError, StoreAudit, StoreWriter};

use crate::exit::{Exit, Failure};

/// Opens the store for writing and bootstraps it, unless `bootstrap = "off"`.
async fn open_to_write(settings: &Settings) -> Result<StoreWriter, Failure> {
    let store = StoreWriter::open(settings.to(), &settings.engine()).await;
    let store = store.map_err(|error| Failure::new(Exit::Store, error.to_string()))?;
    let mode = match settings.bootstrap() {
        Bootstrap::Off => return Ok(store),
        Bootstrap::Apply => BootstrapMode::Apply,
        Bootstrap::Check => BootstrapMode::Check,
    };
    store.bootstrap(mode).await.map_err(|error| match error {
        BootstrapError::Unavailable(cause) => unreachable(settings, &cause),
        error => Failure::new(Exit::Store, format!("{}: {error}", settings.to())),
    })?;
    Ok(store)
}

/// Opens the store read-only.
async fn open_to_audit(settings: &Settings) -> Result<StoreAudit, Failure> {
    let store = StoreAudit::open(settings.to(), &settings.engine()).await;
    store.map_err(|error| Failure::new(Exit::Store, error.to_string()))
}

fn unreachable(settings: &Settings, cause: &Cause) -> Failure {
    Failure::new(Exit::StoreUnreachable, format!("{} does not respond: {cause}; try again later", settings.to()))
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let exit = match &error {
            VerifyError::Journal(_) | VerifyError::Io { .. } => Exit::StateDir,
            VerifyError::Store(SearchError::Refused(_)) => Exit::Store,
            VerifyError::Store(_) => Exit::StoreUnreachable,
        };
        Self::new(exit, error.to_string())
    }
}

/// Writes to standard output. A closed pipe is not an error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow::Error::from(error).into()),
        _ => Ok(()),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    print(&format!("{text}\n"))
}
