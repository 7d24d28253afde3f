//! Runs the real Prometheus and Alertmanager with this repository's configuration, rendered as for the stack without
//! Docker.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Program, Start, installed};
use crate::schema::repository;
use crate::{http, port};

/// The webhook's URL in the committed configuration of Alertmanager.
const WEBHOOK: &str = "http://backend:8000/api/alerts";

/// Runs `promtool` or `amtool` in a folder and returns its output. Panics with the output if it fails.
#[track_caller]
pub fn run(name: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(installed(name)).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name} {}: {}\n{text}", arguments.join(" "), output.status);
    text
}

/// Reads a YAML file. Panics if it cannot be deserialized.
#[track_caller]
pub fn yaml<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files with an extension in a folder of the repository, sorted by name. Panics if there are none.
#[track_caller]
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} file in {folder}");
    files
}

/// Addresses of the stack's parts.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The log explorer.
    pub backend: SocketAddr,
    /// The shipper's admin address.
    pub shipper: SocketAddr,
    /// Prometheus.
    pub prometheus: SocketAddr,
    /// Alertmanager.
    pub alertmanager: SocketAddr,
}

impl Addresses {
    /// Free addresses.
    pub fn free() -> Self {
        let [backend, shipper, prometheus, alertmanager] = std::array::from_fn(|_| port::free_address());
        Self { backend, shipper, prometheus, alertmanager }
    }

    fn placeholders(&self) -> [(&str, SocketAddr); 4] {
        [
            ("@BACKEND_ADDRESS@", self.backend),
            ("@SHIPPER_ADDRESS@", self.shipper),
            ("@PROMETHEUS_ADDRESS@", self.prometheus),
            ("@ALERTMANAGER_ADDRESS@", self.alertmanager),
        ]
    }
}

/// Renders the configuration into a folder: `prometheus.yml`, `rules/`, `targets/` and `alertmanager.yml`.
#[track_caller]
pub fn render(addresses: &Addresses, folder: &Path) {
    let infra = repository().join("infra");
    fs::copy(infra.join("prometheus/prometheus.yml"), folder.join("prometheus.yml")).unwrap();
    for (from, to) in [("infra/prometheus/rules", "rules"), ("infra/prometheus/targets/local", "targets")] {
        fs::create_dir(folder.join(to)).unwrap();
        for file in files(from, "yml") {
            let mut text = fs::read_to_string(&file).unwrap();
            for (placeholder, address) in addresses.placeholders() {
                text = text.replace(placeholder, &address.to_string());
            }
            assert!(to == "rules" || !text.contains("_ADDRESS@\""), "{}: {text}", file.display());
            fs::write(folder.join(to).join(file.file_name().unwrap()), text).unwrap();
        }
    }
    let alertmanager = fs::read_to_string(infra.join("alertmanager/alertmanager.yml")).unwrap();
    assert_eq!(alertmanager.matches(WEBHOOK).count(), 1, "alertmanager.yml must have the webhook's URL exactly once");
    let webhook = format!("http://{}/api/alerts", addresses.backend);
    fs::write(folder.join("alertmanager.yml"), alertmanager.replace(WEBHOOK, &webhook)).unwrap();
}

/// Running Prometheus and Alertmanager.
#[derive(Debug)]
pub struct Monitoring {
    /// Their addresses and those of their targets.
    pub addresses: Addresses,
    _programs: [Program; 2],
    _folder: TempDir,
}

impl Monitoring {
    /// Starts both programs.
    #[track_caller]
    pub fn start(addresses: Addresses) -> Self {
        let folder = tempfile::tempdir().unwrap();
        render(&addresses, folder.path());
        let alertmanager = Start::at(&installed("alertmanager"))
            .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("alertmanager").display()))
            .arg(format!("--web.listen-address={}", addresses.alertmanager))
            .arg("--cluster.listen-address=")
            .start_answering(addresses.alertmanager, "/-/ready");
        let prometheus = Start::at(&installed("prometheus"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("prometheus").display()))
            .arg(format!("--web.listen-address={}", addresses.prometheus))
            .start_answering(addresses.prometheus, "/-/ready");
        Self { addresses, _programs: [prometheus, alertmanager], _folder: folder }
    }

    /// Evaluates an expression and returns the labels of each series.
    ///
    /// # Errors
    /// Returns the error message of Prometheus.
    pub fn query(&self, expression: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
        let data = self.request(&format!("query?query={}", encode(expression)))?;
        Ok(data["result"].as_array().into_iter().flatten().map(|series| labels(&series["metric"])).collect())
    }

    /// Evaluates an expression over the last five minutes, as a panel does, and counts the points that are not NaN.
    ///
    /// # Errors
    /// Returns the error message of Prometheus.
    pub fn count_points(&self, expression: &str) -> Result<usize, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let range = format!("start={}&end={now}&step=5", now - 300);
        let data = self.request(&format!("query_range?query={}&{range}", encode(expression)))?;
        let series = data["result"].as_array().into_iter().flatten();
        let points = series.flat_map(|series| series["values"].as_array().into_iter().flatten());
        Ok(points.filter(|point| !number(&point[1]).is_nan()).count())
    }

    /// The labels of each series that a selector matches.
    ///
    /// # Errors
    /// Returns the error message of Prometheus.
    pub fn series(&self, selector: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
        let data = self.request(&format!("series?match[]={}", encode(selector)))?;
        Ok(data.as_array().into_iter().flatten().map(labels).collect())
    }

    fn request(&self, path: &str) -> Result<Value, String> {
        let mut answer = http::get(self.addresses.prometheus, &format!("/api/v1/{path}")).json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

fn labels(metric: &Value) -> BTreeMap<String, String> {
    let labels = metric.as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap_or_default().replace("Inf", "inf").parse().unwrap_or(f64::NAN)
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
