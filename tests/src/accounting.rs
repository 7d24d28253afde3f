//! Checks the shipper's accounting continuously while a test injects faults. Every complete scrape must satisfy the
//! [accounting equation](Scrape::assert_accounting_holds).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http;
use crate::scrape::Scrape;

/// Interval between scrapes.
const INTERVAL: Duration = Duration::from_millis(20);

/// A thread that scrapes the shipper and checks its accounting.
#[derive(Debug)]
pub struct Watch {
    is_stopping: Arc<AtomicBool>,
    /// Returns the number of scrapes with accounting metrics.
    thread: JoinHandle<u64>,
}

impl Watch {
    /// Starts to scrape an address. The shipper there may be stopped and restarted.
    pub fn start(admin: SocketAddr) -> Self {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let is_stopping = Arc::clone(&is_stopping);
            move || {
                let mut scrapes = 0;
                while !is_stopping.load(Ordering::Acquire) {
                    // a killed shipper sends no response, or an incomplete one
                    let answer = http::try_send(admin, "GET", "/metrics", &[], b"").ok();
                    if let Some(answer) = answer.filter(|answer| answer.status == 200) {
                        let scrape = Scrape::parse(answer.text());
                        scrape.assert_accounting_holds();
                        // the metrics are missing until the pipeline has started
                        scrapes += u64::from(scrape.all("shipper_lines_read_total", &[]).count() > 0);
                    }
                    std::thread::sleep(INTERVAL);
                }
                scrapes
            }
        });
        Self { is_stopping, thread }
    }

    /// Stops the thread. Panics if a scrape violated the equation, or none had accounting metrics.
    #[track_caller]
    pub fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(scrapes) => assert!(scrapes > 0, "no scrape had accounting metrics"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
