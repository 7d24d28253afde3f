//! `shipper bootstrap` puts in place what the store needs, or checks it; `shipper preflight` proves that it works. Neither
//! ships anything.

use std::io::{self, Write};

use shipper::config::{Bootstrap, Settings};
use store::{BootstrapError, BootstrapMode, StoreWriter};

use crate::exit::{Exit, Failure};

/// Puts pipeline and template in place; `bootstrap = "check"` only looks. `"off"` is about the start of `run` and
/// `exec`, which leave to this subcommand what it does.
pub(crate) async fn bootstrap(settings: &Settings) -> Result<Exit, Failure> {
    let mode = match settings.bootstrap() {
        Bootstrap::Apply | Bootstrap::Off => BootstrapMode::Apply,
        Bootstrap::Check => BootstrapMode::Check,
    };
    let report = open(settings).await?.bootstrap(mode).await.map_err(|error| failure(settings, error))?;
    writeln!(io::stdout().lock(), "{}: {report}", settings.to()).map_err(anyhow::Error::from)?;
    Ok(Exit::Success)
}

/// Says what is proven of the store, and changes nothing. Where lines would wait it says so and ends as if refused.
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
            let message = format!("{} does not answer: {cause}; start it, or correct --to", settings.to());
            Failure::new(Exit::StoreUnreachable, message)
        }
    }
}
