//! A proxy in front of an engine that simulates a bad network: it resets connections, delays responses and truncates
//! them. A seed determines the fault of each connection, and after how many bytes it occurs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use crate::random::Random;

/// Fault of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// Resets the connection after this many bytes of requests.
    ResetRequest(u64),
    /// Resets the connection after this many bytes of responses.
    ResetResponse(u64),
    /// Closes the connection after this many bytes of responses, which truncates a body.
    TruncateResponse(u64),
    /// Delays responses by this many milliseconds.
    Delay(u64),
}

/// Names of the faults, in the order of [`Proxy::counts`].
pub const FAULTS: [&str; 5] =
    ["without fault", "reset in a request", "reset in a response", "truncated in a response", "delayed"];

impl Fault {
    fn index(self) -> usize {
        match self {
            Self::None => 0,
            Self::ResetRequest(_) => 1,
            Self::ResetResponse(_) => 2,
            Self::TruncateResponse(_) => 3,
            Self::Delay(_) => 4,
        }
    }

    /// A random fault. The byte counts are powers of two, in the range of request and response sizes of a load of a few
    /// hundred KB per second.
    fn any(random: &mut Random, delay_max_ms: u64) -> Self {
        let bytes = |random: &mut Random, max_log2: u64| 1 << random.within(0..max_log2);
        match random.within(0..4) {
            0 => Self::ResetRequest(bytes(random, 19)),
            1 => Self::ResetResponse(bytes(random, 14)),
            2 => Self::TruncateResponse(bytes(random, 14)),
            _ => Self::Delay(random.within(0..delay_max_ms)),
        }
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The proxy's address.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    random: Mutex<Random>,
    delay_max_ms: u64,
    has_faults: AtomicBool,
    is_stopping: AtomicBool,
    counts: [AtomicU64; 5],
}

impl Proxy {
    /// Starts a proxy to `upstream`. The seed determines the faults until [`Proxy::stop_faults`].
    pub fn start(upstream: SocketAddr, seed: u64, delay_max_ms: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            random: Mutex::new(Random::new(seed)),
            delay_max_ms,
            has_faults: AtomicBool::new(true),
            is_stopping: AtomicBool::new(false),
            counts: Default::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_stopping.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&client));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Serves further connections without faults.
    pub fn stop_faults(&self) {
        self.shared.has_faults.store(false, Ordering::Relaxed);
    }

    /// Number of connections with each of [`FAULTS`].
    pub fn counts(&self) -> [u64; 5] {
        std::array::from_fn(|index| self.shared.counts[index].load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        let _wakes_it = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        let has_faults = self.has_faults.load(Ordering::Relaxed);
        let fault = if has_faults { Fault::any(&mut self.random.lock(), self.delay_max_ms) } else { Fault::None };
        self.counts[fault.index()].fetch_add(1, Ordering::Relaxed);
        let (request_limit, response_limit) = match fault {
            Fault::ResetRequest(bytes) => (Some(bytes), None),
            Fault::ResetResponse(bytes) | Fault::TruncateResponse(bytes) => (None, Some(bytes)),
            // without a limit all connections would end up slow
            Fault::Delay(_) => (None, Some(4_096)),
            Fault::None => (None, None),
        };
        let delay = match fault {
            Fault::Delay(delay_ms) => Duration::from_millis(delay_ms),
            _ => Duration::ZERO,
        };
        let end = || {
            let is_reset = matches!(fault, Fault::ResetRequest(_) | Fault::ResetResponse(_));
            if is_reset {
                // the close at the end of this function then resets the connection
                let _set = SockRef::from(client).set_linger(Some(Duration::ZERO));
            }
            let how = if is_reset { Shutdown::Read } else { Shutdown::Both };
            let _closed = (server.shutdown(Shutdown::Both), client.shutdown(how));
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ended = copy(client, &server, request_limit, Duration::ZERO);
                match request_limit {
                    Some(_) => end(),
                    None => drop(server.shutdown(Shutdown::Write)),
                }
            });
            let _ended = copy(&server, client, response_limit, delay);
            end();
        });
    }
}

/// Copies until the end of the stream or the limit in bytes.
fn copy(mut from: &TcpStream, mut to: &TcpStream, limit: Option<u64>, delay: Duration) -> io::Result<()> {
    let mut remaining = limit.unwrap_or(u64::MAX);
    let mut buffer = vec![0; 16 * 1024];
    while remaining > 0 {
        let wanted = buffer.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        let got = from.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Ok(());
        }
        std::thread::sleep(delay);
        to.write_all(&buffer[..got])?;
        remaining -= got as u64;
    }
    Ok(())
}
