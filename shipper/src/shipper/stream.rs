//! Writes a stream to the spool, on the thread that reads it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::Timestamp;

use super::runner::Notifier;
use crate::disk::RealDisk;
use crate::encoding::StreamDecoder;
use crate::spool::{Appended, Writer};

/// How long a writer waits before it retries when the spool is full or the disk fails.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Appends a stream to the spool.
pub struct StreamWriter {
    pub(super) writer: Writer<RealDisk>,
    pub(super) decoder: StreamDecoder,
    pub(super) notifier: Notifier,
    pub(super) stopping: Arc<AtomicBool>,
}

impl StreamWriter {
    /// Appends all of `bytes`; may block, depending on `on_full`.
    ///
    /// # Errors
    /// The shipper is stopping and there is no room for the rest.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = self.decoder.decode(bytes);
        self.append_text(&text)
    }

    fn append_text(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut logged = false;
        while !bytes.is_empty() {
            let appended = self.writer.append(bytes, Timestamp::now());
            self.notifier.notify();
            match appended {
                Ok(Appended::Accepted(count) | Appended::Dropped(count)) => {
                    bytes = &bytes[count..];
                    continue;
                }
                Ok(Appended::Full) => {}
                Err(error) => {
                    if !std::mem::replace(&mut logged, true) {
                        tracing::error!(%error, "spool write failed, retrying");
                    }
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.writer.spool().wait_for_room(RETRY_INTERVAL);
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self) {
        let rest = self.decoder.finish();
        if self.append_text(&rest).is_err() {
            tracing::error!(bytes = rest.len(), "incomplete last character of the input dropped: the spool is full");
        }
        self.writer.seal();
        self.notifier.notify();
    }
}
