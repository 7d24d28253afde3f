//! The shipper's books, asked for again and again while something happens to it. Each scrape that is answered must balance
//! ([`Scrape::of`](crate::scrape::Scrape::of)), in whatever moment it comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http;
use crate::scrape::Scrape;

/// How long it is from one scrape to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// Scrapes under way.
#[derive(Debug)]
pub struct Watch {
    ends: Arc<AtomicBool>,
    /// Gives how many scrapes showed the books.
    thread: JoinHandle<u64>,
}

impl Watch {
    /// Begins to ask at an address, where the shipper may come and go.
    pub fn of(admin: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ends = Arc::clone(&ends);
            move || {
                let mut scrapes = 0;
                while !ends.load(Ordering::Acquire) {
                    // One that is killed gives no answer, or a part of one.
                    let answer = http::try_send(admin, "GET", "/metrics", &[], b"").ok();
                    if let Some(answer) = answer.filter(|answer| answer.status == 200) {
                        let scrape = Scrape::parse(answer.text());
                        scrape.assert_books_balance();
                        // Before it has begun to ship it has no books.
                        scrapes += u64::from(scrape.all("shipper_lines_read_total", &[]).count() > 0);
                    }
                    std::thread::sleep(PAUSE);
                }
                scrapes
            }
        });
        Self { ends, thread }
    }

    /// Ends it; panics if a scrape did not balance, or none showed the books.
    #[track_caller]
    pub fn end(self) {
        self.ends.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(scrapes) => assert!(scrapes > 0, "no scrape showed the books"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
