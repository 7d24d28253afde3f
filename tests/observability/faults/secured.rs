//! A real Elasticsearch with security: TLS, users, roles. While access is denied, lines stay pending with the reason, and
//! none is lost.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use observability_tests::node::Node;
use observability_tests::numbers::{line, now};
use observability_tests::program::{Program, Start};
use observability_tests::{http, wait};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{following, shipper, wait_until_shipped};
use crate::test_store::unique_name;

/// Lines per case.
const LINES: u64 = 200;

/// Privileges that the shipper needs to write.
const WRITES: &str = "create_doc, auto_configure, read, view_index_metadata";

/// Privileges that the shipper needs for its checks, but not to write.
const READS: &str = "read, view_index_metadata";

/// A secured node with an administrator's client.
struct Secured {
    node: Node,
    folder: TempDir,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Secured {
    #[track_caller]
    fn start() -> Self {
        let (mut node, folder) = (Node::new("elasticsearch"), tempfile::tempdir().unwrap());
        certificates(&node, folder.path());
        for (from, to) in [("node/node.crt", "certs/node.crt"), ("node/node.key", "certs/node.key")] {
            fs::copy(folder.path().join(from), node.extra(to)).unwrap();
        }
        let settings = "xpack.security.enabled: true\n\
             xpack.security.http.ssl.enabled: true\n\
             xpack.security.http.ssl.certificate: certs/node.crt\n\
             xpack.security.http.ssl.key: certs/node.key\n\
             resource.reload.interval.high: 500ms\n";
        fs::write(node.extra("settings.yml"), settings).unwrap();
        fs::write(node.extra("roles.yml"), roles(WRITES)).unwrap();
        // the file of users may have plain passwords; those of the tests are no secrets
        fs::write(node.extra("users"), users("right-password")).unwrap();
        fs::write(node.extra("users_roles"), "superuser:admin\nshipping:shipper\n").unwrap();
        let authority = reqwest::Certificate::from_pem(&fs::read(folder.path().join("ca/ca.crt")).unwrap()).unwrap();
        let client = reqwest::Client::builder().add_root_certificate(authority).no_proxy().build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        node.begin();
        let address = node.address();
        node.wait_until("the secured engine accepts writes", || {
            let path = "_cluster/health?wait_for_status=yellow&timeout=1s";
            ask(&runtime, &client, address, reqwest::Method::GET, path, &Value::Null)
                .filter(|(status, _)| *status == 200)
        });
        Self { node, folder, client, runtime }
    }

    /// Changes a configuration file while the node runs.
    fn change(&self, file: &str, text: &str) {
        fs::write(self.node.folder().join("config").join(file), text).unwrap();
    }

    /// Waits until a changed role is in effect, that is, the shipper has or lacks a privilege on an index.
    #[track_caller]
    fn wait_until_it_may(&self, may: bool, privilege: &str, index: &str, password: &str) {
        let url = format!("{}/_security/user/_has_privileges", self.url());
        let body = json!({ "index": [{ "names": [index], "privileges": [privilege] }] }).to_string();
        wait::until("the changed role is in force", || {
            let request = self.client.post(&url).basic_auth("shipper", Some(password));
            let request = request.header("content-type", "application/json").body(body.clone());
            let answer = self.runtime.block_on(async { request.send().await?.text().await }).ok()?;
            let answer: Value = serde_json::from_str(&answer).ok()?;
            (answer["has_all_requested"] == may).then_some(())
        });
    }

    /// Runs the shipper as the user `shipper`.
    fn shipper(&self, name: &str, password: &str, bootstrap: &str) -> Start {
        self.as_shipper(self.anonymous(name, bootstrap), password)
    }

    fn as_shipper(&self, start: Start, password: &str) -> Start {
        let secret = self.folder.path().join(password);
        fs::write(&secret, password).unwrap();
        start.args(["--user", "shipper", "--password-file"]).arg(secret).arg("--ca-certificate").arg(self.authority())
    }

    /// Runs `shipper preflight` and returns its output.
    #[track_caller]
    fn preflight(&self, password: &str) -> String {
        let start = Start::program("shipper").args(["preflight", "--to", &self.url(), "--pipeline", "none"]);
        let mut preflight = self.as_shipper(start, password).start();
        assert_eq!(preflight.exit_code(), 0, "{}", preflight.stderr());
        preflight.stdout()
    }

    fn anonymous(&self, name: &str, bootstrap: &str) -> Start {
        let file = self.folder.path().join(format!("{name}.log"));
        let timestamp = now();
        let lines: String = (0..LINES).map(|n| line(name, &timestamp, n)).collect();
        fs::write(&file, lines).unwrap();
        let start = shipper(&self.url(), &self.folder.path().join(name));
        start.args(["--pipeline", "none", "--bootstrap", bootstrap, "--file"]).arg(file)
    }

    fn authority(&self) -> std::path::PathBuf {
        self.folder.path().join("ca/ca.crt")
    }

    fn url(&self) -> String {
        format!("https://{}", self.node.address())
    }

    /// Number of documents of a case, and number of distinct lines among them.
    #[track_caller]
    fn stored(&self, name: &str) -> (u64, u64) {
        let body = json!({ "size": 0, "track_total_hits": true, "query": { "term": { "project_id": name } },
            "aggs": { "lines": { "cardinality": { "field": "status", "precision_threshold": 10_000 } } } });
        let ask =
            |method, path, body| ask(&self.runtime, &self.client, self.node.address(), method, path, body).unwrap();
        ask(reqwest::Method::POST, "app-logs-*/_refresh", &Value::Null);
        let (status, answer) = ask(reqwest::Method::POST, "app-logs-*/_search", &body);
        assert_eq!(status, 200, "{answer}");
        let number =
            |pointer: &str| answer.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{answer}"));
        (number("/hits/total/value"), number("/aggregations/lines/value"))
    }

    /// Asserts that all lines of a case are stored once, and stops the shipper.
    #[track_caller]
    fn assert_shipped(&self, name: &str, mut program: Program, admin: SocketAddr) {
        wait_until_shipped(admin, LINES);
        assert_eq!(program.stop(), 0, "{}", program.stderr());
        assert_eq!(self.stored(name), (LINES, LINES));
    }
}

fn ask(
    runtime: &Runtime,
    client: &reqwest::Client,
    address: SocketAddr,
    method: reqwest::Method,
    path: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let mut request =
        client.request(method, format!("https://{address}/{path}")).basic_auth("admin", Some("admin-password"));
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    runtime.block_on(async {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_str(&response.text().await.ok()?).unwrap_or_default()))
    })
}

fn users(shipper: &str) -> String {
    format!("admin:admin-password\nshipper:{shipper}\n")
}

fn roles(privileges: &str) -> String {
    format!(
        "shipping:\n  cluster: [ monitor, manage_index_templates ]\n  indices:\n    - names: [ 'app-logs-*' ]\n      \
         privileges: [ {privileges} ]\n"
    )
}

/// A role that may write to the log indices but not read them, and may read another index if `elsewhere`.
fn roles_to_write(elsewhere: bool) -> String {
    let rights = "- names: [ 'app-logs-*' ]\n      privileges: [ create_doc, auto_configure ]";
    let elsewhere =
        if elsewhere { format!("\n    - names: [ 'other-*' ]\n      privileges: [ {READS} ]") } else { String::new() };
    format!("shipping:\n  indices:\n    {rights}{elsewhere}\n")
}

/// Creates an authority and a node certificate with the engine's tool.
#[track_caller]
fn certificates(node: &Node, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    node.tool(&["elasticsearch-certutil", "ca", "--silent", "--pem", "--out", &path("ca.zip")]);
    unzip(folder, "ca.zip");
    let (certificate, key) = (path("ca/ca.crt"), path("ca/ca.key"));
    node.tool(&[
        "elasticsearch-certutil",
        "cert",
        "--silent",
        "--pem",
        "--ca-cert",
        &certificate,
        "--ca-key",
        &key,
        "--name",
        "node",
        "--ip",
        "127.0.0.1",
        "--out",
        &path("node.zip"),
    ]);
    unzip(folder, "node.zip");
}

#[track_caller]
fn unzip(folder: &Path, archive: &str) {
    let output = Command::new("unzip").args(["-q", archive]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until `/readyz` of the shipper reports an error with all of these words.
#[track_caller]
fn wait_until_refused(admin: SocketAddr, words: &[&str]) {
    let mut last = String::new();
    wait::until_ok("the shipper reports why the store accepts nothing", || {
        let answer = http::get(admin, "/readyz");
        last = answer.text().to_owned();
        (answer.status == 503 && words.iter().all(|word| last.to_lowercase().contains(word)))
            .then_some(())
            .ok_or(last.clone())
    });
}

#[test]
fn lines_are_stored_with_the_right_credentials_and_pending_without() {
    let secured = Secured::start();

    let name = unique_name("rights");
    let (program, admin) = following(secured.shipper(&name, "right-password", "apply"));
    secured.assert_shipped(&name, program, admin);

    // a wrong password that becomes valid
    let name = unique_name("password");
    let (program, admin) = following(secured.shipper(&name, "next-password", "off"));
    wait_until_refused(admin, &["401"]);
    assert_eq!(secured.stored(&name), (0, 0));
    secured.change("users", &users("next-password"));
    secured.assert_shipped(&name, program, admin);

    // a role without the write privilege, which is granted later
    let name = unique_name("role");
    secured.change("roles.yml", &roles(READS));
    secured.wait_until_it_may(false, "create_doc", "app-logs-1", "next-password");
    let (program, admin) = following(secured.shipper(&name, "next-password", "off"));
    wait_until_refused(admin, &["403"]);
    secured.change("roles.yml", &roles(WRITES));
    secured.assert_shipped(&name, program, admin);

    // a role that may write but not read: the checks are unproven, which does not prevent the start
    let report = secured.preflight("next-password");
    assert!(
        ["rights", "index blocks", "cluster blocks"].iter().all(|what| report.contains(&format!("{what}: proven")))
    );
    for elsewhere in [false, true] {
        secured.change("roles.yml", &roles_to_write(elsewhere));
        secured.wait_until_it_may(false, "view_index_metadata", "app-logs-1", "next-password");
        secured.wait_until_it_may(elsewhere, "view_index_metadata", "other-1", "next-password");
        let report = secured.preflight("next-password");
        assert!(report.contains("template unproven, ") && report.contains("rights: proven"), "{report}");
        for what in ["template in force", "index blocks", "cluster blocks"] {
            assert!(
                report.contains(&format!("{what}: unproven, the credentials do not allow ")),
                "{elsewhere}: {report}"
            );
        }
        let name = unique_name("unseen");
        let (program, admin) = following(secured.shipper(&name, "next-password", "apply"));
        secured.assert_shipped(&name, program, admin);
    }

    // an untrusted authority, and an invalid API key: nothing is sent and all lines stay pending
    let name = unique_name("authority");
    let (mut program, admin) = following(secured.anonymous(&name, "off"));
    wait_until_refused(admin, &["certificate"]);
    assert_eq!(program.stop(), 3, "{}", program.stderr());
    let name = unique_name("key");
    let key = secured.folder.path().join("key");
    fs::write(&key, "bm9ib2R5OnM0YjdjOGQ5").unwrap();
    let start =
        secured.anonymous(&name, "off").arg("--ca-certificate").arg(secured.authority()).arg("--api-key-file").arg(key);
    let (mut program, admin) = following(start);
    wait_until_refused(admin, &["401"]);
    assert_eq!(program.stop(), 3, "{}", program.stderr());
    assert!(!program.stderr().contains("bm9ib2R5"), "the key is in the log: {}", program.stderr());
    let (program, admin) = following(secured.shipper(&name, "next-password", "off"));
    secured.assert_shipped(&name, program, admin);
}
