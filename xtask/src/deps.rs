//! Unpacks the programs of the tests and the local stack under `.cache`. Nothing is installed on the machine.
//!
//! A second run downloads only what is missing. A part appears in one step, complete; concurrent runs wait for each other.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::artifact::{AXE_CORE, Release, download, sha256};
use crate::find::{cache, find};
use crate::obstacle::{MISSING, obstacle, say};
use crate::package::{PACKAGES, Package};
use crate::process::{executable, run, variable, wait_until};

/// The parts that all tests need.
const DEFAULT: &str = "opensearch elasticsearch prometheus alertmanager logrotate chromium axe-core docker-compose wrk";

enum Part {
    Engine(&'static Release),
    Package(&'static Package),
    AxeCore,
}

/// Unpacks parts by their names, all that the tests need if there are none.
pub(crate) fn unpack(names: &[&str]) -> Result<()> {
    let names = if names.is_empty() { DEFAULT.split(' ').collect() } else { names.to_vec() };
    let mut parts = Vec::new();
    for name in names {
        let part = Part::named(name)?;
        let address = if let Part::Engine(release) = part { variable(release.address_variable()) } else { None };
        if let Some(address) = address {
            say!("{name}: using {address}, nothing to unpack");
        } else if !part.is_ready()? {
            parts.push((name, part));
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    for (_, part) in &parts {
        if let Part::Package(package) = part { package.require_apt() } else { require_maven() }?;
    }
    fs::create_dir_all(cache())?;
    let _lock = lock(&cache().join("deps.lock"))?;
    for (name, part) in parts {
        // The run that held the lock may have made it.
        if !part.is_ready()? {
            say!("{name}: fetching and unpacking …");
            let work = tempfile::Builder::new().prefix(".unpack.").tempdir_in(cache())?;
            part.unpack(work.path())?;
            say!("{name}: ready in {}", part.home().display());
        }
    }
    Ok(())
}

impl Part {
    fn named(name: &str) -> Result<Self> {
        Ok(match PACKAGES.iter().find(|package| package.name == name) {
            Some(package) => Self::Package(package),
            None if name == "axe-core" => Self::AxeCore,
            None => Self::Engine(Release::named(name)?),
        })
    }

    fn home(&self) -> PathBuf {
        match self {
            Self::Engine(release) => release.home(),
            Self::Package(package) => cache().join(package.folder),
            Self::AxeCore => cache().join("axe-core"),
        }
    }

    /// The content of its file `.stamp`; packages have none.
    fn stamp(&self) -> Option<String> {
        match self {
            Self::Engine(release) => Some(release.stamp()),
            Self::Package(_) => None,
            Self::AxeCore => Some(format!("{AXE_CORE} {} recipe 1\n", sha256(AXE_CORE)?)),
        }
    }

    fn is_ready(&self) -> Result<bool> {
        match self {
            Self::Package(package) => package.is_available(),
            _ => Ok(self.stamp() == fs::read_to_string(self.home().join(".stamp")).ok()),
        }
    }

    fn unpack(&self, work: &Path) -> Result<()> {
        let mut made = work.join("made");
        match self {
            Self::Engine(release) => made = release.unpack(work)?,
            Self::Package(package) => package.unpack(work, &made)?,
            Self::AxeCore => download(&format!("{AXE_CORE}:jar"), AXE_CORE, work, &made)?,
        }
        self.stamp().map_or(Ok(()), |stamp| fs::write(made.join(".stamp"), stamp))?;
        publish(&made, &self.home(), work)
    }
}

/// Moves a folder to its place in one step. Engines may run as another user, who must be able to read it.
fn publish(made: &Path, place: &Path, work: &Path) -> Result<()> {
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(made), "chmod failed")?;
    if place.exists() {
        fs::rename(place, work.join("replaced"))?;
    }
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    Ok(fs::rename(made, place)?)
}

/// Waits until no other run has the lock.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    wait_until(Duration::MAX, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    })?;
    Ok(file)
}

fn require_maven() -> Result<()> {
    let (what, packages) = match (find("java")?.is_some(), executable("mvn").is_some()) {
        (true, true) => return Ok(()),
        (false, true) => ("Java 17 to 23", "openjdk-17-jre-headless"),
        (true, false) => ("Maven (mvn)", "maven"),
        (false, false) => ("Java 17 to 23, Maven (mvn)", "openjdk-17-jre-headless maven"),
    };
    let engines = "ENGINE_URL (OpenSearch 2.19) and BARE_ENGINE_URL (Elasticsearch 8.8)";
    let install = format!("On Debian or Ubuntu: apt-get install {packages}");
    Err(obstacle!(MISSING, "missing: {what}. {install}. Or set the addresses of running engines: {engines}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_place_and_unknown_ones_are_refused() {
        assert!(DEFAULT.split(' ').all(|name| Part::named(name).unwrap().home().starts_with(cache())));
        let message = Part::named("emacs").err().unwrap().to_string();
        assert!(message.starts_with("no engine is called 'emacs'"), "{message}");
    }

    #[test]
    fn a_part_is_replaced_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let (place, work) = (folder.path().join("engines/one"), folder.path().join("work"));
        for content in ["old", "new"] {
            fs::create_dir_all(work.join("made")).unwrap();
            fs::write(work.join("made/file"), content).unwrap();
            publish(&work.join("made"), &place, &work).unwrap();
            assert_eq!(fs::read_to_string(place.join("file")).unwrap(), content);
        }
    }

    #[test]
    fn a_lock_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&path).map(drop));
            assert!(File::open(&path).unwrap().try_lock().is_err() && !waiting.is_finished());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
