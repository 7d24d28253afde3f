//! Servers that redirect requests. Redirects are not followed: a POST would become a GET, and its response would be
//! meaningless.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use store::{
    BootstrapError, BootstrapMode, Cause, CauseKind, Credentials, EngineSettings, Scope, Search, SearchError,
    WriteError,
};

use crate::lines::{TestStore, batch, generation, record};

/// The server's response to a request method.
type Says = Arc<dyn Fn(&str) -> String + Send + Sync>;

struct Peer {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    fn new(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let accuracy = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accuracy.fetch_add(1, Ordering::SeqCst);
                answer(stream, &says);
            }
        });
        Self { url, requests }
    }

    async fn store(&self) -> TestStore {
        let credentials = Some(Credentials::Basic { user: "u".to_owned(), password: "p".to_owned() });
        let settings = EngineSettings { credentials, ..EngineSettings::default() };
        TestStore::open(&self.url.parse().unwrap(), &settings).await.unwrap()
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, says: &Says) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length, mut method) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
        if method.is_empty() {
            method = line.split(' ').next().unwrap().to_owned();
        }
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    // The peer may have disconnected.
    let _ = stream.write_all(says(&method).as_bytes());
}

fn ok(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

fn moved(status: u16, to: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {to}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
}

/// An engine that stores a line at any path.
fn elsewhere() -> Peer {
    Peer::new(Arc::new(|_| ok(r#"{"errors":false,"items":[{"create":{"status":201}}]}"#)))
}

fn assert_says_where(cause: &Cause, to: &Peer) {
    assert_eq!(cause.kind, CauseKind::Address, "{cause}");
    assert!(cause.reason.contains(&to.url) && cause.reason.contains("--to"), "{cause}");
    assert!(!cause.reason.contains("secret"), "{cause}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_refused_with_advice() {
    for status in [301, 302, 303, 307, 308] {
        let there = elsewhere();
        let to = format!("{}/_bulk?token=secret", there.url.replace("http://", "http://user:secret@"));
        let peer = Peer::new(Arc::new(move |_| moved(status, &to)));
        let store = peer.store().await;
        let refused = store.write(&batch("app-logs", generation(1), &[record(0, "a", None)])).await;
        let Err(WriteError::Refused(cause)) = refused else { panic!("{status}: {refused:?}") };
        assert_says_where(&cause, &there);
        for mode in [BootstrapMode::Check, BootstrapMode::Apply] {
            let refused = store.bootstrap(mode).await;
            let Err(BootstrapError::Refused(cause)) = refused else { panic!("{status}: {refused:?}") };
            assert_says_where(&cause, &there);
        }
        let refused = store.search(&Scope::All, &Search::default()).await;
        assert!(matches!(refused, Err(SearchError::Refused(_) | SearchError::Unavailable(_))), "{status}: {refused:?}");
        assert_eq!(there.requests.load(Ordering::SeqCst), 0, "{status}");
    }
}

#[tokio::test]
async fn a_redirected_put_is_not_in_place() {
    for status in [301, 302, 303, 307, 308] {
        let there = elsewhere();
        let to = there.url.clone();
        let missing = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let peer =
            Peer::new(Arc::new(move |method| if method == "PUT" { moved(status, &to) } else { missing.to_owned() }));
        let refused = peer.store().await.bootstrap(BootstrapMode::Apply).await;
        let Err(BootstrapError::Refused(cause)) = refused else { panic!("{status}: {refused:?}") };
        assert_says_where(&cause, &there);
    }
}
