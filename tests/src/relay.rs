//! A TCP relay between a client and a server. A test can cut its connections and read the bytes that clients sent.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// A running relay. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Relay {
    /// The relay's address.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Both ends of each connection.
    open: Vec<TcpStream>,
    received: Vec<u8>,
    is_down: bool,
    is_stopping: bool,
}

impl Relay {
    /// Starts a relay to a server.
    #[track_caller]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if shared.lock().is_stopping {
                    break;
                }
                // an unreachable server closes the client's connection
                let _closed = connect(client, server, &shared);
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// Closes all open connections. New ones are accepted.
    pub fn cut(&self) {
        cut(&mut self.state.lock());
    }

    /// Closes all connections, and every new one while the relay is down.
    pub fn set_down(&self, is_down: bool) {
        let mut state = self.state.lock();
        state.is_down = is_down;
        if is_down {
            cut(&mut state);
        }
    }

    /// The bytes received from clients so far.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().received).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.is_stopping = true;
        cut(&mut state);
        drop(state);
        // wake the thread up
        let _connected = TcpStream::connect(self.address);
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

fn cut(state: &mut State) {
    for end in state.open.drain(..) {
        let _closed = end.shutdown(Shutdown::Both);
    }
}

fn connect(client: TcpStream, server: SocketAddr, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    let mut shared = state.lock();
    if shared.is_down {
        return client.shutdown(Shutdown::Both);
    }
    shared.open.extend([client.try_clone()?, server.try_clone()?]);
    drop(shared);
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let recorder = state.clone();
    let record = move |bytes: &[u8]| recorder.lock().received.extend_from_slice(bytes);
    std::thread::spawn(move || forward(from_client, to_server, record));
    std::thread::spawn(move || forward(server, client, |_| {}));
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, record: impl Fn(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        record(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _closed = from.shutdown(Shutdown::Both);
    let _closed = to.shutdown(Shutdown::Both);
}
