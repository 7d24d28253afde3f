//! A modelled file system, as the shipper and the services see it, and as a power loss leaves it.
//!
//! Every file has two contents: the cache, which is read, and the platter, which survives a power loss. A sync copies
//! the first to the second. A failed sync may have written any part, and may mark the rest as written: the next sync
//! then succeeds without it ("fsyncgate"). A power loss keeps any subset of a folder's unsynced changes, and any prefix
//! of unsynced bytes, perhaps with a hole of zeros.

mod access;
mod inode;
mod outside;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use store::{GenerationId, Timestamp};

use super::random::Random;
use inode::Inode;

/// How a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process is killed; the file system has all that was written.
    Kill,
    /// The machine loses power; unsynced changes may be lost.
    PowerLoss,
}

/// Faults. A value is one in this many steps of its kind; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// An append finds the disk full.
    pub(super) full: u64,
    /// A step fails as on a bad disk, and does nothing.
    pub(super) error: u64,
    /// A sync of a file or a folder fails.
    pub(super) sync: u64,
    /// After a failed sync, the next one succeeds without the bytes.
    pub(super) false_clean: bool,
    /// Unsynced bytes may become zeros.
    pub(super) holes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// A change of a folder.
#[derive(Debug)]
enum Change {
    Made(String, Node),
    Moved(String, String, usize),
    Removed(String),
}

struct State {
    /// Time of writes, in nanoseconds since the Unix epoch.
    now_ns: i64,
    has_births: bool,
    boots: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<String, Node>,
    /// The names on the platter, and the changes since.
    durable_names: BTreeMap<String, Node>,
    changes: Vec<Change>,
    random: Random,
    /// Steps until everything stops.
    steps_left: Option<u64>,
    faults: Faults,
    /// The disk is full.
    is_full: bool,
    /// Maximum size of the state directory's files.
    capacity: usize,
}

/// The file system.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

/// Content of a spool segment.
pub(super) struct Held {
    pub(super) generation: GenerationId,
    /// Its bytes, as a power loss left them.
    pub(super) bytes: Vec<u8>,
    /// Its content before each power loss that changed it.
    pub(super) before: Vec<Vec<u8>>,
    /// A power loss removed it.
    pub(super) is_gone: bool,
    /// It has a name.
    pub(super) is_there: bool,
}

impl SimDisk {
    /// A disk with these folders.
    pub(super) fn new(random: Random, dirs: &[&str]) -> Self {
        let names: BTreeMap<_, _> = dirs.iter().map(|dir| ((*dir).to_owned(), Node::Dir)).collect();
        Self(Arc::new(Mutex::new(State {
            now_ns: 0,
            has_births: true,
            boots: 0,
            inodes: Vec::new(),
            durable_names: names.clone(),
            names,
            changes: Vec::new(),
            random,
            steps_left: None,
            faults: Faults::default(),
            is_full: false,
            capacity: usize::MAX,
        })))
    }

    /// Sets the time of writes. The file system's clock does not go back.
    pub(super) fn set_time(&self, now: Timestamp) {
        let mut state = self.state();
        state.now_ns = state.now_ns.max(now.unix_micros() * 1_000);
    }

    /// Removes birth times.
    pub(super) fn forget_births(&self) {
        self.state().has_births = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Stops everything after this many steps; `None` for never.
    pub(super) fn stop_after(&self, steps: Option<u64>) {
        self.state().steps_left = steps;
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.state().steps_left == Some(0)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Makes the disk full, or not.
    pub(super) fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Leaves only the space that the shipper itself frees.
    pub(super) fn stay_full(&self) {
        let mut state = self.state();
        state.is_full = false;
        state.capacity = state.used();
    }

    /// Removes the limit on space.
    pub(super) fn make_room(&self) {
        self.state().capacity = usize::MAX;
    }

    /// Returns all segments that ever existed.
    pub(super) fn segments(&self) -> Vec<Held> {
        let state = self.state();
        let held = |(number, inode): (usize, &Inode)| {
            Some(Held {
                generation: inode.generation?,
                bytes: inode.bytes.clone(),
                before: inode.before.clone(),
                is_gone: inode.is_gone,
                is_there: state.links(number) > 0,
            })
        };
        state.inodes.iter().enumerate().filter_map(held).collect()
    }

    /// Returns bytes `from..to` of a segment.
    pub(super) fn segment_part(&self, generation: &GenerationId, from: u64, to: u64) -> Option<Vec<u8>> {
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        let state = self.state();
        let inode = state.inodes.iter().find(|inode| inode.generation.as_ref() == Some(generation))?;
        Some(inode.bytes.get(from..to.min(inode.bytes.len()))?.to_vec())
    }

    /// Records that the shipper considers its segments durable: from now on a power loss must not change them.
    pub(super) fn promise_segments(&self) {
        let mut state = self.state();
        let State { inodes, names, .. } = &mut *state;
        for node in names.values() {
            if let Node::File(inode) = node
                && inodes[*inode].generation.is_some()
            {
                inodes[*inode].promised = inodes[*inode].bytes.len();
            }
        }
    }

    /// Returns the contents of the files in a folder, even after a stop.
    pub(super) fn files_under(&self, dir: &str) -> Vec<Vec<u8>> {
        let state = self.state();
        let under = state.names.iter().filter(|(path, _)| parent(path) == dir);
        under
            .filter_map(|(_, node)| match node {
                Node::File(inode) => Some(state.inodes[*inode].bytes.clone()),
                Node::Dir => None,
            })
            .collect()
    }

    /// Kills the process, or restarts the machine.
    pub(super) fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.steps_left = None;
        state.is_full = false;
        if crash == Crash::PowerLoss {
            state.boots += 1;
            state.lose_power();
        }
        state.inodes.iter_mut().for_each(Inode::outlive_process);
    }
}

impl State {
    /// Counts a step of the shipper, and may fail it.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => return Err(io::Error::other("the simulated machine has stopped")),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    return Err(io::Error::other("the simulated machine stops"));
                }
            }
            None => {}
        }
        if self.random.one_in(self.faults.error) { Err(io::Error::other("a simulated bad disk")) } else { Ok(()) }
    }

    /// Updates a file's times after a change of its content, name or rights.
    fn touch(&mut self, inode: usize, is_written: bool) {
        // Every change has its own time.
        self.now_ns += 1;
        let inode = &mut self.inodes[inode];
        inode.changed_ns = self.now_ns;
        if is_written {
            inode.written_ns = self.now_ns;
        }
    }

    /// Returns the inode of a new file of a service: often a reused one.
    fn number(&mut self, path: &str) -> u64 {
        let is_free = |(inode, known): (usize, &Inode)| {
            let is_outside = known.generation.is_none() && self.links(inode) == 0 && known.is_closed();
            let is_latest = self.inodes[inode + 1..].iter().all(|later| later.number != known.number);
            (is_outside && is_latest).then_some(known.number)
        };
        let free = self.inodes.iter().enumerate().filter_map(is_free).next_back();
        let reused = free.filter(|_| !path.starts_with(super::STATE));
        match reused {
            Some(number) if self.random.one_in(2) => number,
            _ => self.inodes.len() as u64,
        }
    }

    fn make(&mut self, path: &str) -> usize {
        let inode = self.inodes.len();
        let number = self.number(path);
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        let generation = name.strip_suffix(".log").filter(|_| path.starts_with(super::STATE));
        let born_ns = self.has_births.then_some(self.now_ns);
        self.inodes.push(Inode::new(generation.and_then(|name| name.parse().ok()), number, born_ns));
        self.touch(inode, true);
        self.names.insert(path.to_owned(), Node::File(inode));
        self.changes.push(Change::Made(path.to_owned(), Node::File(inode)));
        inode
    }

    fn room(&self) -> usize {
        if self.capacity == usize::MAX { usize::MAX } else { self.capacity.saturating_sub(self.used()) }
    }

    /// Returns the size of the state directory's files.
    fn used(&self) -> usize {
        let own = self.names.iter().filter(|(path, _)| path.starts_with(super::STATE));
        own.map(|(_, node)| if let Node::File(inode) = node { self.inodes[*inode].bytes.len() } else { 0 }).sum()
    }

    fn links(&self, inode: usize) -> u64 {
        self.names.values().filter(|node| **node == Node::File(inode)).count() as u64
    }

    fn sync_dir(&mut self, dir: &str) {
        for change in std::mem::take(&mut self.changes) {
            if change.dir() == dir { change.apply(&mut self.durable_names) } else { self.changes.push(change) }
        }
    }

    fn lose_power(&mut self) {
        let mut survivors = std::mem::take(&mut self.durable_names);
        for change in std::mem::take(&mut self.changes) {
            if self.random.one_in(2) {
                change.apply(&mut survivors);
            }
        }
        // A lost folder loses its files.
        let is_there = |path: &str| parent(path).is_empty() || survivors.get(parent(path)) == Some(&Node::Dir);
        let orphans: Vec<_> = survivors.keys().filter(|path| !is_there(path)).cloned().collect();
        survivors.retain(|path, _| !orphans.contains(path));
        let files = |names: &BTreeMap<String, Node>| -> Vec<bool> {
            let mut has_name = vec![false; self.inodes.len()];
            names.values().for_each(|node| {
                if let Node::File(inode) = node {
                    has_name[*inode] = true
                }
            });
            has_name
        };
        let (before, after) = (files(&self.names), files(&survivors));
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            match (before[number], after[number]) {
                (_, true) => inode.lose_power(&mut self.random, self.faults.holes, before[number]),
                (true, false) => inode.vanish(),
                // A complete segment that was removed stays so.
                (false, false) => {}
            }
        }
        self.names = survivors.clone();
        self.durable_names = survivors;
    }
}

impl Change {
    fn dir(&self) -> &str {
        match self {
            Self::Made(path, _) | Self::Moved(_, path, _) | Self::Removed(path) => parent(path),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Made(path, node) => _ = names.insert(path.clone(), *node),
            Self::Moved(from, to, inode) => {
                if names.get(from) == Some(&Node::File(*inode)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Node::File(*inode));
            }
            Self::Removed(path) => _ = names.remove(path),
        }
    }
}

/// Returns the folder of a path; none for the root.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn paths(names: impl Iterator<Item = String>) -> Vec<PathBuf> {
    names.map(PathBuf::from).collect()
}
