//! The state of a connection: since when it waits for its client to send a request's head or body, or to read a response.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

/// The state of a connection, shared with the registry and with its requests.
#[derive(Debug)]
pub struct State {
    waiting: Mutex<Waiting>,
    closing: AtomicBool,
    reserved: bool,
    waker: AtomicWaker,
}

/// What a connection waits for, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The head of a request; none while a request is handled.
    pub(super) head: Option<Instant>,
    /// Bytes of that head have arrived.
    pub(super) has_begun: bool,
    /// The rest of a request's body.
    body: Option<Instant>,
    /// The client to read a response.
    pub(super) write: Option<Instant>,
    /// The client still sends a body that no handler read; `true` if a timeout is to be counted.
    pub(super) unread: Option<bool>,
}

impl State {
    /// The state of a new connection; a `reserved` one serves health checks and scrapes only.
    #[must_use]
    pub fn new(reserved: bool) -> Self {
        let waiting = Waiting { head: Some(Instant::now()), has_begun: false, body: None, write: None, unread: None };
        Self { waiting: Mutex::new(waiting), closing: AtomicBool::new(false), reserved, waker: AtomicWaker::new() }
    }

    /// Whether it is reserved for health checks and scrapes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// Whether it is to be closed.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Since when it waits for its client; none while the client waits for the service, or if it is closing.
    #[must_use]
    pub fn waits_since(&self) -> Option<Instant> {
        let waiting = *self.waiting();
        let since = [waiting.head, waiting.body, waiting.write].into_iter().flatten().min();
        since.filter(|_| !self.is_closing())
    }

    /// Closes it as soon as it is polled, which this triggers.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// A request's head has arrived.
    pub(super) fn request_begins(&self) {
        let mut waiting = self.waiting();
        (waiting.head, waiting.has_begun, waiting.unread) = (None, false, None);
    }

    /// A response is complete.
    pub(super) fn request_ends(&self) {
        let mut waiting = self.waiting();
        (waiting.head, waiting.body) = (Some(Instant::now()), None);
        drop(waiting);
        // Polls the connection, and with it the timer of the next head.
        self.waker.wake();
    }

    /// Sets since when the rest of a body is awaited.
    pub(super) fn waits_for_body(&self, since: Option<Instant>) {
        self.waiting().body = since;
    }

    /// A body was dropped before its end; `is_late` if that was counted.
    pub(super) fn body_is_left(&self, is_late: bool) {
        self.waiting().unread = Some(!is_late);
    }

    /// Registers the task to wake when the connection is to be closed.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// What it waits for.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}
