//! A bad network: a proxy before an engine that resets connections, delays and cuts what goes either way. A seed decides
//! which connection has which fault, and after how many bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::random::Random;

/// What a connection suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is reset once so many bytes of requests have passed.
    ResetRequest(u64),
    /// It is reset once so many bytes of answers have passed.
    ResetAnswer(u64),
    /// It ends in order once so many bytes of answers have passed: a body that is cut.
    CutAnswer(u64),
    /// Answers are held back for so many milliseconds.
    Delay(u64),
}

/// The names of the faults, in the order in which [`Proxy::counts`] has them.
pub const FAULTS: [&str; 5] = ["passed", "reset in a request", "reset in an answer", "cut in an answer", "delayed"];

impl Fault {
    fn place(self) -> usize {
        match self {
            Self::None => 0,
            Self::ResetRequest(_) => 1,
            Self::ResetAnswer(_) => 2,
            Self::CutAnswer(_) => 3,
            Self::Delay(_) => 4,
        }
    }

    /// A fault of some kind. Where it strikes is spread over sizes as a load of a few hundred KB a second has them.
    fn any(random: &mut Random, delay_max_ms: u64) -> Self {
        let few = |random: &mut Random, most: u64| 1 << random.within(0..most);
        match random.within(0..4) {
            0 => Self::ResetRequest(few(random, 19)),
            1 => Self::ResetAnswer(few(random, 14)),
            2 => Self::CutAnswer(few(random, 14)),
            _ => Self::Delay(random.within(0..delay_max_ms)),
        }
    }
}

/// A proxy that runs.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    random: Mutex<Random>,
    delay_max_ms: u64,
    is_bad: AtomicBool,
    is_over: AtomicBool,
    counts: [AtomicU64; 5],
}

impl Proxy {
    /// Listens before `upstream`. Faults are as the seed decides, until [`Proxy::mend`].
    pub fn start(upstream: SocketAddr, seed: u64, delay_max_ms: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            random: Mutex::new(Random::new(seed)),
            delay_max_ms,
            is_bad: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
            counts: Default::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&client));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// From now on connections are good.
    pub fn mend(&self) {
        self.shared.is_bad.store(false, Ordering::Relaxed);
    }

    /// How many connections had each of [`FAULTS`].
    pub fn counts(&self) -> [u64; 5] {
        std::array::from_fn(|place| self.shared.counts[place].load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _wakes_it = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        let is_bad = self.is_bad.load(Ordering::Relaxed);
        let fault = if is_bad { Fault::any(&mut self.random.lock().unwrap(), self.delay_max_ms) } else { Fault::None };
        self.counts[fault.place()].fetch_add(1, Ordering::Relaxed);
        let (request_limit, answer_limit) = match fault {
            Fault::ResetRequest(bytes) => (Some(bytes), None),
            Fault::ResetAnswer(bytes) | Fault::CutAnswer(bytes) => (None, Some(bytes)),
            // One that is slow for ever would be all there is.
            Fault::Delay(_) => (None, Some(4_096)),
            Fault::None => (None, None),
        };
        let delay = match fault {
            Fault::Delay(delay_ms) => Duration::from_millis(delay_ms),
            _ => Duration::ZERO,
        };
        let end = || {
            let is_reset = matches!(fault, Fault::ResetRequest(_) | Fault::ResetAnswer(_));
            if is_reset {
                // What is closed then, by the end of this function, is reset.
                let _set = SockRef::from(client).set_linger(Some(Duration::ZERO));
            }
            let how = if is_reset { Shutdown::Read } else { Shutdown::Both };
            let _closed = (server.shutdown(Shutdown::Both), client.shutdown(how));
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _over = carry(client, &server, request_limit, Duration::ZERO);
                match request_limit {
                    Some(_) => end(),
                    None => drop(server.shutdown(Shutdown::Write)),
                }
            });
            let _over = carry(&server, client, answer_limit, delay);
            end();
        });
    }
}

/// Copies until the end, or until so many bytes have passed.
fn carry(mut from: &TcpStream, mut to: &TcpStream, limit: Option<u64>, delay: Duration) -> io::Result<()> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut buffer = vec![0; 16 * 1024];
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = from.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Ok(());
        }
        std::thread::sleep(delay);
        to.write_all(&buffer[..got])?;
        left -= got as u64;
    }
    Ok(())
}
