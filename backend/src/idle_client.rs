//! Closes connections of clients that stop reading. Their responses would never end, nor release what they hold: memory, or
//! the slot of a live tail.

use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::SockRef;

/// Lets the kernel close a connection if its client acknowledges none of the pending data for this long
/// (`TCP_USER_TIMEOUT`, RFC 5482). Slow clients and connections without pending data are not affected.
pub fn set_send_timeout(timeout: Duration, connection: &TcpStream) {
    if let Err(error) = SockRef::from(connection).set_tcp_user_timeout(Some(timeout)) {
        tracing::warn!(%error, "can't set a connection's send timeout");
    }
}
