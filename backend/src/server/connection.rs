//! One connection. It knows since when it waits for its client: for the head of a request, for the rest of a body, or for
//! room to write an answer to. A head that is not whole in time is answered with 408; the longest of those that wait are
//! closed when others need the room.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep_until};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::{Limit, Limits};
use crate::server::connections::Place;

/// What is written where a head was not whole in time: there is no request yet that anything else could answer.
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\
                           cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n";

/// What is known of a connection by all who have to do with it.
#[derive(Debug)]
pub struct State {
    waiting: Mutex<Waiting>,
    closing: AtomicBool,
    reserved: bool,
    waker: AtomicWaker,
}

/// What a connection waits for its client for, each since when.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The head of a request; none while one is answered.
    head: Option<Instant>,
    /// Bytes of that head came.
    has_begun: bool,
    /// The rest of a request's body.
    body: Option<Instant>,
    /// Room to write to.
    room: Option<Instant>,
    /// What comes is the rest of a body that nobody read; whether that is to be counted when it takes too long.
    unread: Option<bool>,
}

impl State {
    /// A connection that was just taken; one of the `reserved` answers nothing but health checks and scrapes.
    #[must_use]
    pub fn new(reserved: bool) -> Self {
        let waiting = Waiting { head: Some(Instant::now()), has_begun: false, body: None, room: None, unread: None };
        Self { waiting: Mutex::new(waiting), closing: AtomicBool::new(false), reserved, waker: AtomicWaker::new() }
    }

    /// Whether it is of those that are kept for health checks and scrapes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// Whether it is to be closed, and not looked at yet.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Since when it waits for its client; none while the client waits for the service, and where it is closing already.
    #[must_use]
    pub fn waits_since(&self) -> Option<Instant> {
        let waiting = *self.lock();
        let since = [waiting.head, waiting.body, waiting.room].into_iter().flatten().min();
        since.filter(|_| !self.is_closing())
    }

    /// Lets it be closed as soon as it is looked at, which is at once.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// A request's head is whole.
    pub(super) fn request_begins(&self) {
        let mut waiting = self.lock();
        (waiting.head, waiting.has_begun, waiting.unread) = (None, false, None);
    }

    /// An answer has been handed over.
    pub(super) fn request_ends(&self) {
        let mut waiting = self.lock();
        (waiting.head, waiting.body) = (Some(Instant::now()), None);
        drop(waiting);
        // So that the connection is looked at, and its timer with it, where nothing more comes.
        self.waker.wake();
    }

    /// Since when the rest of a body is waited for.
    pub(super) fn waits_for_body(&self, since: Option<Instant>) {
        self.lock().body = since;
    }

    /// A body was dropped before its end; `is_late` where that was counted.
    pub(super) fn body_is_left(&self, is_late: bool) {
        self.lock().unread = Some(!is_late);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's connection, as Actix reads and writes it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    state: Arc<State>,
    /// Ends when the head has to be whole.
    timer: Pin<Box<Sleep>>,
    head_timeout: Duration,
    limits: Limits,
    _place: Place,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, place: Place, head_timeout: Duration, limits: Limits) -> Self {
        let timer = Box::pin(sleep_until((Instant::now() + head_timeout).into()));
        Self { stream, state: place.state(), timer, head_timeout, limits, _place: place }
    }

    /// What others may know of it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Refuses to go on once it is closing, or when a head is late.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.state.waker.register(context.waker());
        if self.state.closing.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let waiting = *self.state.lock();
        // An answer that is still being written goes before the next head.
        let Some(since) = waiting.head.filter(|_| waiting.room.is_none()) else { return Ok(()) };
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
            // A client that does not read that either gets no answer.
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
            let mut waiting = this.state.lock();
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
        this.state.waker.register(context.waker());
        if this.state.closing.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        let mut waiting = this.state.lock();
        if polled.is_pending() {
            waiting.room.get_or_insert_with(Instant::now);
        } else {
            waiting.room = None;
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
