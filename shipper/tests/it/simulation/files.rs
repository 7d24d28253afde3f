//! Files that services write and rotate while the shipper follows them, and what must become of their lines.
//!
//! Only what somebody could have read is asked for: a file is cut when a line of its present life is known to the store,
//! so that the shipper has seen that life, and removed when all its lines rest. Whatever else is done to a file may be done
//! at any moment, also while no shipper runs: written to right after a cut, unreadable for a while, or copied by somebody
//! who writes notes of his own to the copy, which no pattern names and nobody may read.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use store::{GenerationId, LineId, Timestamp};

use super::disk::SimDisk;
use super::engine;
use super::oracle::{Expected, Rest, place, text_after};
use super::plan::Plan;
use super::random::Random;
use super::service::Lines;

/// How files are written and rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines; renamed, and all names are followed.
    Renamed,
    /// Lines; copied and cut, and only the first name is followed.
    CopiedAndCut,
    /// Lines; copied and cut, and all names are followed.
    CopiedAndNamed,
    /// Docker's entries; renamed, and all names are followed.
    Docker,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Renamed, Self::CopiedAndCut, Self::CopiedAndNamed, Self::Docker];

    fn is_cut(self) -> bool {
        matches!(self, Self::CopiedAndCut | Self::CopiedAndNamed)
    }

    pub(super) fn pattern(self) -> String {
        match self {
            Self::Renamed | Self::CopiedAndNamed | Self::Docker => format!("{LOGS}/*.log*"),
            Self::CopiedAndCut => format!("{LOGS}/*.log"),
        }
    }
}

pub(super) const LOGS: &str = "/logs";

/// What is in files that no pattern names.
pub(super) const SECRET: &str = "secret";

/// Lines with which every life of a file begins, where lives begin alike: more than a fingerprint covers.
const BANNER: &str = "service starting, version 1.0, with the same configuration as before\n";
const BANNER_LINES: usize = 16;

/// A line as it was written.
struct Written {
    text: Vec<u8>,
    /// Of Docker's, when its first entry says that it was written.
    at: Option<Timestamp>,
    is_whole: bool,
}

/// One file that a service writes to.
struct Log {
    name: String,
    /// What of a line, or of Docker's entries of it, is not written yet, and its number.
    rest: Option<(Vec<u8>, Option<u64>)>,
    /// Lines in the present life, of those that have one by number.
    life: Vec<Option<u64>>,
    /// It was cut, and this was the generation of the life before.
    cut: Option<Option<GenerationId>>,
    /// The generation of the present life, as far as the shipper has said.
    generation: Option<GenerationId>,
    rotated: u32,
    /// Its rights forbid to read it.
    is_unreadable: bool,
    /// Since when somebody's notes stand beside it.
    noted_at: Option<Timestamp>,
    /// Rotated names that are still there, with the lines in them.
    old: Vec<(String, Vec<Option<u64>>)>,
}

/// All files of a seed.
pub(super) struct Logs {
    kind: Kind,
    /// Every life of a file begins alike.
    begin_alike: bool,
    /// Somebody writes notes beside the files.
    has_notes: bool,
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
            cut: None,
            generation: None,
            rotated: 0,
            is_unreadable: false,
            noted_at: None,
            old: Vec::new(),
        };
        let logs = (0..random.between(1, 3)).map(log).collect();
        // After a power loss a file may be shorter than it was, so that one that was cut and begins alike looks the same.
        let begin_alike = kind != Kind::Docker && random.one_in(4) && !plan.power_losses;
        let has_notes = plan.has_notes() && kind == Kind::CopiedAndCut;
        Self { kind, begin_alike, has_notes, logs, lines: BTreeMap::new(), random }
    }

    /// Tells which generation the shipper takes each file for at the moment.
    pub(super) fn learn(&mut self, latest: impl Fn(&str) -> Option<GenerationId>) {
        for log in &mut self.logs {
            let now = latest(&log.name);
            log.generation = now;
            if log.cut.is_some_and(|before| before != now) {
                log.cut = None;
            }
        }
    }

    /// One thing that a service, or what rotates its files, does.
    pub(super) fn step(
        &mut self,
        disk: &SimDisk,
        lines: &mut Lines,
        wall: Timestamp,
        looked_at: Option<Timestamp>,
        is_at_rest: impl Fn(u64) -> bool,
    ) {
        let chosen = self.random.between(0, self.logs.len() - 1);
        match self.random.between(0, 30) {
            0 if self.logs[chosen].cut.is_none() && self.may_be_cut(chosen, looked_at) => {
                self.rotate(chosen, disk, is_at_rest);
            }
            1 => self.remove_old(chosen, disk, is_at_rest),
            2 => self.change_rights(chosen, disk),
            3 if self.has_notes => self.write_notes(chosen, disk, wall),
            4 => self.compress_old(chosen, disk, is_at_rest),
            _ => self.write(chosen, disk, lines, wall),
        }
    }

    /// Ends what was begun.
    pub(super) fn finish(&mut self, disk: &SimDisk) {
        for chosen in 0..self.logs.len() {
            self.finish_line(chosen, disk);
            disk.put_rights(&self.logs[chosen].name, true);
        }
    }

    /// A process ended unasked: when it last looked may not be written down, and notes from then on could be a copy.
    pub(super) fn forget_notes(&mut self, disk: &SimDisk) {
        for log in &mut self.logs {
            if log.noted_at.take().is_some() {
                disk.put_removal(&format!("{}.notes", log.name));
            }
        }
    }

    /// A copy that was made right before the cut, and goes on, can't be told from a rotated one.
    fn may_be_cut(&self, chosen: usize, looked_at: Option<Timestamp>) -> bool {
        let after = |noted: Timestamp| Timestamp::from_unix_micros(noted.unix_micros() + 300_000);
        let log = &self.logs[chosen];
        // What is cut while nobody can read it, nobody has seen.
        !log.is_unreadable && log.noted_at.is_none_or(|noted| looked_at.is_some_and(|looked| looked > after(noted)))
    }

    fn change_rights(&mut self, chosen: usize, disk: &SimDisk) {
        let log = &mut self.logs[chosen];
        log.is_unreadable = !log.is_unreadable && self.random.one_in(3);
        disk.put_rights(&log.name, !log.is_unreadable);
    }

    fn write_notes(&mut self, chosen: usize, disk: &SimDisk, wall: Timestamp) {
        let log = &mut self.logs[chosen];
        if log.noted_at.is_none() {
            let notes = format!("{}.notes", log.name);
            disk.put_copy(&log.name, &notes);
            disk.put(&notes, format!("{SECRET}\n").as_bytes());
            log.noted_at = Some(wall);
        }
    }

    fn write(&mut self, chosen: usize, disk: &SimDisk, lines: &mut Lines, wall: Timestamp) {
        if self.logs[chosen].rest.is_none() {
            self.begin_line(chosen, disk, lines, wall);
        }
        let Self { logs, random, .. } = self;
        let log = &mut logs[chosen];
        if random.one_in(3) {
            let (rest, _) = log.rest.as_mut().unwrap();
            let count = random.between(0, rest.len() - 1);
            disk.put(&log.name, &rest[..count]);
            rest.drain(..count);
        } else {
            self.finish_line(chosen, disk);
        }
    }

    fn begin_line(&mut self, chosen: usize, disk: &SimDisk, lines: &mut Lines, wall: Timestamp) {
        let is_docker = self.kind == Kind::Docker;
        if self.begin_alike && disk.bytes_of(&self.logs[chosen].name).is_empty() {
            disk.put(&self.logs[chosen].name, BANNER.repeat(BANNER_LINES).as_bytes());
            self.logs[chosen].life.push(None);
        }
        let (number, mut text) = lines.line(wall, is_docker);
        let bytes = if is_docker {
            self.entries(&text, wall)
        } else {
            text.push(b'\n');
            text.clone()
        };
        if let Some(number) = number {
            let at = is_docker.then_some(wall);
            self.lines.insert(number, Written { text, at, is_whole: false });
        }
        self.logs[chosen].rest = Some((bytes, number));
    }

    /// Docker's entries of a line: in pieces, with what comes from stderr between them.
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
        disk.put(&log.name, &rest);
        if let Some(number) = number {
            self.lines.get_mut(&number).unwrap().is_whole = true;
        }
        log.life.push(number);
    }

    fn rotate(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        // A service writes a line to one file, not to two.
        if !self.kind.is_cut() {
            self.finish_line(chosen, disk);
        }
        let log = &mut self.logs[chosen];
        // A shorter beginning is not taken for proof that a copy is one.
        let tells = |number: &u64| self.lines[number].text.len() >= 16 && is_at_rest(*number);
        let was_seen = log.rest.is_none() && log.life.iter().flatten().any(tells);
        if log.life.is_empty() || self.kind.is_cut() && !was_seen {
            return;
        }
        log.rotated += 1;
        log.is_unreadable = false;
        disk.put_rights(&log.name, true);
        let old = format!("{}.{}", log.name, log.rotated);
        if self.kind.is_cut() {
            disk.put_copy(&log.name, &old);
            disk.put_cut(&log.name);
            log.cut = Some(log.generation);
            // The notes are of the life that ended.
            if log.noted_at.take().is_some() {
                disk.put_removal(&format!("{}.notes", log.name));
            }
        } else {
            disk.put_rename(&log.name, &old);
        }
        log.old.push((old, std::mem::take(&mut log.life)));
    }

    /// As logrotate does: a rotated file is replaced by a compressed one, in which its rest may still be unread. One of which
    /// the shipper has read nothing is nobody's rest.
    fn compress_old(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        let Self { logs, lines, .. } = self;
        let tells = |number: &u64| lines[number].text.len() >= 16 && is_at_rest(*number);
        let old = logs[chosen]
            .old
            .iter_mut()
            .find(|(name, numbers)| !name.ends_with(".gz") && numbers.iter().flatten().any(tells));
        if let Some((name, _)) = old {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&disk.bytes_of(name)).unwrap();
            let compressed = format!("{name}.gz");
            disk.put(&compressed, &gzip.finish().unwrap());
            disk.put_removal(name);
            *name = compressed;
        }
    }

    fn remove_old(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        let log = &mut self.logs[chosen];
        // Of a line without a number nobody knows.
        let rests = |number: &Option<u64>| number.is_some_and(&is_at_rest);
        let is_done = |(_, numbers): &(String, Vec<Option<u64>>)| numbers.iter().all(rests);
        if let Some(place) = log.old.iter().position(is_done) {
            let (name, _) = log.old.remove(place);
            disk.put_removal(&name);
        }
    }

    /// That each line of the files rests in one place, as the document that it must be, and that those of a life stand
    /// end to end.
    pub(super) fn judge(&self, rest: &Rest, numbers: &HashMap<u64, Vec<(LineId, &engine::Held)>>) {
        for (number, written) in &self.lines {
            let places = numbers.get(number).map_or(0, Vec::len);
            let text = || String::from_utf8_lossy(&written.text).into_owned();
            assert!(places == 1 || !written.is_whole, "line {number} of a file, {}, rests in {places} places", text());
            for (id, held) in numbers.get(number).into_iter().flatten() {
                self.judge_document(written, *id, held);
            }
        }
        rest.judge_ends();
    }

    fn judge_document(&self, written: &Written, id: LineId, held: &engine::Held) {
        let document = &held.document;
        let name = text_after(document, "file").unwrap_or_default();
        assert!(name.starts_with(LOGS), "a line of a file is said to be of {name:?}");
        let length = place(document, "length");
        let source = format!("\"file\":\"{name}\"");
        if written.at.is_none() {
            assert_eq!(
                length,
                written.text.len() as u64,
                "{id}: a line's length, of {:?}: {}",
                String::from_utf8_lossy(&written.text),
                String::from_utf8_lossy(document)
            );
        }
        let text = written.text.strip_suffix(b"\n").unwrap_or(&written.text);
        let expected = Expected { text, id, length, source: &source };
        let shown = || String::from_utf8_lossy(document).into_owned();
        assert!(expected.is_met(document, &held.index), "{id} went to {} as {}", held.index, shown());
    }
}

fn entry(log: &str, stream: &str, wall: Timestamp) -> Vec<u8> {
    let log = serde_json::to_string(log).unwrap();
    format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{wall}\"}}\n").into_bytes()
}
