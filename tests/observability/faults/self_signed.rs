//! A real Elasticsearch with a self-signed certificate as made by `openssl req -x509`, which requires client certificates.
//! Shipper and log explorer trust the configured certificate, for its host only, and present their own.

use std::fs;
use std::path::PathBuf;

use observability_tests::node::Node;
use observability_tests::numbers::{line, now};
use observability_tests::program::Start;
use observability_tests::schema::repository;
use observability_tests::{http, port, wait};

use super::{following, shipper, wait_until_shipped};
use crate::test_store::unique_name;

const LINES: u64 = 200;

/// A certificate or key of the store's tests.
fn certificate(name: &str) -> PathBuf {
    repository().join("shipper/store/tests/certificates").join(name)
}

/// Starts Elasticsearch with this certificate. It accepts clients whose certificate `authority.pem` signed.
#[track_caller]
fn engine() -> Node {
    let mut node = Node::new("elasticsearch");
    for name in ["ip.pem", "ip.key", "authority.pem"] {
        fs::copy(certificate(name), node.extra(&format!("certs/{name}"))).unwrap();
    }
    let settings = "xpack.security.enabled: true\n\
         xpack.security.http.ssl.enabled: true\n\
         xpack.security.http.ssl.certificate: certs/ip.pem\n\
         xpack.security.http.ssl.key: certs/ip.key\n\
         xpack.security.http.ssl.client_authentication: required\n\
         xpack.security.http.ssl.certificate_authorities: [ certs/authority.pem ]\n";
    fs::write(node.extra("settings.yml"), settings).unwrap();
    fs::write(node.extra("users"), "admin:admin-password\n").unwrap();
    fs::write(node.extra("users_roles"), "superuser:admin\n").unwrap();
    node.begin();
    node
}

#[test]
fn an_engine_with_a_self_signed_certificate_that_requires_client_certificates_is_used() {
    let (node, folder) = (engine(), tempfile::tempdir().unwrap());
    let (address, name) = (node.address(), unique_name("self-signed"));
    let password = folder.path().join("password");
    fs::write(&password, "admin-password").unwrap();
    let with = |start: Start, client: bool| {
        let start = start.args(["--pipeline", "none", "--user", "admin", "--password-file"]).arg(&password);
        let start = start.arg("--ca-certificate").arg(certificate("ip.pem"));
        if !client {
            return start;
        }
        let start = start.arg("--client-certificate").arg(certificate("client.pem"));
        start.arg("--client-key").arg(certificate("client.key"))
    };
    let url = format!("https://{address}");
    let preflight = |url: &str, client: bool| {
        let mut program = with(Start::program("shipper").args(["preflight", "--to", url]), client).start();
        let code = program.exit_code();
        (code, format!("{}{}", program.stdout(), program.stderr()))
    };
    // ship first, so that preflight finds the template and pipeline
    let state = folder.path().join("state");
    let log = folder.path().join("app.log");
    let timestamp = now();
    fs::write(&log, (0..LINES).map(|n| line(&name, &timestamp, n)).collect::<String>()).unwrap();
    let (mut program, admin) = following(with(shipper(&url, &state), true).arg("--file").arg(&log));
    wait_until_shipped(admin, LINES);
    assert_eq!(program.stop(), 0, "{}", program.stderr());

    let (code, output) = preflight(&url, true);
    assert_eq!(code, 0, "{output}");
    let (code, output) = preflight(&url, false);
    assert!(code != 0 && output.contains("client_certificate"), "{code}: {output}");
    let (code, output) = preflight(&format!("https://localhost:{}", address.port()), true);
    assert!(code != 0 && output.contains("not for localhost") && output.contains("subjectAltName"), "{code}: {output}");

    // the log explorer uses the same certificates
    let listen = port::free_address();
    let backend = Start::program("backend")
        .env("LISTEN", listen.to_string())
        .env("STORE", &url)
        .env("STORE_USER", "admin")
        .env("STORE_PASSWORD_FILE", &password)
        .env("STORE_CA_CERTIFICATE", certificate("ip.pem"))
        .env("STORE_CLIENT_CERTIFICATE", certificate("client.pem"))
        .env("STORE_CLIENT_KEY", certificate("client.key"));
    let _backend = backend.start_healthy(listen);
    wait::until("the explorer finds the lines", || {
        let answer = http::get(listen, &format!("/api/projects/{name}/logs?limit=5"));
        (answer.status == 200 && answer.text().contains(&name)).then_some(())
    });
}
