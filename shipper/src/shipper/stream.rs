//! Carries a stream into the spool, on the thread of whoever reads it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::Timestamp;

use super::runner::Bell;
use crate::disk::RealDisk;
use crate::encoding::StreamDecoder;
use crate::spool::{Appended, Writer};

/// How long a writer that found no room, or a disk that said no, waits before it asks again.
const ROOM_WAIT: Duration = Duration::from_millis(250);

/// Appends a stream to the spool.
pub struct StreamWriter {
    pub(super) writer: Writer<RealDisk>,
    pub(super) decoder: StreamDecoder,
    pub(super) bell: Bell,
    pub(super) stopping: Arc<AtomicBool>,
}

impl StreamWriter {
    /// Takes all of `bytes`, which may block as `on_full` says.
    ///
    /// # Errors
    /// The shipper is stopping and there is no room for the rest.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = self.decoder.decode(bytes);
        self.append_text(&text)
    }

    fn append_text(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut told = false;
        while !bytes.is_empty() {
            let appended = self.writer.append(bytes, Timestamp::now());
            self.bell.ring();
            match appended {
                Ok(Appended::Taken(count) | Appended::GivenUp(count)) => {
                    bytes = &bytes[count..];
                    continue;
                }
                Ok(Appended::Full) => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "the spool can't be written; it is tried again");
                    }
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.writer.spool().wait_for_room(ROOM_WAIT);
        }
        Ok(())
    }

    /// The stream is at its end.
    pub fn finish(mut self) {
        let rest = self.decoder.finish();
        if self.append_text(&rest).is_err() {
            tracing::error!(
                bytes = rest.len(),
                "no room for the last character of the input, which is incomplete: lost"
            );
        }
        self.writer.seal();
        self.bell.ring();
    }
}
