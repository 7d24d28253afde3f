//! Reads a file of the shipper line by line. Memory is limited to the longest line and a chunk.

use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};

/// Size of one read.
const CHUNK_BYTES: usize = 256 * 1024;

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileLine<'a> {
    /// Its offset.
    pub(crate) offset: u64,
    /// Its bytes without the newline.
    pub(crate) bytes: &'a [u8],
    /// Whether it ends in a newline. Only the last line of a file may lack one.
    pub(crate) is_whole: bool,
}

impl FileLine<'_> {
    /// Its length including the newline.
    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64 + u64::from(self.is_whole)
    }
}

/// Passes every line of a file, at its present length, to `take`.
///
/// # Errors
/// File system errors, and errors of `take`.
pub(crate) fn for_each_line(
    file: &impl DiskFile,
    mut take: impl FnMut(FileLine<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let len = file.stat()?.len;
    // `buffer` holds the start of a line, which is at `offset` in the file.
    let (mut buffer, mut filled, mut offset) = (vec![0; CHUNK_BYTES], 0, 0);
    while offset + (filled as u64) < len {
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
        let at = offset + filled as u64;
        let wanted = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len() - filled);
        let got = file.read_at(&mut buffer[filled..filled + wanted], at)?;
        if got == 0 {
            break;
        }
        filled += got;
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[start..filled]) {
            take(FileLine { offset, bytes: &buffer[start..start + length], is_whole: true })?;
            start += length + 1;
            offset += length as u64 + 1;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
    if filled > 0 {
        take(FileLine { offset, bytes: &buffer[..filled], is_whole: false })?;
    }
    Ok(())
}

/// The sequence numbers of the files named `SEQUENCE` plus `suffix` in a folder, in order. Other entries are ignored.
pub(crate) fn sequences(disk: &impl Disk, dir: &Path, suffix: &str) -> io::Result<Vec<u64>> {
    let number = |name: &String| {
        let number = name.strip_suffix(suffix)?.parse().ok()?;
        (*name == format!("{number:08}{suffix}") && disk.is_file(&dir.join(name))).then_some(number)
    };
    let mut sequences: Vec<u64> = disk.list(dir)?.iter().filter_map(number).collect();
    sequences.sort_unstable();
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_longer_than_a_chunk_are_complete() {
        let long = "x".repeat(3 * CHUNK_BYTES);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(format!("a\n\n{long}\nopen").as_bytes()).unwrap();
        let mut lines = Vec::new();
        for_each_line(&file, |line| {
            lines.push((line.offset, line.bytes.len(), line.is_whole));
            Ok(())
        })
        .unwrap();
        let end = 4 + long.len() as u64;
        assert_eq!(lines, [(0, 1, true), (2, 0, true), (3, long.len(), true), (end, 4, false)]);
    }
}
