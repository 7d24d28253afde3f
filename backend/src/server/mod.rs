//! Actix's HTTP server, with limits on the number of connections and on how long they wait for their clients.
//!
//! [`descriptors`] computes how many connections are possible; [`connections`] hands out their slots; [`connection`] is one of
//! them, with its [`state`]; [`request`] tells the state when a request starts and ends, and limits the time of its body.

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
pub mod state;

use connection::Connection;
use connections::Connections;

/// Idle timeout of a connection between two requests.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long the rest of a request is read after its response, so that the response arrives.
const LINGER: Duration = Duration::from_secs(1);

/// Maximum connections in the kernel's accept queue.
const BACKLOG: i32 = 1_024;

/// Options of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads; by default one per core.
    pub workers: Option<usize>,
    /// A client that reads nothing of its response for this long is disconnected.
    pub stall_timeout: Duration,
    /// Time for open requests to finish at shutdown.
    pub shutdown_timeout: Duration,
}

/// Listens on an address.
///
/// # Errors
/// The address can't be bound.
pub fn listen(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts a server of an app. The caller handles signals.
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
        // `connections` enforces the limit; one per worker would leave no room for health checks.
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
            // A connection limits the time of all heads itself, not only of the first.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            // Otherwise a closed connection is noticed only when its response is due, and counted as answered.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| drop(data.insert(connection.state())))
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let connections = connections.clone();
            async move {
                let (connection, peer) =
                    Connection::accept(stream, &connections, stall_timeout).await.map_err(DispatchError::Io)?;
                Ok((connection, Protocol::Http1, peer))
            }
        })
        .and_then(http)
    })?;
    Ok(builder.run())
}
