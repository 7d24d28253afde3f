//! Changes to files besides writing lines: rotation, compression, rights, unrelated copies, and lost ends.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use shipper::files::FINGERPRINT_BYTES;
use store::Timestamp;

use super::{BANNER, BANNER_LINES, Compressing, Kind, LOGS, Logs, SECRET, Written};
use crate::simulation::disk::SimDisk;
use crate::simulation::service::Lines;

/// First bytes of a compressed file.
const COMPRESSED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";

/// Returns whether all lines of an old file have their outcome, which is unknown for lines without a number.
fn is_done(is_at_rest: impl Fn(u64) -> bool) -> impl Fn(&(String, Vec<Option<u64>>)) -> bool {
    move |(_, numbers)| numbers.iter().all(|number| number.is_some_and(&is_at_rest))
}

impl Logs {
    /// Removes the notes after a kill: the time of the last look may not be recorded, and later notes could be a copy.
    pub(in crate::simulation) fn forget_notes(&mut self, disk: &SimDisk) {
        for log in &mut self.logs {
            log.remove_notes(disk);
        }
    }

    /// A copy that was made right before the truncation, and has more lines, looks like a rotated one.
    pub(super) fn may_be_cut(&self, chosen: usize, looked_at: Option<Timestamp>) -> bool {
        let after = |noted: Timestamp| Timestamp::from_unix_micros(noted.unix_micros() + 2_200_000);
        let log = &self.logs[chosen];
        // The shipper does not see a truncation of an unreadable file.
        !log.is_unreadable && log.noted_at.is_none_or(|noted| looked_at.is_some_and(|looked| looked > after(noted)))
    }

    pub(super) fn change_rights(&mut self, chosen: usize, disk: &SimDisk) {
        let log = &mut self.logs[chosen];
        log.is_unreadable = !log.is_unreadable && self.random.one_in(3);
        disk.put_rights(&log.name, !log.is_unreadable);
    }

    /// Copies a file to a name that is no rotated one, and appends notes that must not be read.
    pub(super) fn copy_elsewhere(&mut self, chosen: usize, disk: &SimDisk) {
        let notes = format!("{LOGS}/notes-{chosen}.txt");
        if disk.bytes_of(&notes).is_empty() {
            disk.put_copy(&self.logs[chosen].name, &notes);
            disk.put(&notes, format!("{SECRET}\n").as_bytes());
        } else {
            disk.put_removal(&notes);
        }
    }

    pub(super) fn write_notes(&mut self, chosen: usize, disk: &SimDisk, wall: Timestamp) {
        let log = &mut self.logs[chosen];
        if log.noted_at.is_none() && log.rest.is_none() {
            let notes = format!("{}.notes", log.name);
            disk.put_copy(&log.name, &notes);
            disk.put(&notes, format!("{SECRET}\n").as_bytes());
            log.noted_at = Some(wall);
        }
    }

    pub(super) fn rotate(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        // A service writes a line to one file, not to two.
        if !self.kind.is_cut() {
            self.finish_line(chosen, disk);
        }
        let log = &mut self.logs[chosen];
        // Files of equal content under rotated names count as copies.
        if self.begin_alike && log.is_begun() {
            return;
        }
        // A shorter beginning is no proof of a copy.
        let tells = |number: &u64| self.lines[number].text.len() >= 16 && is_at_rest(*number);
        let was_seen = log.rest.is_none() && log.life[log.lost_after..].iter().flatten().any(tells);
        if log.life.is_empty() || self.kind.is_seen_first() && !was_seen {
            return;
        }
        log.rotated += 1;
        log.lost_after = 0;
        log.is_unreadable = false;
        disk.put_rights(&log.name, true);
        let old = format!("{}.{}", log.name, log.rotated);
        if self.kind.is_cut() {
            disk.put_copy(&log.name, &old);
            // The last line may be written after the copy is made. The shipper may have read it already.
            let copied = disk.bytes_of(&old);
            let copied_len = memchr::memrchr_iter(b'\n', &copied).nth(1).map_or(0, |end| end + 1);
            let is_known = log.life.split_last().is_some_and(|(_, copied)| {
                copied.get(log.lost_after..).is_some_and(|copied| copied.iter().flatten().any(tells))
            });
            // The fingerprint of a shorter file covers the line too.
            if is_known
                && copied_len as u64 >= FINGERPRINT_BYTES
                && self.random.one_in(2)
                && let Some(Some(late)) = log.life.pop_if(|last| last.is_some())
            {
                disk.put_shorter(&old, copied_len);
                self.lines.get_mut(&late).unwrap().is_whole = false;
            }
            if self.leaves_holes {
                log.hole = disk.bytes_of(&log.name).len();
            }
            disk.put_cut(&log.name);
            log.cut = Some(log.generation);
        } else {
            disk.put_rename(&log.name, &old);
        }
        log.old.push((old, std::mem::take(&mut log.life)));
    }

    /// Writes to a file after it was renamed.
    pub(super) fn write_late(&mut self, chosen: usize, disk: &SimDisk, lines: &mut Lines, wall: Timestamp) {
        let Some((name, numbers)) = self.logs[chosen].old.last_mut() else { return };
        let (number, mut text) = lines.line(wall, false);
        text.push(b'\n');
        disk.put(name, &text);
        numbers.push(number);
        if let Some(number) = number {
            self.lines.insert(number, Written { text, at: None, is_whole: true });
        }
    }

    pub(super) fn remove_old(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        let log = &mut self.logs[chosen];
        if let Some(place) = log.old.iter().position(is_done(is_at_rest)).filter(|_| !self.keeps_files) {
            let (name, _) = log.old.remove(place);
            if log.compressing.as_ref().is_none_or(|compressing| compressing.from != name) {
                disk.put_removal(&name);
            }
        }
    }

    /// Replaces a rotated file by a compressed one, as logrotate does; its rest may be unread. A file of which nothing
    /// was read can't be recognised.
    pub(super) fn compress_old(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
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

    /// Compresses an old file as some programs do: create an empty file, write to it, remove the old one.
    pub(super) fn compress(&mut self, chosen: usize, disk: &SimDisk, is_at_rest: impl Fn(u64) -> bool) {
        let log = &mut self.logs[chosen];
        match log.compressing.take() {
            None => {
                let is_done = is_done(is_at_rest);
                let is_it = |old: &(String, Vec<Option<u64>>)| !old.0.ends_with(".gz") && is_done(old);
                let Some(place) = log.old.iter().position(is_it) else { return };
                let (from, _) = log.old.remove(place);
                let to = format!("{from}.gz");
                disk.put(&to, &[]);
                log.compressing = Some(Compressing { from, to, is_written: false });
            }
            Some(Compressing { from, to, is_written: false }) => {
                disk.put(&to, &[COMPRESSED, SECRET.repeat(20).as_bytes(), b"\n"].concat());
                log.compressing = Some(Compressing { from, to, is_written: true });
            }
            Some(Compressing { from, .. }) => disk.put_removal(&from),
        }
    }

    /// Deletes and creates a file again while no shipper runs, if all of it was read and it has only the common
    /// beginning. `checkpoint` returns the shipper's checkpoint of a file.
    pub(in crate::simulation) fn replace_while_stopped(
        &mut self,
        disk: &SimDisk,
        checkpoint: impl Fn(&str) -> Option<u64>,
    ) {
        let banner_bytes = (BANNER.len() * BANNER_LINES) as u64;
        for log in &mut self.logs {
            let is_begun = self.begin_alike && log.is_begun();
            let bytes = disk.bytes_of(&log.name);
            let is_read = bytes.len() as u64 == banner_bytes && checkpoint(&log.name) == Some(banner_bytes);
            if is_begun && is_read && !self.keeps_files && !self.lacks_births && self.kind == Kind::Renamed {
                disk.put_removal(&log.name);
                disk.put(&log.name, &bytes);
                self.banners += 1;
            }
        }
    }

    /// Removes an unsent end of a file with a power loss. The rest must still be recognised: `can_tell` returns whether
    /// a file of this name and length is.
    pub(in crate::simulation) fn lose_power(
        &mut self,
        disk: &SimDisk,
        was_sent: impl Fn(u64) -> bool,
        can_tell: impl Fn(&str, u64) -> bool,
    ) {
        if !self.loses_ends {
            return;
        }
        for log in &mut self.logs {
            let bytes = disk.bytes_of(&log.name);
            // Lines without a number are unknown.
            let unsent = |number: &&Option<u64>| number.is_some_and(|number| !was_sent(number));
            let most = log.life.iter().rev().take_while(unsent).count();
            if !self.random.one_in(2) || most == 0 {
                continue;
            }
            let count = self.random.between(1, most);
            let ends = memchr::memchr_iter(b'\n', &bytes).rev().nth(count);
            let len = ends.map_or(0, |end| end + 1);
            if !can_tell(&log.name, len as u64) {
                continue;
            }
            let lost = log.life.split_off(log.life.len() - count);
            lost.iter().flatten().for_each(|number| self.lines.get_mut(number).unwrap().is_whole = false);
            log.rest = None;
            log.lost_after = log.life.len();
            disk.put_shorter(&log.name, len);
        }
    }
}
