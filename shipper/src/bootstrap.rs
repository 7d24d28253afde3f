//! `shipper bootstrap` installs what the store needs, or checks it. `shipper preflight` checks that the store would
//! accept lines. Neither ships anything.

use std::io::{self, Write};

use shipper::config::{Bootstrap, Settings};
use store::{BootstrapError, BootstrapMode, StoreWriter};

use crate::exit::{Exit, Failure};

/// Installs pipeline and template; `bootstrap = "check"` only checks them. `"off"` is ignored: it applies to the start
/// of `run` and `exec`, and leaves the work to this subcommand.
pub(crate) async fn bootstrap(settings: &Settings) -> Result<Exit, Failure> {
    let mode = match settings.bootstrap() {
        Bootstrap::Apply | Bootstrap::Off => BootstrapMode::Apply,
        Bootstrap::Check => BootstrapMode::Check,
    };
    let report = open(settings).await?.bootstrap(mode).await.map_err(|error| failure(settings, error))?;
    writeln!(io::stdout().lock(), "{}: {report}", settings.to()).map_err(anyhow::Error::from)?;
    Ok(Exit::Success)
}

/// Prints the findings without changing anything. Fails if lines could not be delivered.
pub(crate) async fn preflight(settings: &Settings) -> Result<Exit, Failure> {
    let report = open(settings).await?.preflight().await.map_err(|error| failure(settings, error))?;
    writeln!(io::stdout().lock(), "{}: {report}", settings.to()).map_err(anyhow::Error::from)?;
    Ok(if report.is_blocked() { Exit::Store } else { Exit::Success })
}

async fn open(settings: &Settings) -> Result<StoreWriter, Failure> {
    let store = StoreWriter::open(settings.to(), &settings.engine()).await;
    store.map_err(|error| Failure::new(Exit::Store, error.to_string()))
}

fn failure(settings: &Settings, error: BootstrapError) -> Failure {
    match error {
        BootstrapError::Refused(cause) => Failure::new(Exit::Store, format!("{}: {cause}", settings.to())),
        BootstrapError::Unavailable(cause) => {
            let message = format!("{} does not respond: {cause}; start it, or correct --to", settings.to());
            Failure::new(Exit::StoreUnreachable, message)
        }
    }
}
