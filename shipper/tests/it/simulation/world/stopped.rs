//! Changes to files while no shipper runs.

use std::collections::HashSet;
use std::path::Path;

use shipper::journal::{self, Entry, Tail};

use super::World;
use crate::simulation::STATE;
use crate::simulation::oracle::dead_letters;
use crate::simulation::service::number_in;

impl World {
    /// Replaces files, or removes their ends with a power loss.
    pub(super) fn change_files_while_stopped(&mut self, power_lost: bool) {
        let Some(logs) = &mut self.logs else { return };
        let entries = journal::entries(&self.disk, Path::new(STATE)).unwrap_or_default();
        let is_of = |path: &str, entry: &&Entry| entry.file.as_ref().is_some_and(|file| file.path == Path::new(path));
        let latest = |path: &str| entries.values().rev().find(|entry| is_of(path, entry));
        if !power_lost {
            // A file that was replaced before any look is unknown.
            let is_present = |path: &str, entry: &&Entry| {
                entry.file.as_ref().is_some_and(|file| file.born_ns == self.disk.born_ns(path))
            };
            let checkpoint =
                |path: &str| latest(path).filter(|entry| is_present(path, entry)).map(|entry| entry.checkpoint);
            logs.replace_while_stopped(&self.disk, checkpoint);
            return;
        }
        let dead = dead_letters(&self.disk);
        let documents = self.engine.sent().chain(dead.iter().map(|(_, held)| &held.document[..]));
        let sent: HashSet<_> = documents.filter_map(number_in).collect();
        let can_tell = |path: &str, len| {
            latest(path).is_some_and(|entry| {
                let is_enough = |tail: &Tail| (entry.checkpoint.max(16)..=len).contains(&tail.end);
                entry.trail.iter().any(is_enough)
            })
        };
        logs.lose_power(&self.disk, |number| sent.contains(&number), can_tell);
    }
}
