//! `shipper verify`: compares the store with the state directory, and reports missing and duplicate lines.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use shipper::config::Settings;
use shipper::dead_letters::DeadLetters;
use shipper::disk::RealDisk;
use shipper::files::UnreadNote;
use shipper::resend::Resender;
use shipper::shipper::{StartError, StateDirLock};
use shipper::verify::deleted_indices::{ByIndex, Indices};
use shipper::verify::known::Known;
use shipper::verify::lines::{self, Check, Lines};
use shipper::verify::sums::{self, Sums};
use shipper::verify::{Duplicate, Listed, Missing, Unreadable};
use store::{Batch, Disposition, StoreAudit, StoreWriter, Timestamp};

use super::args::{VerifyArgs, lock_state_dir};
use super::{open_to_audit, open_to_write, print, print_json, progress};
use crate::exit::{Exit, Failure};

/// Maximum number of findings of a kind that are printed as text. `--json` has more.
const SHOWN_MAX: usize = 20;

/// The result of a verification.
#[derive(Serialize)]
struct Report {
    store: String,
    state_dir: String,
    /// Whether a shipper is running.
    live: bool,
    /// Whether the store could be refreshed. Without, lines of the last second may not be visible.
    refreshed: bool,
    /// Damaged notes of completed sources. A torn one was written again; one that was modified is ignored.
    damaged_notes: u64,
    sums: Sums,
    lines: Option<Lines>,
    resent: Option<ResentCounts>,
    /// Files that match a pattern but were not read when the shipper last looked, in a sentence.
    unread: Option<String>,
    verified: bool,
    /// The state directory knows of no line that the store should hold.
    nothing_to_verify: bool,
}

#[derive(Debug, Default, Serialize)]
struct ResentCounts {
    stored: u64,
    already_stored: u64,
    dead_lettered: u64,
}

/// Verifies, prints the result, and sends missing lines with `--resend`.
pub(crate) async fn verify(args: VerifyArgs) -> Result<Exit, Failure> {
    let (resend, sums_only, since, json) = (args.resend, args.sums_only, args.since, args.json);
    let settings = args.common.settings()?;
    let state_dir = settings.state_dir();
    // Held to the end, so that no shipper starts while lines are sent.
    let (lock, live) = match lock_state_dir(state_dir) {
        Ok(lock) => (Some(lock), false),
        Err(StartError::Locked { .. }) if !resend => (None, true),
        Err(error) => return Err(error.into()),
    };
    let known = Known::read(&RealDisk, state_dir)?;
    let writer = if resend { Some(open_to_write(&settings).await?) } else { None };
    let store = match &writer {
        Some(writer) => writer.audit(),
        None => open_to_audit(&settings).await?,
    };
    // Results from two different files would verify neither.
    let store = store.pinned();
    let refreshed = store.refresh().await.map_err(shipper::verify::VerifyError::from)?;
    let indices = Indices {
        prefix: settings.pipeline().index_prefix.clone(),
        present: store.index_names().await.map_err(shipper::verify::VerifyError::from)?,
        deletion_is_expected: args.expect_removed,
    };
    let total = known.generations.values().map(|generation| generation.checkpoint).sum();
    let bar = progress::bytes(total, "by sums");
    let sums = sums::check(&known, &store, &indices, since.map(Timestamp::unix_ms), &|bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    let nothing_to_verify = !sums.has_lines() || total == 0 && sums.missing.count == 0;
    let mut resent =
        lock.zip(writer.as_ref()).map(|(lock, writer)| Resend::new(&settings, writer, lock)).transpose()?;
    let lines =
        if sums_only { None } else { Some(by_lines(&settings, &store, &indices, &known, resent.as_mut()).await?) };
    let resent = resent.map(|resend| resend.counts);
    let unread = UnreadNote::read(state_dir).map_err(|error| unusable(state_dir, &error))?;
    let is_complete = sums.is_complete() && lines.as_ref().is_none_or(Lines::is_complete);
    let report = Report {
        store: settings.to().to_string(),
        state_dir: state_dir.display().to_string(),
        live,
        refreshed,
        damaged_notes: known.damaged_notes,
        verified: !nothing_to_verify
            && unread.is_none()
            && (is_complete || is_repaired(&sums, lines.as_ref(), resent.as_ref())),
        nothing_to_verify,
        unread,
        sums,
        lines,
        resent,
    };
    if json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if report.verified { Exit::Success } else { Exit::Unexpected })
}

/// Whether all missing lines were in sources that still exist, and were sent.
fn is_repaired(sums: &Sums, lines: Option<&Lines>, resent: Option<&ResentCounts>) -> bool {
    let (Some(lines), Some(resent)) = (lines, resent) else { return false };
    let missing = |missing: &Listed<Missing>| missing.listed.iter().map(|missing| missing.bytes).sum::<u64>();
    let all_listed = sums.missing.count == sums.missing.listed.len() as u64
        && lines.missing.count == lines.missing.listed.len() as u64;
    let sent = resent.stored + resent.already_stored + resent.dead_lettered;
    let by_sums_too = all_listed && missing(&sums.missing) == missing(&lines.missing);
    let is_otherwise_right = sums.duplicates.count == 0 && lines.duplicates.count == 0 && lines.unreadable.count == 0;
    is_otherwise_right && sent == lines.missing.count && by_sums_too
}

async fn by_lines(
    settings: &Settings,
    store: &StoreAudit,
    indices: &Indices,
    known: &Known,
    mut resend: Option<&mut Resend<'_>>,
) -> Result<Lines, Failure> {
    let bar = progress::bytes(lines::bytes(known), "by lines");
    let check = Check { disk: RealDisk, settings, store, indices, progress: &|bytes| bar.inc(bytes) };
    let found = check
        .run(known, async |batch| match &mut resend {
            Some(resend) => resend.send(batch).await,
            None => Ok(()),
        })
        .await;
    bar.finish_and_clear();
    found
}

/// Sends missing lines. Those that the store rejects permanently become dead letters.
struct Resend<'a> {
    resender: Resender<'a>,
    settings: &'a Settings,
    dead_letters: DeadLetters<RealDisk>,
    counts: ResentCounts,
    _lock: StateDirLock,
}

impl<'a> Resend<'a> {
    fn new(settings: &'a Settings, store: &'a StoreWriter, lock: StateDirLock) -> Result<Self, Failure> {
        let dead_letters = DeadLetters::open(RealDisk, settings.state_dir(), settings.dead_letters_max_bytes());
        let dead_letters = dead_letters.map_err(|error| unusable(settings.state_dir(), &error))?;
        let (delivery, timeout) = (settings.pipeline().delivery, settings.shutdown_timeout());
        let resender = Resender { store, settings: delivery, timeout };
        Ok(Self { resender, settings, dead_letters, counts: ResentCounts::default(), _lock: lock })
    }

    async fn send(&mut self, batch: Batch) -> Result<(), Failure> {
        let resent = self.resender.send(batch).await;
        for settled in &resent.settled {
            for (index, disposition) in settled.dispositions.iter().enumerate() {
                match disposition {
                    Disposition::Stored => self.counts.stored += 1,
                    Disposition::AlreadyStored => self.counts.already_stored += 1,
                    Disposition::DeadLetter(cause) => {
                        self.dead_letters.add(&settled.batch, index, cause, settled.attempts, Timestamp::now());
                    }
                    Disposition::Retry(_) => {}
                }
            }
        }
        let dead = self.dead_letters.sync().map_err(|error| unusable(self.settings.state_dir(), &error))?;
        self.counts.dead_lettered += dead.len() as u64;
        if self.dead_letters.counts().is_full {
            let advice = "the dead letters are full: replay or discard them, or raise dead_letters_max_bytes";
            return Err(Failure::new(Exit::StateDir, advice));
        }
        match resent.stopped {
            Some(cause) => Err(super::unreachable(self.settings, &cause)),
            None => Ok(()),
        }
    }
}

fn unusable(state_dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::StateDir, format!("can't use the state directory {}: {error}", state_dir.display()))
}

impl Report {
    /// The result as text.
    fn text(&self) -> String {
        let Self { sums, store, state_dir, .. } = self;
        let mut text = format!("store     {store}\nstate     {state_dir}");
        if self.live {
            text += " (a shipper is running: lines processed before the start are verified)";
        }
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\nby sums   {} sources: {} lines in {} bytes stored, {} dead letters in {} bytes",
            sums.generations, sums.stored_lines, sums.stored_bytes, sums.dead_letters, sums.dead_letter_bytes
        );
        for (bytes, what) in [
            (sums.discarded, "discarded dead letters"),
            (sums.skipped_bytes, "bytes skipped"),
            (sums.dropped_bytes, "bytes dropped because the spool was full"),
            (sums.removed_lines, "lines deleted by retention"),
            (sums.pending_bytes, "bytes pending"),
            (sums.unmarked_replays, "dead letters also stored: replay marks them"),
            (sums.left_out, "sources ignored"),
        ] {
            if bytes > 0 {
                let _ = write!(text, "; {bytes} {what}");
            }
        }
        text.push('\n');
        if sums.is_cut {
            text += "          notes of the oldest completed sources were deleted\n";
        }
        if self.damaged_notes > 0 {
            let _ = writeln!(
                text,
                "          {} notes of completed sources are damaged, so sources may be ignored: run shipper spool check",
                self.damaged_notes
            );
        }
        if !self.refreshed {
            text += "          lines stored in the last second may not be visible yet: the credentials may not refresh the store\n";
        }
        deleted(&mut text, &sums.deleted_indices);
        findings(&mut text, &sums.missing, &sums.duplicates);
        if let Some(lines) = &self.lines {
            let _ = writeln!(
                text,
                "by lines  {} existing sources: {} lines, {} stored, {} dead letters, {} discarded",
                lines.sources, lines.lines, lines.stored, lines.dead_letters, lines.discarded
            );
            if lines.deleted > 0 {
                let _ = writeln!(text, "          {} more were deleted: verified by sums only", lines.deleted);
            }
            unreadable(&mut text, &lines.unreadable);
            deleted(&mut text, &lines.deleted_indices);
            findings(&mut text, &lines.missing, &lines.duplicates);
        }
        if let Some(resent) = &self.resent {
            let _ = writeln!(
                text,
                "sent      {} lines stored, {} already stored, {} dead letters",
                resent.stored, resent.already_stored, resent.dead_lettered
            );
        }
        if let Some(unread) = &self.unread {
            let _ = writeln!(text, "unread    {unread}");
        }
        text += match (self.verified, &self.resent) {
            _ if self.nothing_to_verify && sums.skipped_bytes > 0 => {
                "nothing to verify: all processed bytes were skipped because of read_from or ignore_older\n"
            }
            _ if self.nothing_to_verify => {
                "nothing to verify: no line has been processed yet. Is it the right state directory?\n"
            }
            (true, Some(sent)) if sent.stored + sent.dead_lettered > 0 => {
                "verified  missing lines were sent; run verify again to check them\n"
            }
            (true, _) if sums.dropped_bytes > 0 => "verified  every line that was not dropped is stored exactly once\n",
            (true, _) => "verified  every line is stored exactly once\n",
            (false, _) => "NOT VERIFIED\n",
        };
        text
    }
}

fn unreadable(text: &mut String, unreadable: &Listed<Unreadable>) {
    for Unreadable { source, reason, .. } in unreadable.listed.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "unread    {source} can't be read: {reason}; verified by sums only");
    }
    more(text, unreadable.count);
}

/// Lists lines of deleted indices.
fn deleted(text: &mut String, deleted_indices: &ByIndex) {
    for (index, amount) in deleted_indices.iter().take(SHOWN_MAX) {
        let lines = if amount.lines > 0 { format!("{} lines, ", amount.lines) } else { String::new() };
        let _ = writeln!(text, "deleted   {index}: the index does not exist any more; {lines}{} bytes", amount.bytes);
    }
    more(text, deleted_indices.len() as u64);
}

fn findings(text: &mut String, missing: &Listed<Missing>, duplicates: &Listed<Duplicate>) {
    for found in missing.listed.iter().take(SHOWN_MAX) {
        let Missing { generation, source, offset, bytes, deleted_index, is_destroyed } = found;
        let destroyed = if *is_destroyed { ", in a file that was truncated or deleted before it was read" } else { "" };
        let with = deleted_index.as_ref().map_or_else(String::new, |index| format!(", deleted with {index}"));
        let _ =
            writeln!(text, "missing   {bytes} bytes at offset {offset} of {generation} ({source}){with}{destroyed}");
    }
    more(text, missing.count);
    for found in duplicates.listed.iter().take(SHOWN_MAX) {
        let Duplicate { generation, source, offset, indices } = found;
        let _ = writeln!(text, "duplicate line at offset {offset} of {generation} ({source}) {}", indices.join(", "));
    }
    more(text, duplicates.count);
}

fn more(text: &mut String, count: u64) {
    if count > SHOWN_MAX as u64 {
        let _ = writeln!(text, "          and {} more", count - SHOWN_MAX as u64);
    }
}
