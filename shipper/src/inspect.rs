//! Looks into a state directory, names what is torn or strange in it, and sets that aside.
//!
//! Nothing is deleted. What is taken out of a file, and files that do not belong there, go to `STATE/quarantine/`, under a
//! name that tells where they were. A spool segment's bytes are left where they are even where a power loss left zeros
//! among them: the places of the lines behind depend on them, and they are shipped as the lines they are.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use store::GenerationId;

use crate::completed;
use crate::dead_letters::{self, discarded::Discarded};
use crate::disk::{Disk, DiskFile, append_whole, path};
use crate::journal::{self, Bad, Harm, JournalError};
use crate::spool::{generation_of, segments, streams};

/// So many zeros in a row are taken for a hole that a power loss left: the smallest block that disks write.
pub const HOLE_MIN_BYTES: u64 = 512;

/// Bytes of one look at a segment.
const CHUNK_BYTES: usize = 256 * 1024;

/// So many holes of a segment are named.
const HOLES_NAMED: usize = 16;

const QUARANTINE: &str = "quarantine";

/// How the names of files end that are not yet what they are to become: the journal, what is discarded, what is repaired.
const LEFTOVERS: [&str; 2] = [".new", ".repaired"];

/// What can be done about a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The bytes are taken out of the file, and kept in the quarantine.
    TakeOut,
    /// The file is moved to the quarantine.
    MoveAway,
    /// Nothing has to be done.
    Leave,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// In which file.
    #[serde(serialize_with = "path::serialize_text")]
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What it is.
    pub what: String,
    /// What can be done.
    pub remedy: Remedy,
}

/// A spool segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentState {
    /// Its generation.
    pub generation: GenerationId,
    /// Of which stream it is a part.
    pub stream: String,
    /// Its length.
    pub bytes: u64,
    /// Every line before this offset is disposed of.
    pub checkpoint: u64,
}

/// What lies in a state directory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// The spool's segments.
    pub segments: Vec<SegmentState>,
    /// Files that are followed, or were by the last process.
    pub files: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// What is not as it should be.
    pub flaws: Vec<Flaw>,
}

impl Inspection {
    /// Whether there is something to set aside.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.flaws.iter().all(|flaw| flaw.remedy == Remedy::Leave)
    }

    fn flaw(&mut self, path: PathBuf, offset: u64, bytes: u64, remedy: Remedy, what: impl Into<String>) {
        self.flaws.push(Flaw { path, offset, bytes, what: what.into(), remedy });
    }
}

/// Bytes of all segments, which [`check`] looks at one by one.
///
/// # Errors
/// As the file system says.
pub fn bytes<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<u64> {
    let spool = state_dir.join("spool");
    let mut bytes = 0;
    for stream in streams(disk, &spool)? {
        for (_, path) in segments(disk, &spool.join(stream))? {
            // One that is done is removed meanwhile.
            bytes += disk.open(&path).and_then(|file| file.stat()).map_or(0, |stat| stat.len);
        }
    }
    Ok(bytes)
}

/// Looks, and changes nothing. `progress` gets the bytes of segments that are looked at.
///
/// # Errors
/// [`JournalError`]: a journal of a newer program, or a folder or file that can't be read.
pub fn check<D: Disk>(disk: &D, state_dir: &Path, progress: &dyn Fn(u64)) -> Result<Inspection, JournalError> {
    let mut found = Inspection::default();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| JournalError::Io { path, error }
    };
    let journal = journal::read(disk, state_dir)?;
    found.files = journal.entries.values().filter(|entry| entry.file.is_some()).count() as u64;
    for Bad { offset, bytes, harm } in &journal.bad {
        let what = match harm {
            Harm::TornEnd => "a torn end",
            Harm::Hole => "zeros that a power loss left; the records behind them are good, and stay",
            Harm::Damage => {
                "damaged, and no shipper starts with it; the records behind it are good, and stay. A file of which it told \
                 will be read again from its beginning, under other ids"
            }
        };
        found.flaw(state_dir.join("journal"), *offset, *bytes, Remedy::TakeOut, what);
    }
    for dir in [state_dir, &state_dir.join(dead_letters::DIR), &state_dir.join(completed::DIR)] {
        look_for_leftovers(disk, dir, &mut found).map_err(failed(dir))?;
    }
    let spool = state_dir.join("spool");
    look_at_spool(disk, &spool, &journal, progress, &mut found).map_err(failed(&spool))?;
    let letters = state_dir.join(dead_letters::DIR);
    let (discarded, bad) = Discarded::read_good(disk, state_dir).map_err(failed(&letters))?;
    for bad in bad {
        let what = "damaged, and no shipper starts with it: the letters that it says are discarded are letters again, or \
                    their lines go again, or verify misses them";
        found.flaw(bad.path, bad.offset, bad.length, Remedy::TakeOut, what);
    }
    let bad = dead_letters::read_beside(disk, state_dir, &discarded, |_| {
        found.dead_letters += 1;
        Ok(())
    });
    for bad in bad.map_err(failed(&letters))? {
        let what = if bad.is_torn_end { "a torn end" } else { "a line that is no dead letter" };
        found.flaw(bad.path, bad.offset, bad.length, Remedy::TakeOut, what);
    }
    for (path, offset, bytes) in completed::read(disk, state_dir).map_err(failed(&state_dir.join("past")))?.bad {
        found.flaw(path, offset, bytes, Remedy::TakeOut, "a torn note of what is done");
    }
    Ok(found)
}

/// Files that were written under another name, to be renamed when they were whole, and the journal's torn ends.
fn look_for_leftovers<D: Disk>(disk: &D, dir: &Path, found: &mut Inspection) -> io::Result<()> {
    for name in disk.list(dir)? {
        if LEFTOVERS.iter().any(|suffix| name.ends_with(suffix)) || name.starts_with("journal.torn-") {
            let path = dir.join(name);
            let bytes = disk.open(&path).and_then(|file| file.stat()).map_or(0, |stat| stat.len);
            let what = "left behind by a process that ended; nothing reads it";
            found.flaw(path, 0, bytes, Remedy::MoveAway, what);
        }
    }
    Ok(())
}

fn look_at_spool<D: Disk>(
    disk: &D,
    spool: &Path,
    journal: &journal::Found,
    progress: &dyn Fn(u64),
    found: &mut Inspection,
) -> io::Result<()> {
    for dir in disk.paths(spool)? {
        let Some(stream) = name_of(&dir).filter(|_| disk.is_dir(&dir)) else {
            found.flaw(dir, 0, 0, Remedy::MoveAway, "not a stream's folder");
            continue;
        };
        for path in disk.paths(&dir)? {
            let generation = name_of(&path).as_deref().and_then(generation_of);
            let Some(generation) = generation.filter(|_| disk.is_file(&path)) else {
                let what = "not a segment: its name is not GENERATION.log, or it is no file";
                found.flaw(path, 0, 0, Remedy::MoveAway, what);
                continue;
            };
            let checkpoint = journal.entries.get(&generation).map_or(0, |entry| entry.checkpoint);
            let state = SegmentState { generation, stream: stream.clone(), bytes: 0, checkpoint };
            look_at_segment(disk, path, state, progress, found)?;
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

fn look_at_segment<D: Disk>(
    disk: &D,
    path: PathBuf,
    state: SegmentState,
    progress: &dyn Fn(u64),
    found: &mut Inspection,
) -> io::Result<()> {
    let file = match disk.open(&path) {
        // Done, and removed, since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let bytes = file.stat()?.len;
    let checkpoint = state.checkpoint;
    found.segments.push(SegmentState { bytes, ..state });
    if checkpoint > bytes {
        let what = format!("it has {bytes} bytes and was disposed of up to {checkpoint}: its end is gone, but shipped");
        found.flaw(path.clone(), bytes, 0, Remedy::Leave, what);
    }
    progress(checkpoint.min(bytes));
    let (holes, ends_open) = holes(&file, checkpoint.min(bytes), bytes, progress)?;
    let count = holes.len();
    for (offset, length) in holes.into_iter().take(HOLES_NAMED) {
        let what = "zeros that a power loss may have left; they are shipped as the line that they are in";
        found.flaw(path.clone(), offset, length, Remedy::Leave, what);
    }
    if count > HOLES_NAMED {
        let what = format!("{} more holes of zeros", count - HOLES_NAMED);
        found.flaw(path.clone(), 0, 0, Remedy::Leave, what);
    }
    if ends_open {
        let what = "it ends without a newline: what stands there is shipped as a line by the next process";
        found.flaw(path, bytes, 0, Remedy::Leave, what);
    }
    Ok(())
}

/// Runs of zeros from `from` on, with their lengths, and whether the last byte is no newline.
fn holes(file: &impl DiskFile, from: u64, end: u64, progress: &dyn Fn(u64)) -> io::Result<(Vec<(u64, u64)>, bool)> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut at, mut holes, mut last) = (from, Vec::new(), b'\n');
    let mut run: Option<u64> = None;
    let mut close = |run: &mut Option<u64>, at: u64| {
        if let Some(start) = run.take().filter(|start| at - start >= HOLE_MIN_BYTES) {
            holes.push((start, at - start));
        }
    };
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = file.read_at(&mut buffer[..wanted], at)?;
        if got == 0 {
            break;
        }
        for (place, byte) in buffer[..got].iter().enumerate() {
            let here = at + place as u64;
            if *byte == 0 {
                run.get_or_insert(here);
            } else if run.is_some() {
                close(&mut run, here);
            }
        }
        last = buffer[got - 1];
        at += got as u64;
        progress(got as u64);
    }
    close(&mut run, at);
    Ok((holes, last != b'\n'))
}

/// Sets aside what has a remedy, and says in a line each where it went. Whoever calls it holds the state directory's lock.
///
/// # Errors
/// As the file system says; what was set aside until then is.
pub fn repair<D: Disk>(disk: &D, state_dir: &Path, found: &Inspection) -> io::Result<Vec<String>> {
    let quarantine = state_dir.join(QUARANTINE);
    let mut said = Vec::new();
    let mut flaws = found.flaws.iter().filter(|flaw| flaw.remedy != Remedy::Leave).peekable();
    if flaws.peek().is_none() {
        return Ok(said);
    }
    disk.create_dir_all(&quarantine)?;
    disk.sync_dir(state_dir)?;
    while let Some(flaw) = flaws.next() {
        let aside = free_name(disk, &quarantine, state_dir, flaw)?;
        match flaw.remedy {
            Remedy::Leave => {}
            Remedy::MoveAway => {
                disk.rename(&flaw.path, &aside)?;
                sync_both(disk, &flaw.path, &quarantine)?;
                said.push(format!("{} is moved to {}", path::text(&flaw.path), path::text(&aside)));
            }
            Remedy::TakeOut => {
                // All flaws of a file stand in a row.
                let mut ranges = vec![(flaw.offset, flaw.bytes)];
                while let Some(next) = flaws.next_if(|next| next.path == flaw.path) {
                    ranges.push((next.offset, next.bytes));
                }
                take_out(disk, &flaw.path, &ranges, &aside)?;
                sync_both(disk, &flaw.path, &quarantine)?;
                let bytes: u64 = ranges.iter().map(|(_, bytes)| bytes).sum();
                let (from, to) = (path::text(&flaw.path), path::text(&aside));
                said.push(format!("{bytes} bytes of {from} are taken out and kept in {to}"));
            }
        }
    }
    Ok(said)
}

/// Copies `ranges` of a file to `aside`, durably, and then writes the file anew without them.
fn take_out<D: Disk>(disk: &D, path: &Path, ranges: &[(u64, u64)], aside: &Path) -> io::Result<()> {
    let file = disk.open(path)?;
    let kept = disk.open_append(aside)?;
    for (offset, bytes) in ranges {
        copy(&file, *offset, offset + bytes, &kept)?;
    }
    kept.sync()?;
    let new_path = path.with_extension("repaired");
    let new = disk.open_append(&new_path)?;
    new.truncate(0)?;
    let mut from = 0;
    for (offset, bytes) in ranges {
        copy(&file, from, *offset, &new)?;
        from = offset + bytes;
    }
    copy(&file, from, file.stat()?.len, &new)?;
    new.sync()?;
    disk.rename(&new_path, path)
}

fn copy(from: &impl DiskFile, start: u64, end: u64, to: &impl DiskFile) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = from.read_at(&mut buffer[..wanted], at)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        append_whole(to, to.stat()?.len, &buffer[..got])?;
        at += got as u64;
    }
    Ok(())
}

fn sync_both(disk: &impl Disk, path: &Path, quarantine: &Path) -> io::Result<()> {
    disk.sync_dir(quarantine)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

/// A name in the quarantine that is not taken, made of where the file was and where in it the flaw is.
fn free_name<D: Disk>(disk: &D, quarantine: &Path, state_dir: &Path, flaw: &Flaw) -> io::Result<PathBuf> {
    let place = path::text(flaw.path.strip_prefix(state_dir).unwrap_or(&flaw.path)).replace('/', "_");
    let taken = disk.list(quarantine)?;
    let name = |number: u32| format!("{place}.at-{}.{number}", flaw.offset);
    let free = (1..=u32::MAX).map(name).find(|name| !taken.contains(name));
    Ok(quarantine.join(free.ok_or(io::ErrorKind::AlreadyExists)?))
}

#[cfg(test)]
mod tests;
