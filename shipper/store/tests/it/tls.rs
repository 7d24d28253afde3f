//! Self-signed certificates, client certificates and proxies, with a TLS server and a proxy of these tests.
//! `tests/observability/faults/self_signed.rs` uses the same certificates with a real Elasticsearch.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use store::{BootstrapMode, CauseKind, ClientCertificate, Disposition, EngineSettings, OpenError, Proxy, ReadyError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use crate::lines::{TestStore, batch, generation, record};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path(&format!("{name}.pem"))).unwrap()
}

/// Starts an engine on 127.0.0.1 with a certificate. It requires a client certificate if `client_authority` is set.
async fn engine(shown: &str, client_authority: Option<&str>) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match client_authority {
        None => builder.unwrap().with_no_client_auth(),
        Some(name) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(name)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(path(&format!("{shown}.key"))).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate(shown)], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the server disconnects.
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            });
        }
    });
    address
}

/// Stores one line, whatever the request.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if head(&mut stream).await.is_some() {
        let body = r#"{"errors":false,"items":[{"create":{"status":201}}]}"#;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Reads a request and returns its head in lower case.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(read).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or_default()]).await.ok()?;
    Some(head)
}

/// A proxy that connects every tunnel to one address, answers plain requests itself, and records the requests.
struct Forwarder {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Forwarder {
    async fn new(to: SocketAddr, password: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(head) = head(&mut stream).await else { continue };
                let is_known = password.is_none_or(|password| head.contains(password));
                let is_tunnel = head.starts_with("connect ");
                kept.lock().unwrap().push(head);
                if !is_known {
                    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(refusal.as_bytes()).await;
                } else if is_tunnel {
                    let mut engine = TcpStream::connect(to).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    tokio::spawn(async move { copy_bidirectional(&mut stream, &mut engine).await });
                } else {
                    let body = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
                    let _ = stream.write_all(body.as_bytes()).await;
                }
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn trusting(name: &str) -> EngineSettings {
    EngineSettings { ca_certificate: Some(path(&format!("{name}.pem"))), ..EngineSettings::default() }
}

async fn store(url: &str, settings: &EngineSettings) -> TestStore {
    TestStore::open(&url.parse().unwrap(), settings).await.unwrap()
}

/// Every kind of request succeeds: searches, batches, and PUT requests.
#[track_caller]
fn assert_serves(answers: (Result<(), ReadyError>, bool, bool)) {
    assert_eq!(answers, (Ok(()), true, true));
}

async fn every_request(store: &TestStore) -> (Result<(), ReadyError>, bool, bool) {
    let written = store.write(&batch("app-logs", generation(1), &[record(0, "a", None)])).await;
    let is_stored = matches!(written.as_deref(), Ok([Disposition::Stored]));
    // This server is not an engine; its responses prove that it was reached.
    let bootstrapped = format!("{:?}", store.bootstrap(BootstrapMode::Apply).await);
    (store.ready().await, is_stored, !bootstrapped.contains("Unavailable"))
}

/// Returns why the store is unreachable.
async fn refusal(url: &str, settings: &EngineSettings) -> String {
    let Err(ReadyError::Unavailable(cause)) = store(url, settings).await.ready().await else {
        panic!("{url} is trusted");
    };
    assert_eq!(cause.kind, CauseKind::Unreachable);
    cause.reason
}

#[tokio::test]
async fn a_configured_self_signed_certificate_is_trusted_for_its_own_host() {
    let address = engine("ip", None).await;
    assert_serves(every_request(&store(&format!("https://{address}"), &trusting("ip")).await).await);
    // Signed by an authority, as usual.
    let address = engine("server", None).await;
    assert_serves(every_request(&store(&format!("https://{address}"), &trusting("authority")).await).await);
}

#[tokio::test]
async fn any_other_certificate_is_refused_with_advice() {
    for (shown, given, host, words) in [
        (
            "ip",
            Some("ip"),
            "localhost",
            &["not for localhost", "127.0.0.1", "-addext subjectaltname=dns:localhost"][..],
        ),
        ("only-cn", Some("only-cn"), "127.0.0.1", &["no subjectaltname", "-addext subjectaltname=ip:127.0.0.1"]),
        ("impostor", Some("ip"), "127.0.0.1", &["not a configured one", "ca_certificate"]),
        ("ip", Some("authority"), "127.0.0.1", &["not a configured one", "ca_certificate"]),
        ("ip", None, "127.0.0.1", &["not a configured one", "store_ca_certificate"]),
        ("server", None, "127.0.0.1", &["issuer is not trusted", "ca_certificate"]),
        ("for-clients", Some("for-clients"), "127.0.0.1", &["extendedkeyusage"]),
    ] {
        let port = engine(shown, None).await.port();
        let settings = given.map_or_else(EngineSettings::default, trusting);
        let error = refusal(&format!("https://{host}:{port}"), &settings).await.to_lowercase();
        assert!(error.contains("certificate") && words.iter().all(|word| error.contains(word)), "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_reported() {
    let plain = Forwarder::new(([127, 0, 0, 1], 1).into(), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = refusal(&format!("https://{address}"), &EngineSettings::default()).await;
    assert!(error.contains("http://"), "{error}");
    drop(plain);
}

#[tokio::test]
async fn the_client_certificate_is_presented_on_request() {
    let address = engine("server", Some("authority")).await;
    let url = format!("https://{address}");
    let client = |name: &str| {
        let (certificate, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        EngineSettings { client_certificate: Some(ClientCertificate { certificate, key }), ..trusting("authority") }
    };
    assert_serves(every_request(&store(&url, &client("client")).await).await);
    let error = refusal(&url, &trusting("authority")).await;
    assert!(error.contains("client_certificate"), "{error}");
    // Not signed by the server's authority.
    let error = refusal(&url, &client("ip")).await;
    assert!(error.contains("client_certificate"), "{error}");
}

#[tokio::test]
async fn https_uses_a_tunnel_and_http_an_absolute_address() {
    let proxy = Forwarder::new(engine("name", None).await, Some("basic dtpw")).await;
    let credentials = Some(("u".to_owned(), "p".to_owned()));
    let given = Proxy::new(&format!("http://{}", proxy.address), credentials).unwrap();
    // A host that only the proxy can resolve.
    let url = "https://engine.test:9200";
    assert_serves(every_request(&store(url, &EngineSettings { proxy: given.clone(), ..trusting("name") }).await).await);
    assert!(proxy.heads().iter().all(|head| head.starts_with("connect engine.test:9200 ")), "{:?}", proxy.heads());
    let through = EngineSettings { proxy: given, ..EngineSettings::default() };
    assert_eq!(store("http://engine.test:9200", &through).await.ready().await, Ok(()));
    assert!(proxy.heads().last().unwrap().starts_with("post http://engine.test:9200/"), "{:?}", proxy.heads());

    // With a wrong password, or without a listener: the message names the proxy and has advice.
    let proxy_url = format!("http://{}", proxy.address);
    let through = EngineSettings { proxy: Proxy::new(&proxy_url, None).unwrap(), ..trusting("name") };
    let error = refusal(url, &through).await;
    assert!(error.contains(&format!("via the proxy {}", proxy.address)) && error.contains("proxy_user"), "{error}");
    let Err(ReadyError::Refused(cause)) = store("http://engine.test:9200", &through).await.ready().await else {
        panic!("it lets everyone through")
    };
    assert!(cause.reason.contains("407") && cause.reason.contains("proxy_user"), "{cause}");
    let nobody = Proxy::new("http://127.0.0.1:1", None).unwrap();
    let error = refusal(url, &EngineSettings { proxy: nobody, ..trusting("name") }).await;
    assert!(error.contains("via the proxy 127.0.0.1:1: "), "{error}");
}

/// A response that is not in an engine's format may be the proxy's own.
#[tokio::test]
async fn a_refusal_that_may_come_from_the_proxy_names_it() {
    for (status, body, is_named) in [
        (403, "<html>Forbidden by policy</html>", true),
        (502, "", true),
        (407, "", false),
        (403, r#"{"error":{"type":"security_exception","reason":"no permissions"},"status":403}"#, false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let head =
                    format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
            }
        });
        let proxy = Proxy::new(&format!("http://{address}"), None).unwrap();
        let settings = EngineSettings { proxy, ..EngineSettings::default() };
        let error = store("http://engine.test:9200", &settings).await.ready().await.unwrap_err().to_string();
        assert!(error.contains(&format!("HTTP {status}")), "{error}");
        assert_eq!(error.contains(&format!("from the proxy {address} or the store behind it")), is_named, "{error}");
    }
}

#[tokio::test]
async fn the_environments_proxy_is_used_except_for_hosts_in_no_proxy() {
    let direct = engine("ip", None).await;
    let proxy = Forwarder::new(direct, None).await;
    let url = format!("https://{direct}");
    for (excepted, tunnels) in [("other.test", 1), ("127.0.0.0/8", 0), ("*", 0)] {
        let variables = [("HTTPS_PROXY", format!("http://{}", proxy.address)), ("no_proxy", excepted.to_owned())];
        let found = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let settings = EngineSettings { proxy: Proxy::from_environment(found), ..trusting("ip") };
        proxy.heads.lock().unwrap().clear();
        assert_eq!(store(&url, &settings).await.ready().await, Ok(()), "{excepted}");
        assert_eq!(proxy.heads().len(), tunnels, "{excepted}");
    }
    let unknown = Proxy::from_environment(|_| Some("socks5://127.0.0.1:1".to_owned()));
    let settings = EngineSettings { proxy: unknown, ..trusting("ip") };
    let opened = TestStore::open(&"https://e.test".parse().unwrap(), &settings).await;
    assert!(matches!(&opened, Err(OpenError::Client(reason)) if reason.contains("socks5://")), "{opened:?}");
}
