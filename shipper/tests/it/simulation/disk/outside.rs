//! Operations of services on their own files. Faults of the disk do not affect them, and a power loss leaves them.

use super::{Change, Node, SimDisk, State};
use crate::simulation::STATE;

impl SimDisk {
    /// Appends to a file, creating it if it is missing.
    pub(in crate::simulation) fn put(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = match state.names.get(path) {
            Some(Node::File(inode)) => *inode,
            _ => state.make(path),
        };
        state.inodes[inode].bytes.extend_from_slice(bytes);
        state.touch(inode, true);
        state.settle_outside();
    }

    pub(in crate::simulation) fn put_rename(&self, from: &str, to: &str) {
        let mut state = self.state();
        if let Some(node) = state.names.remove(from) {
            state.names.insert(to.to_owned(), node);
            if let Node::File(inode) = node {
                state.touch(inode, false);
            }
        }
        state.settle_outside();
    }

    pub(in crate::simulation) fn put_copy(&self, from: &str, to: &str) {
        let bytes = self.bytes_of(from);
        self.put(to, &bytes);
    }

    pub(in crate::simulation) fn put_cut(&self, path: &str) {
        self.put_shorter(path, 0);
    }

    /// Truncates a file to this length.
    pub(in crate::simulation) fn put_shorter(&self, path: &str, len: usize) {
        let mut state = self.state();
        if let Some(Node::File(inode)) = state.names.get(path).copied() {
            state.inodes[inode].bytes.truncate(len);
            state.touch(inode, true);
        }
        state.settle_outside();
    }

    pub(in crate::simulation) fn put_removal(&self, path: &str) {
        let mut state = self.state();
        state.names.remove(path);
        state.settle_outside();
    }

    pub(in crate::simulation) fn bytes_of(&self, path: &str) -> Vec<u8> {
        let state = self.state();
        match state.names.get(path) {
            Some(Node::File(inode)) => state.inodes[*inode].bytes.clone(),
            _ => Vec::new(),
        }
    }

    /// Returns the birth time of a file.
    pub(in crate::simulation) fn born_ns(&self, path: &str) -> Option<i64> {
        let state = self.state();
        match state.names.get(path) {
            Some(Node::File(inode)) => state.inodes[*inode].born_ns,
            _ => None,
        }
    }

    /// Makes a file unreadable or readable.
    pub(in crate::simulation) fn put_rights(&self, path: &str, is_readable: bool) {
        let mut state = self.state();
        if let Some(Node::File(inode)) = state.names.get(path).copied() {
            state.inodes[inode].is_readable = is_readable;
            state.touch(inode, false);
        }
    }
}

impl State {
    /// What is not the shipper's is durable at once.
    fn settle_outside(&mut self) {
        let Self { names, durable_names, inodes, changes, .. } = self;
        let outside = |path: &str| !path.starts_with(STATE);
        changes.retain(|change| !matches!(change, Change::Made(path, _) if outside(path)));
        durable_names.retain(|path, _| !outside(path) || names.contains_key(path));
        for (path, node) in names.iter().filter(|(path, _)| outside(path)) {
            durable_names.insert(path.clone(), *node);
            if let Node::File(inode) = node {
                inodes[*inode].settle();
            }
        }
    }
}
