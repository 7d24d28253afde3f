//! Inspects a state directory, reports damage and unknown files, and moves them to quarantine.
//!
//! Nothing is deleted. Ranges taken out of a file, and unknown files, go to `STATE/quarantine/`, with a name that tells
//! their origin. Bytes of spool segments stay, even where a power loss left zeros: the offsets of later lines depend on
//! them, and they are shipped as the lines they are.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use store::GenerationId;

use crate::completed;
use crate::dead_letters::{self, discarded::Discarded};
use crate::disk::{Disk, DiskFile, append_whole, path};
use crate::journal::{self, Fault, InvalidRange, JournalError};
use crate::spool::{generation_of, segments, streams};

/// A run of at least this many zeros counts as a hole left by a power loss. It is the smallest block that disks write.
pub const HOLE_MIN_BYTES: u64 = 512;

/// Size of one read of a segment.
const CHUNK_BYTES: usize = 256 * 1024;

/// Maximum number of holes reported per segment.
const HOLES_NAMED: usize = 16;

const QUARANTINE: &str = "quarantine";

/// Suffixes of unfinished files: the journal, discarded letters, repaired files.
const LEFTOVERS: [&str; 2] = [".new", ".repaired"];

/// How to repair a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Move the bytes to quarantine.
    TakeOut,
    /// Move the file to quarantine.
    MoveAway,
    /// No action is necessary.
    Leave,
}

/// Damage, or an unknown file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// The file.
    #[serde(serialize_with = "path::serialize_text")]
    pub path: PathBuf,
    /// The offset in it.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// What it is.
    pub what: String,
    /// How to repair it.
    pub remedy: Remedy,
}

/// A spool segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentState {
    /// Its generation.
    pub generation: GenerationId,
    /// The stream that it belongs to.
    pub stream: String,
    /// Its length.
    pub bytes: u64,
    /// Every line before this offset has its outcome.
    pub checkpoint: u64,
}

/// The content of a state directory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// The spool's segments.
    pub segments: Vec<SegmentState>,
    /// Files followed now, or by the last process.
    pub files: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Damage and unknown files.
    pub flaws: Vec<Flaw>,
}

impl Inspection {
    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.flaws.iter().all(|flaw| flaw.remedy == Remedy::Leave)
    }

    fn flaw(&mut self, path: PathBuf, offset: u64, bytes: u64, remedy: Remedy, what: impl Into<String>) {
        self.flaws.push(Flaw { path, offset, bytes, what: what.into(), remedy });
    }
}

/// The total size of all segments, which [`check`] reads.
///
/// # Errors
/// File system errors.
pub fn bytes<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<u64> {
    let spool = state_dir.join("spool");
    let mut bytes = 0;
    for stream in streams(disk, &spool)? {
        for (_, path) in segments(disk, &spool.join(stream))? {
            // A completed one may have been removed meanwhile.
            bytes += disk.open(&path).and_then(|file| file.stat()).map_or(0, |stat| stat.len);
        }
    }
    Ok(bytes)
}

/// Inspects without changing anything. `progress` is called with the number of bytes of segments read.
///
/// # Errors
/// [`JournalError`]: a journal of a newer version, or a folder or file that can't be read.
pub fn check<D: Disk>(disk: &D, state_dir: &Path, progress: &dyn Fn(u64)) -> Result<Inspection, JournalError> {
    let mut found = Inspection::default();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| JournalError::Io { path, error }
    };
    let journal = journal::read(disk, state_dir)?;
    found.files = journal.entries.values().filter(|entry| entry.file.is_some()).count() as u64;
    for InvalidRange { offset, bytes, fault } in &journal.bad {
        let what = match fault {
            Fault::TornEnd => "torn end",
            Fault::Hole => "zeros left by a power loss; the records after them are valid and stay",
            Fault::Damage => {
                "damaged, so that no shipper starts; the records after it are valid and stay. A file that it described \
                 will be read again from its start, with other ids"
            }
        };
        found.flaw(state_dir.join("journal"), *offset, *bytes, Remedy::TakeOut, what);
    }
    for dir in [state_dir, &state_dir.join(dead_letters::DIR), &state_dir.join(completed::DIR)] {
        find_leftovers(disk, dir, &mut found).map_err(failed(dir))?;
    }
    let spool = state_dir.join("spool");
    inspect_spool(disk, &spool, &journal, progress, &mut found).map_err(failed(&spool))?;
    let letters = state_dir.join(dead_letters::DIR);
    let (discarded, bad) = Discarded::read_good(disk, state_dir).map_err(failed(&letters))?;
    for bad in bad {
        let what = "damaged: the shipper refuses to start with it; once it is removed, the letters that it discards count \
                    as dead letters again, or are sent again, or are reported missing by verify";
        found.flaw(bad.path, bad.offset, bad.length, Remedy::TakeOut, what);
    }
    let bad = dead_letters::read_with(disk, state_dir, &discarded, |_| {
        found.dead_letters += 1;
        Ok(())
    });
    for bad in bad.map_err(failed(&letters))? {
        let what = if bad.is_torn_end { "torn end" } else { "invalid line" };
        found.flaw(bad.path, bad.offset, bad.length, Remedy::TakeOut, what);
    }
    for (path, offset, bytes) in completed::read(disk, state_dir).map_err(failed(&state_dir.join("past")))?.bad {
        found.flaw(path, offset, bytes, Remedy::TakeOut, "damaged note");
    }
    Ok(found)
}

/// Reports files that were to be renamed when complete, and torn ends of the journal.
fn find_leftovers<D: Disk>(disk: &D, dir: &Path, found: &mut Inspection) -> io::Result<()> {
    for name in disk.list(dir)? {
        if LEFTOVERS.iter().any(|suffix| name.ends_with(suffix)) || name.starts_with("journal.torn-") {
            let path = dir.join(name);
            let bytes = disk.open(&path).and_then(|file| file.stat()).map_or(0, |stat| stat.len);
            let what = "unfinished file of an ended process; it is not used";
            found.flaw(path, 0, bytes, Remedy::MoveAway, what);
        }
    }
    Ok(())
}

fn inspect_spool<D: Disk>(
    disk: &D,
    spool: &Path,
    journal: &journal::Contents,
    progress: &dyn Fn(u64),
    found: &mut Inspection,
) -> io::Result<()> {
    for dir in disk.paths(spool)? {
        let Some(stream) = name_of(&dir).filter(|_| disk.is_dir(&dir)) else {
            found.flaw(dir, 0, 0, Remedy::MoveAway, "not the folder of a stream");
            continue;
        };
        for path in disk.paths(&dir)? {
            let generation = name_of(&path).as_deref().and_then(generation_of);
            let Some(generation) = generation.filter(|_| disk.is_file(&path)) else {
                let what = "not a segment: its name is not GENERATION.log, or it is not a file";
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
        // Completed and removed after the folder was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let bytes = file.stat()?.len;
    let checkpoint = state.checkpoint;
    found.segments.push(SegmentState { bytes, ..state });
    if checkpoint > bytes {
        let what =
            format!("it has {bytes} bytes, but its checkpoint is {checkpoint}: its end was lost after it was shipped");
        found.flaw(path.clone(), bytes, 0, Remedy::Leave, what);
    }
    progress(checkpoint.min(bytes));
    let (holes, ends_open) = holes(&file, checkpoint.min(bytes), bytes, progress)?;
    let count = holes.len();
    for (offset, length) in holes.into_iter().take(HOLES_NAMED) {
        let what = "zeros, possibly left by a power loss; they are shipped as part of their line";
        found.flaw(path.clone(), offset, length, Remedy::Leave, what);
    }
    if count > HOLES_NAMED {
        let what = format!("{} more runs of zeros", count - HOLES_NAMED);
        found.flaw(path.clone(), 0, 0, Remedy::Leave, what);
    }
    if ends_open {
        let what = "no newline at the end: the next process ships the incomplete line";
        found.flaw(path, bytes, 0, Remedy::Leave, what);
    }
    Ok(())
}

/// Runs of zeros from `from` on, with their lengths, and whether the last byte is not a newline.
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

/// Repairs all flaws that have a remedy, and returns a message for each. The caller must hold the lock of the state
/// directory.
///
/// # Errors
/// File system errors. Flaws repaired before the error stay repaired.
pub fn repair<D: Disk>(disk: &D, state_dir: &Path, found: &Inspection) -> io::Result<Vec<String>> {
    let quarantine = state_dir.join(QUARANTINE);
    let mut moved = Vec::new();
    let mut flaws = found.flaws.iter().filter(|flaw| flaw.remedy != Remedy::Leave).peekable();
    if flaws.peek().is_none() {
        return Ok(moved);
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
                moved.push(format!("{} moved to {}", path::text(&flaw.path), path::text(&aside)));
            }
            Remedy::TakeOut => {
                // All flaws of a file are adjacent.
                let mut ranges = vec![(flaw.offset, flaw.bytes)];
                while let Some(next) = flaws.next_if(|next| next.path == flaw.path) {
                    ranges.push((next.offset, next.bytes));
                }
                take_out(disk, &flaw.path, &ranges, &aside)?;
                sync_both(disk, &flaw.path, &quarantine)?;
                let bytes: u64 = ranges.iter().map(|(_, bytes)| bytes).sum();
                let (from, to) = (path::text(&flaw.path), path::text(&aside));
                moved.push(format!("{bytes} bytes of {from} moved to {to}"));
            }
        }
    }
    Ok(moved)
}

/// Copies `ranges` of a file to `aside`, durably, and then rewrites the file without them.
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

/// A free name in the quarantine, made of the file's path and the offset of the flaw.
fn free_name<D: Disk>(disk: &D, quarantine: &Path, state_dir: &Path, flaw: &Flaw) -> io::Result<PathBuf> {
    let place = path::text(flaw.path.strip_prefix(state_dir).unwrap_or(&flaw.path)).replace('/', "_");
    let taken = disk.list(quarantine)?;
    let name = |number: u32| format!("{place}.at-{}.{number}", flaw.offset);
    let free = (1..=u32::MAX).map(name).find(|name| !taken.contains(name));
    Ok(quarantine.join(free.ok_or(io::ErrorKind::AlreadyExists)?))
}

#[cfg(test)]
mod tests;
