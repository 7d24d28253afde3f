//! A wire between a client and a server that a test cuts for real, and that keeps what the client said.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A relay that runs; it ends, and all its connections, when this goes out of scope.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Both ends of each connection.
    open: Vec<TcpStream>,
    said: Vec<u8>,
    is_down: bool,
    is_over: bool,
}

impl Relay {
    /// A relay to a server.
    #[track_caller]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if lock(&shared).is_over {
                    break;
                }
                // A client that can't be connected goes as one whose server is not there.
                let _gone = connect(client, server, &shared);
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// Cuts all connections that there are; new ones are let through.
    pub fn cut(&self) {
        cut(&mut lock(&self.state));
    }

    /// Cuts all connections, and every new one too as long as it is down.
    pub fn set_down(&self, is_down: bool) {
        let mut state = lock(&self.state);
        state.is_down = is_down;
        if is_down {
            cut(&mut state);
        }
    }

    /// What clients said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&lock(&self.state).said).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.is_over = true;
        cut(&mut state);
        drop(state);
        // Wakes it up.
        let _gone = TcpStream::connect(self.address);
        let _gone = self.thread.take().map(JoinHandle::join);
    }
}

fn cut(state: &mut State) {
    for end in state.open.drain(..) {
        let _gone = end.shutdown(Shutdown::Both);
    }
}

fn connect(client: TcpStream, server: SocketAddr, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    let mut shared = lock(state);
    if shared.is_down {
        return client.shutdown(Shutdown::Both);
    }
    shared.open.extend([client.try_clone()?, server.try_clone()?]);
    drop(shared);
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let keep = state.clone();
    std::thread::spawn(move || pass(from_client, to_server, |bytes| lock(&keep).said.extend_from_slice(bytes)));
    std::thread::spawn(move || pass(server, client, |_| {}));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        see(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _gone = from.shutdown(Shutdown::Both);
    let _gone = to.shutdown(Shutdown::Both);
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
