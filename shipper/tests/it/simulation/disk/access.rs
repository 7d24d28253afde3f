//! The modelled file system as the shipper uses it: every call is a step that can fail or be the last.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipper::disk::{Disk, DiskFile, FileKind, Matched, Stat};

use super::{Change, Node, SimDisk, State, parent, paths, text};

/// A device number that no real file has.
const DEVICE: u64 = u64::MAX;

/// An open file.
#[derive(Debug)]
pub(in crate::simulation) struct SimFile {
    disk: SimDisk,
    inode: usize,
    _handle: Arc<()>,
}

impl SimFile {
    fn of(disk: &SimDisk, state: &State, inode: usize) -> Self {
        Self { disk: disk.clone(), inode, _handle: Arc::clone(&state.inodes[inode].handle) }
    }
}

impl State {
    fn stat(&self, inode: usize) -> Stat {
        let known = &self.inodes[inode];
        Stat {
            device: DEVICE,
            inode: known.number,
            born_ns: known.born_ns,
            written_ns: known.written_ns,
            changed_ns: known.changed_ns,
            links: self.links(inode),
            len: known.bytes.len() as u64,
            packed_len: None,
            allocated_len: None,
            kind: FileKind::Regular,
        }
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SimDisk")
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let dir = text(dir);
        if !state.names.contains_key(dir) {
            state.names.insert(dir.to_owned(), Node::Dir);
            state.changes.push(Change::Made(dir.to_owned(), Node::Dir));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step()?;
        let under = state.names.keys().filter(|path| parent(path) == text(dir));
        Ok(under.map(|path| path[text(dir).len() + 1..].to_owned()).collect())
    }

    fn paths(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.list(dir)?.into_iter().map(|name| dir.join(name)).collect())
    }

    fn matching(&self, pattern: &str) -> Matched {
        let mut state = self.state();
        let (dir, name) = pattern.rsplit_once('/').unwrap();
        if let Err(error) = state.step() {
            return Matched { paths: Vec::new(), failed: vec![(PathBuf::from(dir), error)] };
        }
        let pattern = glob::Pattern::new(name).unwrap();
        let matches = |path: &&String| parent(path) == dir && pattern.matches(&path[dir.len() + 1..]);
        Matched { paths: paths(state.names.keys().filter(matches).cloned()), failed: Vec::new() }
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        self.state().names.contains_key(text(path)).then(|| path.to_owned())
    }

    fn is_file(&self, path: &Path) -> bool {
        matches!(self.state().names.get(text(path)), Some(Node::File(_)))
    }

    fn is_dir(&self, path: &Path) -> bool {
        matches!(self.state().names.get(text(path)), Some(Node::Dir))
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state();
        state.step()?;
        match state.names.get(text(path)) {
            Some(Node::File(inode)) if !state.inodes[*inode].is_readable => Err(io::ErrorKind::PermissionDenied.into()),
            Some(Node::File(inode)) => Ok(SimFile::of(self, &state, *inode)),
            _ => Err(missing()),
        }
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let mut state = self.state();
        state.step()?;
        match state.names.get(text(path)) {
            Some(Node::File(inode)) => Ok(state.stat(*inode)),
            Some(Node::Dir) => Ok(Stat { device: DEVICE, kind: FileKind::Folder, ..Stat::default() }),
            None => Err(missing()),
        }
    }

    fn boot_id(&self) -> Option<String> {
        Some(self.state().boots.to_string())
    }

    fn path_of(&self, file: &SimFile) -> Option<PathBuf> {
        let state = self.state();
        let path = state.names.iter().find(|(_, node)| **node == Node::File(file.inode)).map(|(path, _)| path);
        path.map(PathBuf::from)
    }

    fn open_append(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state();
        let stepped = state.step();
        let inode = match state.names.get(text(path)) {
            Some(Node::File(inode)) => *inode,
            _ => {
                let no_room = state.room() == 0 || state.is_full && state.random.one_in(2);
                if stepped.is_ok() && no_room {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                // The last step may be done or not.
                if let Err(stopped) = &stepped
                    && state.random.one_in(2)
                {
                    return Err(io::Error::other(stopped.to_string()));
                }
                state.make(text(path))
            }
        };
        stepped?;
        Ok(SimFile::of(self, &state, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let Some(Node::File(inode)) = state.names.remove(text(from)) else { return Err(missing()) };
        state.names.insert(text(to).to_owned(), Node::File(inode));
        state.changes.push(Change::Moved(text(from).to_owned(), text(to).to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(text(path)).ok_or_else(missing)?;
        state.changes.push(Change::Removed(text(path).to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.names.contains_key(text(dir)) {
            return Err(missing());
        }
        let fails = state.faults.sync;
        if state.random.one_in(fails) {
            return Err(io::Error::other("a simulated folder that can't be synced"));
        }
        state.sync_dir(text(dir));
        Ok(())
    }
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        work(&mut self.disk.state())
    }
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|state| {
            let chances = state.faults.full;
            let room = state.room();
            if state.random.one_in(chances) || state.is_full || room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let bytes = &bytes[..bytes.len().min(room)];
            let left = state.steps_left;
            let stepped = state.step();
            // Only the very last step leaves something behind and fails.
            let is_last = left == Some(1);
            if stepped.is_err() && !is_last {
                return stepped.map(|()| 0);
            }
            let whole = stepped.is_ok() && !state.random.one_in(8);
            let least = usize::from(stepped.is_ok());
            let count = if whole { bytes.len() } else { state.random.between(least, bytes.len()) };
            state.inodes[self.inode].bytes.extend_from_slice(&bytes[..count]);
            state.touch(self.inode, true);
            stepped.map(|()| count)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state| {
            state.step()?;
            let bytes = &state.inodes[self.inode].bytes;
            let from = bytes.len().min(usize::try_from(offset).unwrap());
            let count = buffer.len().min(bytes.len() - from);
            buffer[..count].copy_from_slice(&bytes[from..from + count]);
            Ok(count)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            state.inodes[self.inode].truncate(usize::try_from(len).unwrap());
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            let State { inodes, random, faults, .. } = state;
            if random.one_in(faults.sync) {
                let is_segment = inodes[self.inode].generation.is_some();
                inodes[self.inode].fail_to_sync(random, faults.false_clean && !is_segment);
                return Err(io::Error::other("a simulated sync that failed"));
            }
            inodes[self.inode].sync();
            Ok(())
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        self.with(|state| {
            state.step()?;
            Ok(state.stat(self.inode))
        })
    }
}
