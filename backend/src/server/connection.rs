//! A client's connection. It rejects a request head that does not arrive in time with 408, and closes when its [`State`] says
//! so.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::idle_client;
use crate::limits::{Limit, Limits};
use crate::server::connections::{ConnectionSlot, Connections};
use crate::server::state::State;

/// Written if a head does not arrive in time: there is no request yet that a handler could answer.
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\
                           cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n";

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    state: Arc<State>,
    /// Deadline of the request head.
    timer: Pin<Box<Sleep>>,
    head_timeout: Duration,
    limits: Limits,
    _slot: ConnectionSlot,
}

impl Connection {
    /// Accepts a connection, and returns its peer. Without a free slot it waits for one for
    /// [`SLOT_TIMEOUT`](crate::server::connections::SLOT_TIMEOUT).
    ///
    /// # Errors
    /// No slot became free.
    pub async fn accept(
        stream: TcpStream,
        connections: &Connections,
        stall_timeout: Duration,
    ) -> io::Result<(Self, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let slot = connections.slot().await?;
        idle_client::set_send_timeout(stall_timeout, &stream);
        let (head_timeout, limits) = (connections.head_timeout(), connections.limits().clone());
        let timer = Box::pin(sleep_until((Instant::now() + head_timeout).into()));
        Ok((Self { stream, state: slot.state(), timer, head_timeout, limits, _slot: slot }, peer))
    }

    /// The state that others see.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Fails once the connection is closing, or if a head is late.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.state.register(context.waker());
        if self.state.is_closing() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let waiting = *self.state.waiting();
        // The response that is still being written comes before the next head.
        let Some(since) = waiting.head.filter(|_| waiting.write.is_none()) else { return Ok(()) };
        let deadline = (since + self.head_timeout).into();
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        if self.timer.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        if waiting.unread == Some(true) {
            self.limits.count(Limit::RequestBodyTimeout);
        }
        if waiting.has_begun && waiting.unread.is_none() {
            self.limits.count(Limit::RequestHeadTimeout);
            // Best effort: the client may not read it.
            let _ = self.stream.try_write(TIMED_OUT);
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            let mut waiting = this.state.waiting();
            waiting.has_begun = waiting.head.is_some();
        }
        match this.check(context) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) => polled,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state.register(context.waker());
        if this.state.is_closing() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        let mut waiting = this.state.waiting();
        if polled.is_pending() {
            waiting.write.get_or_insert_with(Instant::now);
        } else {
            waiting.write = None;
            waiting.head = waiting.head.map(|_| Instant::now());
        }
        drop(waiting);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
