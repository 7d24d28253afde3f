//! Clients that take nothing of what is sent to them any more. Such an answer would never end, and with it what it holds: a
//! page of lines, a live tail's place among those that there is room for.

use std::any::Any;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::SockRef;

/// Lets the system give up a connection when its client has taken nothing for so long of what waits for it
/// (`TCP_USER_TIMEOUT`, RFC 5482). What is slow and goes on is not cut, nor is a connection on which nothing waits.
pub fn give_up_after(timeout: Duration, connection: &dyn Any) {
    let Some(connection) = connection.downcast_ref::<TcpStream>() else { return };
    if let Err(error) = SockRef::from(connection).set_tcp_user_timeout(Some(timeout)) {
        tracing::warn!(%error, "can't set a connection's send timeout");
    }
}
