//! A note of unread files next to the journal, so that `shipper verify` does not ignore them.
//!
//! # On disk
//!
//! `STATE/unread` holds one sentence, as in the log. It is removed once all files are read.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk as _, DiskFile as _, RealDisk, append_whole};

const NAME: &str = "unread";

/// The note of a state directory.
#[derive(Debug)]
pub struct UnreadNote {
    path: PathBuf,
    written: Option<Option<String>>,
}

impl UnreadNote {
    /// The note in `state_dir`, unchanged from an earlier process until it is updated.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), written: None }
    }

    /// Writes or removes the note if that changes it.
    ///
    /// # Errors
    /// File system errors. The next call tries again.
    pub fn update(&mut self, notice: Option<String>) -> io::Result<()> {
        if self.written.as_ref() == Some(&notice) {
            return Ok(());
        }
        match &notice {
            Some(notice) => {
                let new = self.path.with_extension("new");
                let file = RealDisk.open_append(&new)?;
                file.truncate(0)?;
                append_whole(&file, 0, notice.as_bytes())?;
                RealDisk.rename(&new, &self.path)?;
            }
            None => match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        self.written = Some(notice);
        Ok(())
    }

    /// The unread files when the shipper last scanned.
    ///
    /// # Errors
    /// File system errors.
    pub fn read(state_dir: &Path) -> io::Result<Option<String>> {
        match std::fs::read_to_string(state_dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_the_process_and_is_removed_with_its_cause() {
        let dir = tempfile::tempdir().unwrap();
        UnreadNote::new(dir.path()).update(Some("1 file".to_owned())).unwrap();
        assert_eq!(UnreadNote::read(dir.path()).unwrap().as_deref(), Some("1 file"));
        let mut note = UnreadNote::new(dir.path());
        note.update(None).unwrap();
        note.update(None).unwrap();
        assert_eq!(UnreadNote::read(dir.path()).unwrap(), None);
    }
}
