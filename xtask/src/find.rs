//! Where programs are: given by a variable, installed, or unpacked by [`crate::deps`].

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::obstacle::{MISSING, USAGE, obstacle};
use crate::process::{executable, variable};

/// The repository. `cargo run` sets the variable, for the copy in which it runs.
pub(crate) fn root() -> PathBuf {
    let of_crate = variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&of_crate).parent().unwrap_or(Path::new("/")).to_owned()
}

/// Folder of everything that is unpacked; several checkouts can share one.
pub(crate) fn cache() -> PathBuf {
    variable("CACHE_DIR").map_or_else(|| root().join(".cache"), PathBuf::from)
}

/// The path of a program, or the home of a Java that can run all tests; none if it has to be unpacked first.
pub(crate) fn find(name: &str) -> Result<Option<PathBuf>> {
    let unpacked = |path: &str| executable(cache().join(path));
    // Installed versions of these are used only where no package can be unpacked.
    let preferably_unpacked = |variable_of_home: &str, path: &str| match variable(variable_of_home) {
        Some(home) => executable(Path::new(&home).join(name)),
        None => unpacked(path).or_else(|| executable(name).filter(|_| executable("apt-get").is_none())),
    };
    Ok(match name {
        "prometheus" => preferably_unpacked("PROMETHEUS_HOME", "monitoring/prometheus/usr/bin/prometheus"),
        "promtool" => preferably_unpacked("PROMETHEUS_HOME", "monitoring/prometheus/usr/bin/promtool"),
        "alertmanager" => preferably_unpacked("ALERTMANAGER_HOME", "monitoring/alertmanager/alertmanager"),
        "amtool" => preferably_unpacked("ALERTMANAGER_HOME", "monitoring/alertmanager/usr/bin/amtool"),
        "logrotate" => preferably_unpacked("", "monitoring/logrotate/logrotate"),
        "chromium" | "chromedriver" => {
            // Both from one source: a driver works only with browsers of its own version.
            let browser = given("CHROMIUM", &["chromium", "google-chrome", "chromium-browser"])?;
            let installed = browser.zip(given("CHROMEDRIVER", &["chromedriver"])?);
            let both = installed.or_else(|| unpacked("browser/chromium").zip(unpacked("browser/chromedriver")));
            both.map(|(browser, driver)| if name == "chromium" { browser } else { driver })
        }
        "docker-compose" => executable(name).or_else(|| unpacked("docker-compose/docker-compose")),
        "dockerd" | "debootstrap" => executable(name).or_else(|| unpacked(&format!("docker/usr/sbin/{name}"))),
        "wrk" => given("WRK", &["wrk"])?.or_else(|| unpacked("wrk/wrk")),
        "java" => java_home((17, 23)),
        _ => return Err(obstacle!(USAGE, "no program is called '{name}'")),
    })
}

/// The path of a program. Fails if it has to be unpacked first.
pub(crate) fn require(name: &str) -> Result<PathBuf> {
    find(name)?.ok_or_else(|| obstacle!(MISSING, "missing: {name}. Run 'make deps'"))
}

/// A program by a variable, else by one of its names on the `PATH`.
fn given(name: &str, installed: &[&str]) -> Result<Option<PathBuf>> {
    let Some(path) = variable(name) else { return Ok(installed.iter().find_map(executable)) };
    executable(&path).map(Some).ok_or_else(|| obstacle!(MISSING, "missing: {name}={path} is not a program"))
}

/// The home of a Java of one of these versions.
pub(crate) fn java_home((oldest, newest): (u32, u32)) -> Option<PathBuf> {
    let given = variable("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let mut installed: Vec<_> = installed.map(|entry| entry.path().join("bin/java")).collect();
    installed.sort();
    given.into_iter().chain(executable("java")).chain(installed).filter_map(executable).find_map(|java| {
        let output = Command::new(java).args(["-XshowSettings:properties", "-version"]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let version = property(&text, "java.specification.version")?.parse().ok()?;
        Some(property(&text, "java.home")?.into()).filter(|_| (oldest..=newest).contains(&version))
    })
}

/// A value among the properties that Java prints.
fn property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_java_are_read() {
        let text = "Property settings:\n    java.home = /usr/lib/jvm/java 17\n    java.specification.version = 17\n";
        assert_eq!(property(text, "java.home"), Some("/usr/lib/jvm/java 17"));
        assert_eq!(property(text, "java"), None);
    }
}
