//! Configures and starts real engines, each as a single node and as a user that is not root.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::{Signal, geteuid, kill_process_group};
use tempfile::TempDir;

use crate::artifact::Release;
use crate::deps;
use crate::find::java_home;
use crate::obstacle::{MISSING, UNAVAILABLE, USAGE, obstacle, say};
use crate::process::{Group, answers, command_of, last_lines, output_of, run, variable, wait_until};

/// A way to run a program as a user of its own namespace, and one without namespaces.
const IN_NAMESPACE: &str = "unshare --user --map-user=1000 --map-group=1000";
const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
/// Options of Java that write to the engine's own folder, which other runs share.
const SHARED_OPTIONS: [&str; 5] = ["-Xlog", "HeapDump", "ErrorFile", "PrintGC", "GCLog"];

/// Answered with 200 if the cluster accepts writes.
pub(crate) const HEALTH: &str = "/_cluster/health?wait_for_status=yellow&timeout=1s";

/// The heap of an engine, such as `512m`.
pub(crate) fn heap() -> String {
    variable("ENGINE_HEAP").unwrap_or_else(|| "512m".to_owned())
}

/// The time limit for a part to become ready. An engine takes 10 to 20 s on two cores.
pub(crate) fn start_timeout() -> Duration {
    Duration::from_secs(variable("START_TIMEOUT_S").and_then(|value| value.parse().ok()).unwrap_or(180))
}

/// A way to end a program with its parent, even if that is killed without a chance to clean up; empty if there is none.
fn with_parent() -> &'static str {
    Some("setpriv --pdeathsig TERM").filter(|prefix| works(prefix)).unwrap_or_default()
}

fn works(prefix: &str) -> bool {
    output_of(command_of(&words(prefix)).arg("true")).is_some()
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// The command of one of an engine's programs, behind the words of a prefix that runs it. Configuration, data and logs are
/// in a folder. Files in `FOLDER/extra` replace the engine's own; `FOLDER/extra/settings.yml` is added to its settings.
/// Port 0 lets the system choose; the engine writes the port to `FOLDER/logs/http.ports`.
pub(crate) fn command(release: &Release, program: &str, folder: &Path, port: u16, prefix: &str) -> Result<Command> {
    let (Release(engine, version, (oldest, newest)), mut home) = (release, release.home());
    let java_home = java_home(release.2).ok_or_else(|| {
        let package = format!("openjdk-{oldest}-jre-headless");
        obstacle!(MISSING, "missing: Java {oldest} to {newest}. On Debian or Ubuntu: apt-get install {package}")
    })?;
    let user = match geteuid().is_root() {
        false => "",
        true => [IN_NAMESPACE, AS_NOBODY].into_iter().find(|prefix| works(prefix)).ok_or_else(|| {
            let reason = "engines refuse to run as root, and neither unshare nor setpriv (util-linux) works here";
            obstacle!(MISSING, "{reason}: run this as another user")
        })?,
    };
    let path = |name: &str| folder.join(name);
    ["data", "logs", "tmp", "config"].iter().try_for_each(|name| fs::create_dir_all(path(name)))?;
    fs::remove_dir_all(path("config"))?;
    let _absent = fs::remove_file(path("logs/http.ports"));
    let copy = |from: &Path, to: &str| run(Command::new("cp").arg("-R").args([from, &path(to)]), "cp failed");
    copy(&home.join("config"), "config")?;
    let options = jvm_options(&fs::read_to_string(path("config/jvm.options"))?, folder);
    fs::write(path("config/jvm.options"), options)?;
    if path("extra").is_dir() {
        copy(&path("extra/."), "config")?;
    }
    let given = fs::read_to_string(path("extra/settings.yml")).unwrap_or_default();
    fs::write(path(&format!("config/{engine}.yml")), settings(release, folder, port, &given))?;
    if user == AS_NOBODY {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(folder), "chown failed")?;
        run(Command::new("chmod").arg("a+rx").args(folder.parent()), "chmod failed")?;
        if output_of(command_of(&words(user)).args(["test", "-r"]).arg(home.join(".stamp"))).is_none() {
            copy(&home, "home")?;
            home = path("home");
        }
    }
    let mut all = words(&format!("{user} {prefix}"));
    all.push(home.join("bin").join(program).into());
    let mut command = command_of(&all);
    command.stdin(Stdio::null()).env_remove("JAVA_TOOL_OPTIONS").env_remove("JAVA_HOME");
    let options = format!("-Xms{0} -Xmx{0}", heap());
    for name in ["OPENSEARCH", "ES"] {
        command.env(format!("{name}_JAVA_HOME"), &java_home).env(format!("{name}_JAVA_OPTS"), &options);
        command.env(format!("{name}_PATH_CONF"), path("config")).env(format!("{name}_TMPDIR"), path("tmp"));
    }
    if *version == "7.10.2" {
        // It has no variable of its own; newer versions warn about this one.
        command.env("JAVA_HOME", &java_home);
    }
    Ok(command)
}

fn jvm_options(given: &str, folder: &Path) -> String {
    let kept = given.lines().filter(|line| !SHARED_OPTIONS.iter().any(|option| line.contains(option)));
    let own = format!("-XX:ErrorFile={}/logs/crash-%p.log", folder.display());
    kept.chain([own.as_str()]).map(|line| format!("{line}\n")).collect()
}

/// The settings of a node, with additional ones, which replace some of the others.
fn settings(Release(engine, version, _): &Release, folder: &Path, port: u16, given: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        "cluster.name: observability-local\nnetwork.host: 127.0.0.1\nhttp.port: {port}\nnode.portsfile: true\n\
         path.data: {folder}/data\npath.logs: {folder}/logs\n\
         # A developer's disk is often fuller than an engine allows.\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n{given}"
    );
    let has_security = *engine == "elasticsearch" && *version != "7.10.2";
    for (name, line) in [
        ("node.name", format!("node.name: {engine}")),
        ("transport.port", "transport.port: 0".to_owned()),
        ("discovery.seed_hosts", "discovery.type: single-node".to_owned()),
        ("xpack.security.enabled", "xpack.security.enabled: false".to_owned()),
    ] {
        let is_given = given.lines().any(|line| line.starts_with(&format!("{name}:")));
        if !is_given && (has_security || !name.starts_with("xpack")) {
            text = text + &line + "\n";
        }
    }
    text
}

/// Replaces this process with an engine, or with one of its tools.
pub(crate) fn run_in_foreground(name: &str, folder: &Path, port: u16, tool: &[OsString]) -> Result<u8> {
    let release = Release::named(name)?;
    deps::unpack(&[name])?;
    Err(match tool.split_first() {
        Some((tool, arguments)) => {
            let mut command = command(release, &tool.to_string_lossy(), folder, port, "")?;
            command.args(arguments).stdin(Stdio::inherit()).exec().into()
        }
        None => command(release, release.0, folder, port, with_parent())?.exec().into(),
    })
}

/// Engines that run until this is dropped, in a temporary folder.
struct Engines(Vec<(&'static Release, Group)>, TempDir);

impl Drop for Engines {
    fn drop(&mut self) {
        // All at once; then each is waited for.
        for (_, group) in &self.0 {
            let _ended = kill_process_group(group.pid(), Signal::TERM);
        }
        self.0.clear();
    }
}

impl Engines {
    /// Starts all engines together.
    fn start(releases: &[&'static Release]) -> Result<Self> {
        let mut engines = Self(Vec::new(), tempfile::Builder::new().prefix("observability-engines.").tempdir()?);
        for release in releases {
            let folder = engines.1.path().join(release.0);
            let mut command = command(release, release.0, &folder, 0, with_parent())?;
            let output = File::create(folder.join("output"))?;
            let group = Group::spawn(command.stdout(output.try_clone()?).stderr(output))?;
            engines.0.push((release, group));
        }
        Ok(engines)
    }

    /// Waits until each is ready, and returns the variables with their addresses.
    fn addresses(&mut self) -> Result<Vec<(&'static str, String)>> {
        let (limit, mut addresses) = (start_timeout(), Vec::new());
        for (release, group) in &mut self.0 {
            let (name, folder, began) = (release.0, self.1.path().join(release.0), Instant::now());
            say!("{name}: starting …");
            let failure = |what: &str| {
                let last = last_lines(&folder.join("output"), 40);
                obstacle!(UNAVAILABLE, "{name} {what}; its last lines:\n{last}")
            };
            let port = wait_until(limit, || {
                let ports = fs::read_to_string(folder.join("logs/http.ports")).unwrap_or_default();
                let port = published_port(&ports).filter(|port| answers(*port, HEALTH));
                let has_ended = port.is_none() && group.has_ended()?.is_some();
                if has_ended { Err(failure("ended while starting")) } else { Ok(port) }
            })?;
            let port = port.ok_or_else(|| failure(&format!("was not ready within {} s", limit.as_secs())))?;
            say!("{name}: ready at http://127.0.0.1:{port} after {} s", began.elapsed().as_secs());
            addresses.push((release.address_variable(), format!("http://127.0.0.1:{port}")));
        }
        Ok(addresses)
    }
}

/// The port of an engine, once it has written it.
fn published_port(ports: &str) -> Option<u16> {
    ports.lines().find_map(|line| line.strip_prefix("127.0.0.1:")?.parse().ok())
}

/// Runs a command with the addresses of engines in its environment, and stops the engines that were started for it.
/// Returns the command's exit code.
pub(crate) fn with_engines(names: &[String], words: &[OsString]) -> Result<u8> {
    let mut releases = Vec::new();
    for name in names {
        let release = Release::named(name)?;
        match variable(release.address_variable()) {
            Some(address) => say!("{name}: using {address}"),
            None if release.address_variable().is_empty() => return Err(obstacle!(USAGE, "{name} has no variable")),
            None => releases.push(release),
        }
    }
    let mut command = command_of(words);
    if releases.is_empty() {
        return Group::spawn(&mut command)?.wait();
    }
    deps::unpack(&releases.iter().map(|release| release.0).collect::<Vec<_>>())?;
    let mut engines = Engines::start(&releases)?;
    Group::spawn(command.envs(engines.addresses()?))?.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(name: &str, given: &str) -> String {
        settings(Release::named(name).unwrap(), Path::new("/run/node"), 9200, given)
    }

    #[test]
    fn a_node_has_its_own_folder_and_port() {
        let text = settings_of("opensearch", "");
        for line in ["http.port: 9200\n", "path.data: /run/node/data\n", "discovery.type: single-node\n"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn security_is_off_in_engines_that_have_it() {
        assert!(settings_of("elasticsearch", "").ends_with("xpack.security.enabled: false\n"));
        assert!(!settings_of("elasticsearch-7.10.2", "").contains("xpack"));
        assert!(!settings_of("opensearch", "").contains("xpack"));
    }

    #[test]
    fn additional_settings_replace_defaults() {
        let text =
            settings_of("elasticsearch", "node.name: a\ndiscovery.seed_hosts: [b]\nxpack.security.enabled: true\n");
        assert!(text.contains("node.name: a\n") && text.contains("transport.port: 0\n"), "{text}");
        assert!(!["name: elasticsearch", "single-node", "enabled: false\nx"].iter().any(|other| text.contains(other)));
    }

    #[test]
    fn java_writes_nothing_to_the_folder_that_runs_share() {
        let given =
            "-Xms1g\n-XX:+HeapDumpOnOutOfMemoryError\n9-:-Xlog:gc*,gc+age=trace:file=logs/gc.log\n14-:-XX:+Show\n";
        let expected = "-Xms1g\n14-:-XX:+Show\n-XX:ErrorFile=/run/node/logs/crash-%p.log\n";
        assert_eq!(jvm_options(given, Path::new("/run/node")), expected);
    }

    #[test]
    fn the_port_is_read_among_addresses() {
        assert_eq!(published_port("[::1]:9201\n127.0.0.1:9202\n"), Some(9202));
        assert_eq!(published_port(""), None);
    }
}
