//! A file of the spool.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::DiskFile;

/// Size of one read while lines are counted.
const COUNT_CHUNK_BYTES: usize = 256 * 1024;

/// An open segment.
#[derive(Debug)]
pub struct Segment<F> {
    /// The stream that it belongs to.
    pub stream: String,
    /// The file.
    pub file: Arc<F>,
    pub(super) path: PathBuf,
}

impl<F> Clone for Segment<F> {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone(), file: Arc::clone(&self.file), path: self.path.clone() }
    }
}

/// Counts the lines that start in `from..end`, including a last one without a newline.
pub(super) fn count_lines(file: &impl DiskFile, from: u64, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; COUNT_CHUNK_BYTES];
    let (mut at, mut lines, mut mid_line) = (from, 0, false);
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = file.read_at(&mut buffer[..wanted], at)?;
        if got == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..got]).count() as u64;
        mid_line = buffer[got - 1] != b'\n';
        at += got as u64;
    }
    Ok(lines + u64::from(mid_line))
}
