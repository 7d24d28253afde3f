//! Responses beyond the size limit, from a test server, since no real engine can be made to send them.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::{BootstrapError, BootstrapMode, EngineSettings, Scope, Search, SearchError, WriteError};

use crate::lines::{TestStore, batch, generation, record};

const MIB: u64 = 1024 * 1024;

/// More than the socket buffers of two connections hold on both sides.
const ON_ITS_WAY_BYTES: u64 = 96 * MIB;

/// The server's response to every request.
#[derive(Clone, Copy)]
enum Says {
    /// A body without a declared length that continues until the connection is closed, at most 1 GiB.
    Endless,
    /// A declared length of 1 TiB without a body.
    Huge,
}

/// A server whose responses do not end.
struct Peer {
    url: String,
    /// Bytes of bodies sent.
    sent: Arc<AtomicU64>,
}

impl Peer {
    fn new(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let accuracy = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let accuracy = Arc::clone(&accuracy);
                std::thread::spawn(move || answer(stream, says, &accuracy));
            }
        });
        Self { url, sent }
    }

    async fn store(&self) -> TestStore {
        TestStore::open(&self.url.parse().unwrap(), &EngineSettings::default()).await.unwrap()
    }

    /// Returns the number of bytes sent since the last call.
    fn sent(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst)
    }
}

/// Reads a request and responds until the peer disconnects.
fn answer(mut stream: TcpStream, says: Says, sent: &AtomicU64) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match says {
        Says::Huge => {
            write!(stream, "{head}content-length: {}\r\n\r\n", 1024 * 1024 * MIB).unwrap();
            // The peer has disconnected.
            let _ = stream.read(&mut [0]);
        }
        Says::Endless => {
            write!(stream, "{head}transfer-encoding: chunked\r\n\r\n").unwrap();
            let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            for _ in 0..1024 * MIB / 0x10000 {
                match stream.write_all(piece.as_bytes()) {
                    Ok(()) => sent.fetch_add(0x10000, Ordering::SeqCst),
                    Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return,
                    Err(error) => panic!("{error}"),
                };
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
    }
}

#[tokio::test]
async fn a_bulk_response_beyond_the_limit_is_unknown() {
    for says in [Says::Endless, Says::Huge] {
        let peer = Peer::new(says);
        let store = peer.store().await;
        let lines = batch("app-logs", generation(1), &[record(0, "a", None)]);
        for answer in [store.write(&lines).await, store.write_to(0, &lines).await] {
            let Err(WriteError::ResponseTooLong(cause)) = answer else { panic!("{answer:?}") };
            assert!(cause.reason.contains("longer than 16 MiB"), "{cause}");
            let sent = peer.sent();
            assert!(sent < 16 * MIB + ON_ITS_WAY_BYTES, "{sent}");
        }
    }
}

#[tokio::test]
async fn any_other_response_beyond_the_limit_is_an_error() {
    for says in [Says::Endless, Says::Huge] {
        let peer = Peer::new(says);
        let store = peer.store().await;
        let bounded = |cause: &store::Cause| {
            assert!(cause.reason.contains("longer than 64 MiB"), "{cause}");
            let sent = peer.sent();
            assert!(sent < 64 * MIB + ON_ITS_WAY_BYTES, "{sent}");
        };
        for mode in [BootstrapMode::Check, BootstrapMode::Apply] {
            let refused = store.bootstrap(mode).await;
            let Err(BootstrapError::Unavailable(cause)) = refused else { panic!("{refused:?}") };
            bounded(&cause);
        }
        let refused = store.preflight().await;
        let Err(BootstrapError::Unavailable(cause)) = refused else { panic!("{refused:?}") };
        bounded(&cause);
        let refused = store.search(&Scope::All, &Search::default()).await;
        let Err(SearchError::Unavailable(cause)) = refused else { panic!("{refused:?}") };
        bounded(&cause);
        let refused = store.coverage(generation(1), 0..1).await;
        let Err(SearchError::Unavailable(cause)) = refused else { panic!("{refused:?}") };
        bounded(&cause);
    }
}
