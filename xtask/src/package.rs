//! Debian's packages, downloaded and checked by the machine's own apt, and unpacked without installing them: an
//! installation would start daemons. A program that needs libraries gets a script that runs it with those of its folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use regex_lite::Regex;

use crate::find::find;
use crate::obstacle::{MISSING, UNAVAILABLE, obstacle};
use crate::process::{executable, output_of, run, variable};

/// Programs of Debian. Names are separated by spaces.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// Where it is unpacked, below the cache.
    pub(crate) folder: &'static str,
    programs: &'static str,
    packages: &'static str,
    /// Names of dependencies that are unpacked as well.
    dependencies: &'static str,
    /// Names of those that are not, because every system has them or they are not needed.
    except: &'static str,
    /// Scripts, and the last line of each.
    scripts: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip] // a table
pub(crate) const PACKAGES: [Package; 7] = [
    Package { name: "prometheus", folder: "monitoring/prometheus", programs: "prometheus promtool", packages: "prometheus", ..NONE },
    Package {
        name: "alertmanager", folder: "monitoring/alertmanager",
        programs: "alertmanager amtool", packages: "prometheus-alertmanager",
        // It reads its templates from a file descriptor, see `unpack`.
        scripts: &[("alertmanager", "exec $here/usr/bin/prometheus-alertmanager \"$@\" 9<$here/usr/share/prometheus/alertmanager")],
        ..NONE
    },
    Package {
        name: "logrotate", folder: "monitoring/logrotate",
        programs: "logrotate", packages: "logrotate libpopt0 libacl1 libselinux1 libpcre2-8-0",
        scripts: &[("logrotate", "exec $here/usr/sbin/logrotate \"$@\"")],
        ..NONE
    },
    Package {
        name: "chromium", folder: "browser",
        programs: "chromium chromedriver", packages: "chromium chromium-driver fonts-dejavu-core fonts-inter",
        dependencies: "chromium.*|fonts-.*|lib.*|zlib1g",
        // Also those needed only for an installation, a screen or a graphics card.
        except: r"libc6|libgcc-s1|libstdc\+\+6|libcrypt1|libpam.*|lib(pod-|perl|file-|number-|text-).*|libllvm.*|libz3.*|libgl1.*|libglx.*|libdrm-(amdgpu|intel|nouveau|radeon).*|libsystemd-shared|libsem.*|libsepol.*|libaudit.*|libgdbm.*|libdb5.*|libkmod.*|libcrypt.*|libdevmapper.*|libfdisk.*|libargon2.*|libip4tc.*|libsensors.*|libncurses.*|libgtk-3-common",
        scripts: &[
            ("chromium", "FONTCONFIG_FILE=$here/fonts.conf exec $here/usr/lib/chromium/chromium \"$@\""),
            ("chromedriver", "FONTCONFIG_FILE=$here/fonts.conf exec $here/usr/bin/chromedriver \"$@\""),
        ],
    },
    Package {
        name: "docker-compose", folder: "docker-compose", programs: "docker-compose", packages: "docker-compose",
        dependencies: "python3-.*|libyaml-0-2", except: "python3-minimal",
        scripts: &[("docker-compose", r#"PYTHONPATH=$here/usr/lib/python3/dist-packages exec python3 -c 'import sys; sys.argv[0] = "docker-compose"; from compose.cli.main import main; main()' "$@""#)],
    },
    Package {
        name: "wrk", folder: "wrk", programs: "wrk", packages: "wrk libluajit-5.1-2",
        scripts: &[("wrk", "exec $here/usr/bin/wrk \"$@\"")],
        ..NONE
    },
    Package {
        name: "docker", folder: "docker", programs: "dockerd debootstrap", packages: "docker.io debootstrap",
        dependencies: "containerd|runc|tini|iptables|libdevmapper.*|libip4tc2|libip6tc2|libxtables12|libmnl0|libnetfilter-conntrack3|libnfnetlink0|libnftnl11|libseccomp2",
        ..NONE
    },
];

const NONE: Package =
    Package { name: "", folder: "", programs: "", packages: "", dependencies: "", except: "", scripts: &[] };

impl Package {
    /// Whether its programs are available, from any source.
    pub(crate) fn is_available(&self) -> Result<bool> {
        if self.name == "docker-compose" && output_of(Command::new("docker").args(["compose", "version"])).is_some() {
            return Ok(true);
        }
        self.programs.split(' ').try_fold(true, |all, program| Ok(all && find(program)?.is_some()))
    }

    /// Fails with advice unless apt can download it.
    pub(crate) fn require_apt(&self) -> Result<()> {
        let (Self { name, programs, .. }, home) = (self, format!("{}_HOME", self.name.to_uppercase()));
        if let Some(folder) = variable(&home) {
            return Err(obstacle!(MISSING, "missing: {programs} in {home}={folder}"));
        }
        let or = match *name {
            "prometheus" | "alertmanager" => format!(", or unpack its archive and set {home} to the folder"),
            "chromium" => ", or set CHROMIUM and CHROMEDRIVER to their paths".to_owned(),
            _ => String::new(),
        };
        let install = format!("install {name} so that the PATH has {programs}{or}");
        if executable("apt-get").zip(executable("dpkg")).is_none() {
            return Err(obstacle!(MISSING, "missing: {programs}, and apt is not available: {install}."));
        }
        for package in self.packages.split(' ') {
            let shown = output_of(Command::new("apt-cache").args(["--quiet=2", "show", package])).unwrap_or_default();
            // Ubuntu's packages of that name are empty and refer to snap.
            let refers = package == "chromium-driver" && !Regex::new("(?m)^Depends:.*chromium")?.is_match(&shown);
            if shown.is_empty() || refers {
                let update = "run 'apt-get update' as root, then this again (on Ubuntu with the component universe)";
                return Err(obstacle!(MISSING, "apt does not know Debian's {package}: {update}, or {install}."));
            }
        }
        Ok(())
    }

    /// Downloads the packages and unpacks them to a folder.
    pub(crate) fn unpack(&self, work: &Path, home: &Path) -> Result<()> {
        let (name, downloads) = (self.name, work.join("deb"));
        fs::create_dir(&downloads)?;
        let mut command = Command::new("apt-get");
        if rustix::process::geteuid().is_root() {
            // As root, apt would download as a user who can't write here, with a warning.
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        command.args(["-qq", "download"]).args(self.all_packages()?).current_dir(&downloads);
        let advice = "If packages were not found: run 'apt-get update' as root, then this again.";
        run(&mut command, &format!("apt could not download {name}; its output is above. {advice}"))?;
        for package in fs::read_dir(&downloads)? {
            let mut command = Command::new("dpkg");
            run(command.arg("-x").args([&package?.path(), home]), &format!("{name} can't be unpacked"))?;
        }
        if name == "alertmanager" {
            // Its templates are in a fixed folder, which exists only if the package is installed. The path in the program
            // is replaced with one of the same length, of a file descriptor that the script opens.
            let expression = "s#/usr/share/prometheus/alertmanager#/proc/self/fd/9///////////////////#g";
            let program = home.join("usr/bin/prometheus-alertmanager");
            run(Command::new("sed").env("LC_ALL", "C").args(["-i", expression]).arg(program), "sed failed")?;
        } else if name == "chromium" {
            fs::write(home.join("fonts.conf"), FONTS)?;
        } else if name == "docker" {
            // An installation would create their plain names as alternatives.
            for program in
                ["ip", "ip6"].iter().flat_map(|ip| ["", "-save", "-restore"].map(|end| format!("{ip}tables{end}")))
            {
                symlink("xtables-nft-multi", home.join("usr/sbin").join(program))?;
            }
        }
        for (script, line) in self.scripts {
            let script = home.join(script);
            fs::write(&script, format!("{LIBRARIES}{line}\n"))?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
            let output = Command::new(&script).arg("--version").output()?;
            // The status of the loader if a library is missing.
            if output.status.code() == Some(127) {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(obstacle!(MISSING, "the unpacked {name} does not start: {reason}"));
            }
        }
        Ok(())
    }

    /// The packages with the dependencies to unpack, of those that an empty machine would install.
    fn all_packages(&self) -> Result<Vec<String>> {
        let packages = self.packages.split(' ');
        let mut names: Vec<_> = packages.clone().map(str::to_owned).collect();
        if !self.dependencies.is_empty() {
            let mut simulation = Command::new("apt-get");
            simulation.args(["-s", "-o", "Dir::State::status=/dev/null", "install", "--no-install-recommends"]);
            let output = output_of(simulation.args(packages));
            let output = output.ok_or_else(|| obstacle!(UNAVAILABLE, "apt finds no dependencies of {}", self.name))?;
            names.extend(chosen(&output, self.dependencies, self.except)?);
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// The names of installed packages, in the output of a simulation, that match one pattern and not the other.
fn chosen(output: &str, taken: &str, except: &str) -> Result<Vec<String>> {
    let (taken, except) = (Regex::new(&format!("^(?:{taken})$"))?, Regex::new(&format!("^(?:{except})$"))?);
    let names = output.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(names.filter(|name| taken.is_match(name) && !except.is_match(name)).map(str::to_owned).collect())
}

/// The beginning of every script.
const LIBRARIES: &str = r#"#!/bin/sh
# Runs a program with the libraries in the folder of this file, wherever that is.
here=$(cd "$(dirname "$0")" && pwd)
IFS= libraries=
for folder in "$here"/usr/lib/*-linux-gnu* "$here"/lib/*-linux-gnu* "$here"/usr/lib/*-linux-gnu*/pulseaudio; do
    [ ! -d "$folder" ] || libraries=${libraries:+$libraries:}$folder
done
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
"#;

/// The fonts of the browser, so that pages look the same on each machine.
const FONTS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <alias><family>sans-serif</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_chosen_by_whole_names() {
        let output = "Inst libyaml-0-2 (0.2)\nInst python3-minimal (3)\nInst python3-yaml (6)\nConf python3-six (1)\n";
        assert_eq!(
            chosen(output, "python3-.*|libyaml-0-2", "python3-minimal").unwrap(),
            ["libyaml-0-2", "python3-yaml"]
        );
        assert_eq!(chosen(output, "python3-y.*", "").unwrap(), ["python3-yaml"]);
    }

    #[test]
    fn patterns_and_programs_of_all_packages_are_valid() {
        for package in &PACKAGES {
            assert!(chosen("", package.dependencies, package.except).is_ok(), "{}", package.name);
            assert!(package.programs.split(' ').all(|program| find(program).is_ok()), "{}", package.name);
        }
    }
}
