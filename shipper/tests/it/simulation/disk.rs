//! A modelled file system: it forgets what was not synced, tears writes, runs full and stops at any step.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use shipper::disk::{Disk, DiskFile, Stat};

use super::random::Random;

/// How a process comes to its end without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process is gone; the file system holds all that was written.
    Kill,
    /// The machine is gone; what was not synced may be.
    PowerLoss,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    /// The bytes as of the last sync.
    durable: Vec<u8>,
}

struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    /// The names as of the last sync of their folder.
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: Vec<PathBuf>,
    random: Random,
    /// Steps until everything stops.
    steps_left: Option<u64>,
    /// One append in so many fails because the disk is full; 0 for none.
    full_one_in: u64,
    /// What the segments of the spool ever held, and what of it must still be there.
    segments: BTreeMap<PathBuf, Vec<u8>>,
    /// What they held before a power loss took some of it.
    segments_ever: BTreeMap<PathBuf, Vec<u8>>,
}

/// The file system.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

/// An open file of it.
pub(super) struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: Vec::new(),
            random: Random::new(seed),
            steps_left: None,
            full_one_in: 0,
            segments: BTreeMap::new(),
            segments_ever: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Everything stops after so many steps; `None` never.
    pub(super) fn stop_after(&self, steps: Option<u64>) {
        self.state().steps_left = steps;
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.state().steps_left == Some(0)
    }

    pub(super) fn full_one_in(&self, appends: u64) {
        self.state().full_one_in = appends;
    }

    /// What the segments hold, or held before they were removed in order.
    pub(super) fn segments(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.state().segments.clone()
    }

    /// What the segments ever held: only a power loss takes from it, and a torn line may have been whole.
    pub(super) fn segments_ever(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut ever = self.state().segments_ever.clone();
        for (path, held) in self.segments() {
            let known = ever.entry(path).or_default();
            if known.len() < held.len() {
                *known = held;
            }
        }
        ever
    }

    /// The whole of a file, whatever has stopped.
    pub(super) fn files_under(&self, dir: &Path) -> Vec<Vec<u8>> {
        let state = self.state();
        let under = state.names.iter().filter(|(path, _)| path.starts_with(dir));
        under.map(|(_, inode)| state.inodes[*inode].bytes.clone()).collect()
    }

    /// The process, or the machine, is gone and comes back.
    pub(super) fn crash(&self, crash: Crash) {
        let ever = self.segments_ever();
        let mut state = self.state();
        state.segments_ever = ever;
        state.steps_left = None;
        if crash == Crash::Kill {
            return;
        }
        let State { inodes, names, durable_names, random, segments, .. } = &mut *state;
        // Of names that were not synced, any may have made it.
        let mut survivors = durable_names.clone();
        for (path, inode) in names.iter() {
            if random.one_in(2) {
                survivors.insert(path.clone(), *inode);
            }
        }
        for path in durable_names.keys().filter(|path| !names.contains_key(*path)) {
            if random.one_in(2) {
                survivors.remove(path);
            }
        }
        for inode in inodes.iter_mut() {
            let appended = inode.bytes.starts_with(&inode.durable);
            let kept = if appended { random.between(inode.durable.len(), inode.bytes.len()) } else { 0 };
            if appended {
                inode.bytes.truncate(kept)
            } else {
                inode.bytes = inode.durable.clone()
            }
            inode.durable = inode.bytes.clone();
        }
        for (path, inode) in &survivors {
            if let Some(held) = segments.get_mut(path) {
                held.clone_from(&inodes[*inode].bytes);
            }
        }
        // A segment whose name was never durable is gone with all it held.
        segments.retain(|path, held| survivors.contains_key(path) || !names.contains_key(path) || held.is_empty());
        *names = survivors.clone();
        *durable_names = survivors;
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::Error::other("the simulated machine has stopped")),
            Some(left) => {
                *left -= 1;
                if *left == 0 { Err(io::Error::other("the simulated machine stops")) } else { Ok(()) }
            }
            None => Ok(()),
        }
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
        state.dirs.push(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step()?;
        let all = state.names.keys().chain(&state.dirs);
        let name = |path: &PathBuf| {
            let (parent, name) = (path.parent()?, path.file_name()?);
            (parent == dir).then(|| name.to_string_lossy().into_owned())
        };
        let mut names: Vec<_> = all.filter_map(name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state();
        state.step()?;
        let inode = *state.names.get(path).ok_or_else(missing)?;
        Ok(SimFile { disk: self.clone(), inode, path: path.to_owned() })
    }

    fn open_append(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state();
        let stepped = state.step();
        let next = state.inodes.len();
        let inode = match state.names.get(path) {
            Some(inode) => *inode,
            None => {
                state.inodes.push(Inode::default());
                state.names.insert(path.to_owned(), next);
                if path.extension().is_some_and(|extension| extension == "log") {
                    state.segments.insert(path.to_owned(), Vec::new());
                }
                next
            }
        };
        stepped?;
        Ok(SimFile { disk: self.clone(), inode, path: path.to_owned() })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(dir) || names.contains_key(path));
        for (path, inode) in names.iter().filter(|(path, _)| path.parent() == Some(dir)) {
            durable_names.insert(path.clone(), *inode);
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let one_in = state.full_one_in;
        if one_in > 0 && state.random.one_in(one_in) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let stepped = state.step();
        let whole = stepped.is_ok() && !state.random.one_in(8);
        let count = if whole { bytes.len() } else { state.random.between(usize::from(stepped.is_ok()), bytes.len()) };
        state.inodes[self.inode].bytes.extend_from_slice(&bytes[..count]);
        if let Some(held) = state.segments.get_mut(&self.path) {
            held.extend_from_slice(&bytes[..count]);
        }
        stepped.map(|()| count)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step()?;
        let bytes = &state.inodes[self.inode].bytes;
        let from = bytes.len().min(usize::try_from(offset).unwrap());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        state.inodes[self.inode].bytes.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let inode = &mut state.inodes[self.inode];
        inode.durable.clone_from(&inode.bytes);
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        let mut state = self.disk.state();
        state.step()?;
        let len = state.inodes[self.inode].bytes.len() as u64;
        Ok(Stat { device: 1, inode: self.inode as u64, links: 1, len })
    }
}
