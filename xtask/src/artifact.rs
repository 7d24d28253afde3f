//! The engines and jars on Maven Central, with the checksum of each. The machine's own Maven downloads them, and so its
//! mirrors and proxies are used. Its repository is under the cache, so nothing is left in the user's home.

use std::fs::{self, File};
use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::find::{cache, java_home};
use crate::obstacle::{UNAVAILABLE, USAGE, obstacle, say};
use crate::process::Group;

const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1";
/// Part of every stamp: increase it if the same artifacts are assembled differently.
const RECIPE: u32 = 2;
/// axe-core, from the jar that its authors publish, so Node is not needed.
pub(crate) const AXE_CORE: &str = "com.deque.html.axe-core:selenium:4.11.0";

/// Checksums of each archive, and of each module's jars, concatenated in the order of their names.
const SHA256: [(&str, &str); 16] = [
    ("opensearch-2.19.1", "af7152d8b7f6f1cee09d47276b32b70479fe6dd8cdbb61213f84eb7f8098b261"),
    ("lang-painless-2.19.1", "df2a0fa9d1539b400df9c7f209ddd00de00aa32000d80c9d9f90b4c40a957ec1"),
    ("lang-mustache-2.19.1", "ecff96f5ca26ac17ad2b3d5acd25c080545b46d9f5b3747d85c64a4c31e76b16"),
    ("ingest-common-2.19.1", "247019f6d470b2998aa34e843321724cae2b49816e29f0706d02e66f64516a7f"),
    ("opensearch-3.4.0", "6540e95fe8bfaedc3eb1c58e829912ea2203af2ac1f88f76411c20a2fc5254a6"),
    ("lang-painless-3.4.0", "06cb235ba69904876e02fda5c36413c2fcf411265409013a369ba9937e69437d"),
    ("lang-mustache-3.4.0", "e098f2d43eeeffc8d1cf66de1cf202301e1e8c8168347376b2ac78f3a98902fb"),
    ("ingest-common-3.4.0", "448622349103417a47a18e57d710d018850caa883441410070b68b0bf38bbc02"),
    ("elasticsearch-7.10.2", "38a4232a9b8506235c8a2b6a24cdf3732b2c2aa4b8026c89063e038a610c9f4c"),
    ("lang-painless-7.10.2", "5b17b9239769b001ea73e7888b3c4da19f11525111078b94b64a62bb3c1ef858"),
    ("ingest-common-7.10.2", "06fdd9a9c06839b494289a29beaa97421e58b4cdb54ba257baf27bf196e86e7f"),
    ("elasticsearch-7.17.10", "dc928ff2836450e8e330ee1c94c83d22f7974e44bba31056df14706ff33fc63a"),
    ("elasticsearch-8.8.0", "2cae9380e48695b2c226c7c46c6059775f2f307920747c8ca84d465461a31fac"),
    ("elasticsearch-8.19.0", "14833b2d86c30656901f92049f81fb5777a8e4545413c8656cd1a21b55173033"),
    ("elasticsearch-9.1.0", "be5c5440bb6344cee4070f8f77a6c3cd72363db494944047cdd93748c4e19111"),
    (AXE_CORE, "907af0b37c96a623dbeb9114d16e802a6a259d824844df14d71b53dd6d0a95c6"),
];

pub(crate) fn sha256(name: &str) -> Option<&'static str> {
    SHA256.iter().find(|(known, _)| *known == name).map(|(_, sha256)| *sha256)
}

/// One version of an engine: `opensearch` or `elasticsearch`, which is also its program; the version; and the oldest and
/// newest Java that it runs on. Java 24 removed the security manager, which older versions need.
#[derive(Debug)]
pub(crate) struct Release(pub(crate) &'static str, pub(crate) &'static str, pub(crate) (u32, u32));

/// The two engines that all tests use, and those of `make matrix`.
const RELEASES: [Release; 7] = [
    Release("opensearch", "2.19.1", (17, 23)),
    Release("elasticsearch", "8.8.0", (17, 23)),
    Release("elasticsearch", "7.10.2", (17, 23)),
    Release("elasticsearch", "7.17.10", (17, 23)),
    Release("elasticsearch", "8.19.0", (17, 23)),
    Release("elasticsearch", "9.1.0", (21, 25)),
    Release("opensearch", "3.4.0", (21, 25)),
];

/// A module that the bare distribution lacks: name, artifact, class, the module that it extends, permissions.
type Module = (&'static str, &'static str, String, &'static str, &'static [&'static str]);

impl Release {
    /// `NAME-VERSION`, or `NAME` for the version that all tests use.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        RELEASES.iter().find(|release| release.0 == name || release.name() == name).ok_or_else(|| {
            let others = RELEASES[2..].iter().map(Self::name).collect::<Vec<_>>().join(", ");
            obstacle!(USAGE, "no engine is called '{name}'; there are: opensearch, elasticsearch, {others}")
        })
    }

    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.0, self.1)
    }

    /// Folder of the unpacked distribution.
    pub(crate) fn home(&self) -> PathBuf {
        cache().join("engines").join(self.name())
    }

    /// The variable with the address of a running engine to use instead; empty for those of `make matrix`.
    pub(crate) fn address_variable(&self) -> &'static str {
        match (self.0, self.1) {
            ("opensearch", "2.19.1") => "ENGINE_URL",
            ("elasticsearch", "8.8.0") => "BARE_ENGINE_URL",
            _ => "",
        }
    }

    pub(crate) fn stamp(&self) -> String {
        format!("{} recipe {RECIPE}\n", self.name())
    }

    /// Downloads and assembles the distribution in a folder, and returns its home there. OpenSearch gets the modules that
    /// every full distribution has. Elasticsearch has security, but no ingest processors, except for 7.10.2: its modules
    /// are published by the CodeLibs project.
    pub(crate) fn unpack(&self, work: &Path) -> Result<PathBuf> {
        let coordinates = format!("org.{0}.distribution.integ-test-zip:{0}:{1}:zip", self.0, self.1);
        download(&coordinates, &self.name(), work, &work.join("unpacked"))?;
        let home = fs::read_dir(work.join("unpacked"))?.next().context("the archive is empty")??.path();
        for module in self.modules() {
            let sha256 = sha256(&format!("{}-{}", module.0, self.1));
            sha256.map_or(Ok(()), |sha256| self.add(&module, sha256, work, &home))?;
        }
        Ok(home)
    }

    fn modules(&self) -> [Module; 3] {
        let kind = if self.1.starts_with("3.") { "ModulePlugin" } else { "Plugin" };
        let class = |name: &str| format!("org.{}.{name}{kind}", self.0);
        let (painless, ingest, mustache) =
            (class("painless.Painless"), class("ingest.common.IngestCommon"), class("script.mustache.Mustache"));
        [
            ("lang-painless", "lang-painless", painless, "", &["createClassLoader", "getClassLoader"]),
            ("ingest-common", "ingest-common", ingest, "lang-painless", &["getClassLoader"]),
            ("lang-mustache", "lang-mustache-client", mustache, "", &["accessDeclaredMembers"]),
        ]
    }

    /// Adds a module: its jar and those it depends on, without those of the server and of the module that it extends.
    fn add(&self, module: &Module, sha256: &str, work: &Path, home: &Path) -> Result<()> {
        let ((name, artifact, _, extended, _), version) = (module, self.1);
        let (folder, project) = (home.join("modules").join(name), work.join("pom.xml"));
        let group = if self.0 == "opensearch" { "org.opensearch.plugin" } else { "org.codelibs.elasticsearch.module" };
        let text = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
             <groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>\n\
             <dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency></dependencies></project>\n"
        );
        fs::write(&project, text)?;
        fs::create_dir_all(&folder)?;
        maven(
            "copy-dependencies",
            &[("includeScope", "runtime".as_ref()), ("outputDirectory", &folder)],
            Some(&project),
        )?;
        let mut jars = fs::read_dir(&folder)?.map(|jar| Ok(jar?.path())).collect::<Result<Vec<_>>>()?;
        let (lib, extended) = (home.join("lib"), home.join("modules").join(extended));
        let is_shared = |jar: &mut PathBuf| {
            jar.file_name().is_some_and(|name| lib.join(name).is_file() || extended.join(name).is_file())
        };
        jars.extract_if(.., is_shared).try_for_each(fs::remove_file)?;
        jars.sort();
        verify(sha256, &format!("the set of jars of {group}:{artifact}:{version}"), &jars)?;
        let (descriptor, policy) = self.description(module);
        fs::write(folder.join("plugin-descriptor.properties"), descriptor)?;
        Ok(fs::write(folder.join("plugin-security.policy"), policy)?)
    }

    /// The descriptor and the security policy of a module.
    fn description(&self, (name, _, class, extended, permissions): &Module) -> (String, String) {
        let Self(engine, version, _) = self;
        let descriptor = format!(
            "description=module {name}\nversion={version}\nname={name}\nclassname={class}\njava.version=11\n\
             {engine}.version={version}\nhas.native.controller=false\nextended.plugins={extended}\n"
        );
        let line = |name: &&str| format!("  permission java.lang.RuntimePermission \"{name}\";\n");
        (descriptor, format!("grant {{\n{}}};\n", permissions.iter().map(line).collect::<String>()))
    }
}

/// Downloads an archive, `GROUP:ARTIFACT:VERSION:TYPE`, and unpacks it to a folder.
pub(crate) fn download(coordinates: &str, name: &str, work: &Path, folder: &Path) -> Result<()> {
    let output = work.join("download");
    maven("copy", &[("artifact", coordinates.as_ref()), ("outputDirectory", &output)], None)?;
    let archive = fs::read_dir(&output)?.next().context("Maven has copied nothing")??.path();
    verify(sha256(name).unwrap_or_default(), coordinates, std::slice::from_ref(&archive))?;
    let unpacked = zip::ZipArchive::new(File::open(&archive)?).and_then(|mut archive| archive.extract(folder));
    unpacked.map_err(|error| obstacle!(UNAVAILABLE, "{coordinates} can't be unpacked: {error}"))
}

/// Runs a goal of Maven's dependency plugin, for a project or without one.
fn maven(goal: &str, properties: &[(&str, &Path)], project: Option<&Path>) -> Result<()> {
    let mut command = Command::new("mvn");
    command.envs(java_home((17, 23)).map(|home| ("JAVA_HOME", home)));
    command.args(["-B", "-q", "-U", "-Dstyle.color=never"]).arg(format!("{DEPENDENCY_PLUGIN}:{goal}"));
    command.args(project.map(|file| format!("--file={}", file.display())));
    for (name, value) in properties.iter().copied().chain([("maven.repo.local", cache().join("m2").as_path())]) {
        command.arg(format!("-D{name}={}", value.display()));
    }
    let mut output = tempfile::tempfile()?;
    if Group::spawn(command.stdout(output.try_clone()?).stderr(output.try_clone()?))?.wait()? == 0 {
        return Ok(());
    }
    output.rewind()?;
    // It prints escape sequences whatever its options are.
    say!("Maven prints: {}", std::io::read_to_string(output)?.replace("\x1b[0m", "").trim());
    let advice = "Check that Maven Central, or a mirror in ~/.m2/settings.xml, is reachable.";
    Err(obstacle!(UNAVAILABLE, "Maven could not download the artifacts; its output is above. {advice}"))
}

/// Fails unless the concatenated files have the expected checksum.
fn verify(expected: &str, what: &str, files: &[PathBuf]) -> Result<()> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file)?);
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected {
        return Ok(());
    }
    let message = format!("{what} has the wrong checksum: its SHA-256 is {found}, expected {expected}");
    Err(obstacle!(UNAVAILABLE, "{message}. Delete {} and run this again.", cache().join("m2").display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_found_by_name_and_version() {
        let name = |name| Release::named(name).map(Release::name);
        assert_eq!(name("opensearch").unwrap(), "opensearch-2.19.1");
        assert_eq!(name("elasticsearch-9.1.0").unwrap(), "elasticsearch-9.1.0");
        let message = name("elasticsearch-1.0").unwrap_err().to_string();
        assert!(message.contains("'elasticsearch-1.0'; there are: opensearch, elasticsearch, elasticsearch-7.10.2"));
        assert!(RELEASES.iter().all(|release| sha256(&release.name()).is_some()));
    }

    #[test]
    fn a_file_with_another_checksum_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("a"), folder.path().join("b")];
        fs::write(&files[0], "a").unwrap();
        fs::write(&files[1], "bc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(verify(abc, "both", &files).is_ok());
        let message = verify(abc, "the first", &files[..1]).unwrap_err().to_string();
        assert!(message.starts_with("the first has the wrong checksum: its SHA-256 is ca978112ca1b"), "{message}");
    }

    #[test]
    fn modules_are_described_as_engines_read_them() {
        let release = Release::named("opensearch-3.4.0").unwrap();
        let (descriptor, policy) = release.description(&release.modules()[1]);
        assert!(descriptor.contains("\nclassname=org.opensearch.ingest.common.IngestCommonModulePlugin\n"));
        assert!(descriptor.contains("\nopensearch.version=3.4.0\n") && descriptor.ends_with("=lang-painless\n"));
        assert_eq!(policy, "grant {\n  permission java.lang.RuntimePermission \"getClassLoader\";\n};\n");
    }
}
