//! Files that services write and rotate while the shipper follows them.
//!
//! Only lines that could have been read are required: a file is truncated once the store holds a line of its present
//! life, and removed once all its lines have their outcome. Everything else can happen at any time, also while no
//! shipper runs: a file is written right after a truncation, unreadable for a while, or copied under a name that no
//! pattern matches, by a program that appends its own notes, which must not be read. A service may write to a file long
//! after it was renamed, and may leave a hole. Old files may be compressed. A power loss may remove a file's end that
//! was not sent to a store.

mod judge;
mod rotation;

use std::collections::BTreeMap;

use store::{GenerationId, Timestamp};

use super::disk::SimDisk;
use super::plan::Plan;
use super::random::Random;
use super::service::Lines;

/// How files are written and rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines; renamed, and all names are followed.
    Renamed,
    /// Lines; copied and truncated, and only the first name is followed.
    CopiedAndCut,
    /// Lines; copied and truncated, and all names are followed.
    CopiedAndNamed,
    /// Lines; renamed, and only the first name is followed. Services go on writing to a file after it was renamed.
    RenamedAway,
    /// Docker's entries; renamed, and all names are followed.
    Docker,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Renamed, Self::CopiedAndCut, Self::CopiedAndNamed, Self::Docker, Self::RenamedAway];

    /// Returns whether lines of a life must be read before it is rotated.
    fn is_seen_first(self) -> bool {
        self.is_cut() || self == Self::RenamedAway
    }

    fn is_cut(self) -> bool {
        matches!(self, Self::CopiedAndCut | Self::CopiedAndNamed)
    }

    pub(super) fn pattern(self) -> String {
        match self {
            Self::Renamed | Self::CopiedAndNamed | Self::Docker => format!("{LOGS}/*.log*"),
            Self::CopiedAndCut | Self::RenamedAway => format!("{LOGS}/*.log"),
        }
    }
}

pub(super) const LOGS: &str = "/logs";

/// Content of files that no pattern matches.
pub(super) const SECRET: &str = "secret";

/// First lines of every life, if lives have equal beginnings: longer than a fingerprint.
const BANNER: &str = "service starting, version 1.0, with the same configuration as before\n";
const BANNER_LINES: usize = 16;

/// First line of files in UTF-16, with the byte order mark.
const MARKED_LINE: &str = "\u{feff}a log in UTF-16\n";

/// A line as it was written.
struct Written {
    text: Vec<u8>,
    /// Time of its first entry, for Docker.
    at: Option<Timestamp>,
    is_whole: bool,
}

/// An old file that is being compressed.
struct Compressing {
    from: String,
    to: String,
    is_written: bool,
}

/// A file that a service writes to.
struct Log {
    name: String,
    /// The unwritten rest of a line, or of its Docker entries, and its number.
    rest: Option<(Vec<u8>, Option<u64>)>,
    /// Lines of the present life, with the numbers of those that have one.
    life: Vec<Option<u64>>,
    /// Number of lines of the life after which a power loss removed others.
    lost_after: usize,
    /// It was truncated, and this was the generation of the previous life.
    cut: Option<Option<GenerationId>>,
    /// The generation of the present life, as far as the shipper has reported it.
    generation: Option<GenerationId>,
    rotated: u32,
    /// Length of the hole before the next byte, since the service continues at its offset before the truncation.
    hole: usize,
    compressing: Option<Compressing>,
    /// It can't be read.
    is_unreadable: bool,
    /// Since when there is an unrelated copy with notes next to it.
    noted_at: Option<Timestamp>,
    /// Existing rotated names, with the lines in each.
    old: Vec<(String, Vec<Option<u64>>)>,
}

impl Log {
    /// Returns whether it has only the lines with which every life begins.
    fn is_begun(&self) -> bool {
        self.life == [None] && self.rest.is_none()
    }

    fn remove_notes(&mut self, disk: &SimDisk) {
        if self.noted_at.take().is_some() {
            disk.put_removal(&format!("{}.notes", self.name));
        }
    }

    /// Writes to the file, after the hole if there is one.
    fn put(&mut self, disk: &SimDisk, bytes: &[u8]) {
        let hole = if bytes.is_empty() { 0 } else { std::mem::take(&mut self.hole) };
        disk.put(&self.name, &[&vec![0; hole], bytes].concat());
    }
}

/// All files of a seed.
pub(super) struct Logs {
    kind: Kind,
    /// All lives of a file have equal beginnings.
    begin_alike: bool,
    /// Unrelated notes are written next to the files.
    has_notes: bool,
    /// Services continue at their offset after a truncation.
    leaves_holes: bool,
    is_utf16: bool,
    /// Number of lives with equal beginnings.
    banners: u64,
    lacks_births: bool,
    /// Old files are compressed.
    compresses: bool,
    /// Old files are kept, since a store may lose what it confirmed.
    keeps_files: bool,
    /// Power losses remove the ends of files.
    loses_ends: bool,
    logs: Vec<Log>,
    lines: BTreeMap<u64, Written>,
    random: Random,
}

impl Logs {
    pub(super) fn new(kind: Kind, plan: &Plan, mut random: Random) -> Self {
        let log = |number| Log {
            name: format!("{LOGS}/service-{number}.log"),
            rest: None,
            life: Vec::new(),
            lost_after: 0,
            cut: None,
            generation: None,
            rotated: 0,
            hole: 0,
            compressing: None,
            is_unreadable: false,
            noted_at: None,
            old: Vec::new(),
        };
        let logs = (0..random.between(1, 3)).map(log).collect();
        // After a power loss a file may be shorter, and a truncated one with an equal beginning looks the same.
        let begin_alike = kind != Kind::Docker && random.one_in(4) && !plan.power_losses;
        let has_notes = plan.has_notes() && kind == Kind::CopiedAndCut;
        let mut traits = Random::new(!random.clone().next());
        let is_utf16 = kind == Kind::Renamed && !begin_alike && traits.one_in(4);
        let keeps_files = plan.store_changes > 0;
        Self {
            kind,
            begin_alike,
            has_notes,
            leaves_holes: kind.is_cut() && traits.one_in(4),
            is_utf16,
            banners: 0,
            lacks_births: plan.lacks_births,
            compresses: matches!(kind, Kind::Renamed | Kind::CopiedAndNamed) && !keeps_files && traits.one_in(3),
            keeps_files,
            loses_ends: kind != Kind::Docker && !is_utf16 && traits.one_in(2),
            logs,
            lines: BTreeMap::new(),
            random,
        }
    }

    /// Updates the present generation of each file.
    pub(super) fn learn(&mut self, disk: &SimDisk, latest: impl Fn(&str) -> Option<GenerationId>) {
        for log in &mut self.logs {
            let now = latest(&log.name);
            log.generation = now;
            if log.cut.is_some_and(|before| before != now) {
                log.cut = None;
                // The notes belong to the life that ended.
                log.remove_notes(disk);
            }
        }
    }

    /// Makes one step of a service or of the rotation.
    pub(super) fn step(
        &mut self,
        disk: &SimDisk,
        lines: &mut Lines,
        wall: Timestamp,
        looked_at: Option<Timestamp>,
        is_at_rest: impl Fn(u64) -> bool,
    ) {
        let chosen = self.random.between(0, self.logs.len() - 1);
        // Files next to it are looked at when it is truncated.
        if self.logs[chosen].noted_at.is_some() && !self.random.one_in(20) {
            if self.random.one_in(40) {
                self.logs[chosen].remove_notes(disk);
            } else if self.logs[chosen].cut.is_none() && self.may_be_cut(chosen, looked_at) {
                self.rotate(chosen, disk, is_at_rest);
            }
            return;
        }
        // A file with only the common beginning may stay so for a while.
        let stays = if self.kind == Kind::Renamed { 16 } else { 4 };
        if self.begin_alike && self.logs[chosen].is_begun() && !self.random.one_in(stays) {
            return;
        }
        match self.random.between(0, 30) {
            0 if self.logs[chosen].cut.is_none() && self.may_be_cut(chosen, looked_at) => {
                self.rotate(chosen, disk, is_at_rest);
            }
            1 => self.remove_old(chosen, disk, is_at_rest),
            2 => self.change_rights(chosen, disk),
            3 if self.has_notes => self.write_notes(chosen, disk, wall),
            4 | 5 if self.kind == Kind::RenamedAway => self.write_late(chosen, disk, lines, wall),
            5 if self.kind == Kind::CopiedAndCut => self.copy_elsewhere(chosen, disk),
            5 if self.compresses => self.compress(chosen, disk, is_at_rest),
            4 if !self.keeps_files && !self.is_utf16 => self.compress_old(chosen, disk, is_at_rest),
            _ => self.write(chosen, disk, lines, wall),
        }
    }

    /// Returns the bytes per character of the lines.
    fn unit(&self) -> usize {
        if self.is_utf16 { 2 } else { 1 }
    }

    /// Completes unfinished lines.
    pub(super) fn finish(&mut self, disk: &SimDisk) {
        for chosen in 0..self.logs.len() {
            self.finish_line(chosen, disk);
            disk.put_rights(&self.logs[chosen].name, true);
        }
    }

    fn write(&mut self, chosen: usize, disk: &SimDisk, lines: &mut Lines, wall: Timestamp) {
        if self.begin(chosen, disk) && self.random.one_in(2) {
            return;
        }
        if self.logs[chosen].rest.is_none() {
            self.begin_line(chosen, lines, wall);
        }
        let Self { logs, random, .. } = self;
        let log = &mut logs[chosen];
        if random.one_in(3) {
            let (rest, _) = log.rest.as_mut().unwrap();
            let count = random.between(0, rest.len() - 1);
            let written: Vec<u8> = rest.drain(..count).collect();
            log.put(disk, &written);
        } else {
            self.finish_line(chosen, disk);
        }
    }

    /// Writes the first lines of a life; returns whether there are any.
    fn begin(&mut self, chosen: usize, disk: &SimDisk) -> bool {
        let log = &mut self.logs[chosen];
        if !self.begin_alike && !self.is_utf16 || log.rest.is_some() || !disk.bytes_of(&log.name).is_empty() {
            return false;
        }
        let first = if self.is_utf16 { utf16(MARKED_LINE) } else { BANNER.repeat(BANNER_LINES).into_bytes() };
        log.put(disk, &first);
        log.life.push(None);
        self.banners += u64::from(self.begin_alike);
        true
    }

    fn begin_line(&mut self, chosen: usize, lines: &mut Lines, wall: Timestamp) {
        let is_docker = self.kind == Kind::Docker;
        let log = &mut self.logs[chosen];
        let hole = log.hole;
        let (number, mut text) = lines.line(wall, is_docker || self.is_utf16);
        let bytes = if is_docker {
            self.entries(&text, wall)
        } else {
            text.push(b'\n');
            if self.is_utf16 { utf16(std::str::from_utf8(&text).unwrap()) } else { text.clone() }
        };
        text.splice(0..0, vec![0; hole]);
        if let Some(number) = number {
            let at = is_docker.then_some(wall);
            self.lines.insert(number, Written { text, at, is_whole: false });
        }
        self.logs[chosen].rest = Some((bytes, number));
    }

    /// Returns Docker's entries of a line, in pieces, with stderr between them.
    fn entries(&mut self, text: &[u8], wall: Timestamp) -> Vec<u8> {
        let text = format!("{}\n", std::str::from_utf8(text).unwrap());
        let mut entries = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let whole = self.random.one_in(2) || rest.len() < 3;
            // The texts are ASCII.
            let (piece, after) = rest.split_at(if whole { rest.len() } else { self.random.between(1, rest.len() - 2) });
            rest = after;
            if self.random.one_in(5) {
                entries.extend(entry("panicked\n", "stderr", wall));
            }
            entries.extend(entry(piece, "stdout", wall));
        }
        entries
    }

    fn finish_line(&mut self, chosen: usize, disk: &SimDisk) {
        let log = &mut self.logs[chosen];
        let Some((rest, number)) = log.rest.take() else { return };
        log.put(disk, &rest);
        if let Some(number) = number {
            self.lines.get_mut(&number).unwrap().is_whole = true;
        }
        log.life.push(number);
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn entry(log: &str, stream: &str, wall: Timestamp) -> Vec<u8> {
    let log = serde_json::to_string(log).unwrap();
    format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{wall}\"}}\n").into_bytes()
}
