//! The HTTP server: Actix's, over connections that are bounded in number and in what they wait for.
//!
//! [`connection`] is one connection, which knows how long it has waited for its client; [`connections`] are all of them, and
//! make room; [`request`] tells a connection when a request begins and ends, and bounds the time that its body may take;
//! [`descriptors`] says how many there may be.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

pub mod connection;
pub mod connections;
pub mod descriptors;
pub mod request;

use connection::Connection;
use connections::Connections;

/// Idle timeout of a connection between two requests.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What is unread of a request is taken for this long after its answer, so that the answer arrives.
const LINGER: Duration = Duration::from_secs(1);

/// Connections that the system keeps until they are taken.
const BACKLOG: i32 = 1_024;

/// How a server is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads; none for one a core.
    pub workers: Option<usize>,
    /// A client that reads nothing of its answer for this long is disconnected.
    pub stall_timeout: Duration,
    /// Time for open requests at the end.
    pub shutdown_timeout: Duration,
}

/// Listens on an address, with room for those who come at once.
///
/// # Errors
/// The address can't be had.
pub fn listen(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts a server of an app. Signals are the caller's.
///
/// # Errors
/// The listener can't be used.
pub fn start<F, I, S, B>(
    listener: TcpListener,
    connections: Connections,
    options: &Options,
    new_app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Future: 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let mut builder = Server::build()
        .disable_signals()
        .shutdown_timeout(options.shutdown_timeout.as_secs())
        // Connections are counted here; a worker that took no more would leave none for health checks.
        .max_concurrent_connections(usize::MAX / 2);
    if let Some(workers) = options.workers {
        builder = builder.workers(workers);
    }
    let ending = builder.graceful_shutdown_signal();
    let stall_timeout = options.stall_timeout;
    let builder = builder.listen(format!("http on {address}"), listener, move || {
        let (ending, connections) = (ending.clone(), connections.clone());
        let app = new_app().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            // A connection bounds all of its heads itself, and not only the first.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            // Else a client that closes its connection is not noticed until its answer is due, and counts as answered.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| drop(data.insert(connection.state())))
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let connections = connections.clone();
            async move {
                let (connection, peer) = connections.take(stream, stall_timeout).await.map_err(DispatchError::Io)?;
                Ok((connection, Protocol::Http1, peer))
            }
        })
        .and_then(http)
    })?;
    Ok(builder.run())
}
