//! `shipper verify`: holds the store to what the state directory says, and says what is missing or there twice.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use shipper::config::Settings;
use shipper::dead_letters::DeadLetters;
use shipper::disk::RealDisk;
use shipper::files::UnreadNote;
use shipper::resend::Resender;
use shipper::shipper::{Held, StartError};
use shipper::verify::gone::{Indices, WithIndex};
use shipper::verify::known::Known;
use shipper::verify::lines::{self, Check, Lines};
use shipper::verify::sums::{self, Sums};
use shipper::verify::{Listed, Missing, Twice, Unreadable};
use store::{Batch, Disposition, StoreAudit, StoreWriter, Timestamp};

use super::args::{VerifyArgs, hold};
use super::{open_to_audit, open_to_write, progress, say, say_json};
use crate::exit::{Exit, Failure};

/// So many findings of a kind are shown to people; `--json` has more.
const SHOWN_MAX: usize = 20;

/// What was found.
#[derive(Serialize)]
struct Report {
    store: String,
    state_dir: String,
    /// A shipper is at work there.
    live: bool,
    /// The store's rights do not let it show what was written in the last second.
    refreshed: bool,
    /// Notes of sources that are done which can't be read: one that was torn was made again, one that was changed is not known.
    bad_notes: u64,
    sums: Sums,
    lines: Option<Lines>,
    resent: Option<ResentCounts>,
    /// Files that the patterns name and that were not read when the shipper last looked, in a sentence.
    unread: Option<String>,
    proven: bool,
    /// No line is known of that the store should hold.
    nothing_to_verify: bool,
}

#[derive(Debug, Default, Serialize)]
struct ResentCounts {
    stored: u64,
    already_stored: u64,
    dead_lettered: u64,
}

/// Proves, says what was found, and sends what is missing if asked to.
pub(crate) async fn verify(args: VerifyArgs) -> Result<Exit, Failure> {
    let (resend, sums_only, since, json) = (args.resend, args.sums_only, args.since, args.json);
    let settings = args.common.settings()?;
    let state_dir = settings.state_dir();
    // Held to the end, so that no shipper begins while lines are sent.
    let (held, live) = match hold(state_dir) {
        Ok(held) => (Some(held), false),
        Err(StartError::Locked { .. }) if !resend => (None, true),
        Err(error) => return Err(error.into()),
    };
    let known = Known::read(&RealDisk, state_dir)?;
    let writer = if resend { Some(open_to_write(&settings).await?) } else { None };
    let store = match &writer {
        Some(writer) => writer.audit(),
        None => open_to_audit(&settings).await?,
    };
    // What is found in two files proves nothing of either.
    let store = store.pinned();
    let refreshed = store.refresh().await.map_err(shipper::verify::VerifyError::from)?;
    let indices = Indices {
        prefix: settings.pipeline().index_prefix.clone(),
        present: store.index_names().await.map_err(shipper::verify::VerifyError::from)?,
        removal_is_expected: args.expect_removed,
    };
    let total = known.generations.values().map(|generation| generation.proven_to).sum();
    let bar = progress::bytes(total, "by sums");
    let sums = sums::check(&known, &store, &indices, since.map(Timestamp::unix_ms), &|bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    let nothing_to_verify = !sums.have_lines() || total == 0 && sums.missing.count == 0;
    let mut resent =
        held.zip(writer.as_ref()).map(|(held, writer)| Resend::new(&settings, writer, held)).transpose()?;
    let lines =
        if sums_only { None } else { Some(by_lines(&settings, &store, &indices, &known, resent.as_mut()).await?) };
    let resent = resent.map(|resend| resend.counts);
    let unread = UnreadNote::read(state_dir).map_err(|error| unusable(state_dir, &error))?;
    let is_right = sums.are_right() && lines.as_ref().is_none_or(Lines::are_right);
    let report = Report {
        store: settings.to().to_string(),
        state_dir: state_dir.display().to_string(),
        live,
        refreshed,
        bad_notes: known.bad_notes,
        proven: !nothing_to_verify
            && unread.is_none()
            && (is_right || is_mended(&sums, lines.as_ref(), resent.as_ref())),
        nothing_to_verify,
        unread,
        sums,
        lines,
        resent,
    };
    if json {
        say_json(&report)?
    } else {
        say(&report.text())?
    }
    Ok(if report.proven { Exit::Success } else { Exit::Unexpected })
}

/// Whether all that was missing lay in a source that is still there, and was sent.
fn is_mended(sums: &Sums, lines: Option<&Lines>, resent: Option<&ResentCounts>) -> bool {
    let (Some(lines), Some(resent)) = (lines, resent) else { return false };
    let missing = |missing: &Listed<Missing>| missing.listed.iter().map(|missing| missing.bytes).sum::<u64>();
    let all_listed = sums.missing.count == sums.missing.listed.len() as u64
        && lines.missing.count == lines.missing.listed.len() as u64;
    let sent = resent.stored + resent.already_stored + resent.dead_lettered;
    let by_sums_too = all_listed && missing(&sums.missing) == missing(&lines.missing);
    let is_otherwise_right = sums.twice.count == 0 && lines.twice.count == 0 && lines.unreadable.count == 0;
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

/// Sends lines that are missing; what the store refuses for good becomes a dead letter.
struct Resend<'a> {
    resender: Resender<'a>,
    settings: &'a Settings,
    dead_letters: DeadLetters<RealDisk>,
    counts: ResentCounts,
    _held: Held,
}

impl<'a> Resend<'a> {
    fn new(settings: &'a Settings, store: &'a StoreWriter, held: Held) -> Result<Self, Failure> {
        let dead_letters = DeadLetters::open(RealDisk, settings.state_dir(), settings.dead_letters_max_bytes());
        let dead_letters = dead_letters.map_err(|error| unusable(settings.state_dir(), &error))?;
        let (delivery, patience) = (settings.pipeline().delivery, settings.shutdown_timeout());
        let resender = Resender { store, settings: delivery, patience };
        Ok(Self { resender, settings, dead_letters, counts: ResentCounts::default(), _held: held })
    }

    async fn send(&mut self, batch: Batch) -> Result<(), Failure> {
        let resent = self.resender.send(batch).await;
        for settled in &resent.settled {
            for (place, disposition) in settled.dispositions.iter().enumerate() {
                match disposition {
                    Disposition::Stored => self.counts.stored += 1,
                    Disposition::AlreadyStored => self.counts.already_stored += 1,
                    Disposition::DeadLetter(cause) => {
                        self.dead_letters.add(&settled.batch, place, cause, settled.attempts, Timestamp::now());
                    }
                    Disposition::Retry(_) => {}
                }
            }
        }
        let dead = self.dead_letters.sync().map_err(|error| unusable(self.settings.state_dir(), &error))?;
        self.counts.dead_lettered += dead.len() as u64;
        if self.dead_letters.counts().is_full {
            let advice = "the dead letters are full: replay them, or raise dead_letters_max_bytes";
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
    /// For people.
    fn text(&self) -> String {
        let Self { sums, store, state_dir, .. } = self;
        let mut text = format!("store     {store}\nstate     {state_dir}");
        if self.live {
            text += " (a shipper is at work there: what it had done when this began is looked at)";
        }
        // Writing to memory does not fail.
        let _ = write!(
            text,
            "\nby sums   {} sources: {} lines in {} bytes stored, {} dead letters in {} bytes",
            sums.generations, sums.stored_lines, sums.stored_bytes, sums.dead_letters, sums.dead_letter_bytes
        );
        for (bytes, what) in [
            (sums.discarded, "lines whose dead letters were discarded"),
            (sums.skipped_bytes, "bytes that are no lines"),
            (sums.given_up_bytes, "bytes given up because the spool was full"),
            (sums.removed_lines, "lines removed by the store itself"),
            (sums.waiting_bytes, "bytes that wait"),
            (sums.unmarked_replays, "dead letters that are stored as well: replay marks them"),
            (sums.left_out, "sources left out"),
        ] {
            if bytes > 0 {
                let _ = write!(text, "; {bytes} {what}");
            }
        }
        text.push('\n');
        if sums.is_cut {
            text += "          sources that ended long ago are not known any more\n";
        }
        if self.bad_notes > 0 {
            let _ = writeln!(
                text,
                "          {} notes of sources that are done can't be read, so these may be left out: see shipper spool check",
                self.bad_notes
            );
        }
        if !self.refreshed {
            text += "          the store may not show yet what was stored within the last second: its rights forbid to ask\n";
        }
        gone(&mut text, &sums.with_index);
        findings(&mut text, &sums.missing, &sums.twice);
        if let Some(lines) = &self.lines {
            let _ = writeln!(
                text,
                "by lines  {} sources that are still there: {} lines, {} stored, {} dead letters, {} discarded",
                lines.sources, lines.lines, lines.stored, lines.dead_letters, lines.discarded
            );
            if lines.gone > 0 {
                let _ = writeln!(text, "          {} more are not where they were: only sums prove them", lines.gone);
            }
            unreadable(&mut text, &lines.unreadable);
            gone(&mut text, &lines.with_index);
            findings(&mut text, &lines.missing, &lines.twice);
        }
        if let Some(resent) = &self.resent {
            let _ = writeln!(
                text,
                "sent      {} lines stored, {} already there, {} dead letters",
                resent.stored, resent.already_stored, resent.dead_lettered
            );
        }
        if let Some(unread) = &self.unread {
            let _ = writeln!(text, "unread    {unread}");
        }
        text += match (self.proven, &self.resent) {
            _ if self.nothing_to_verify && sums.skipped_bytes > 0 => {
                "nothing   all that is done with was skipped, as read_from or ignore_older have it, so there is nothing to verify\n"
            }
            _ if self.nothing_to_verify => {
                "nothing   no line that was taken here is done with yet, so there is nothing to verify: is it the right state \
                 directory?\n"
            }
            (true, Some(sent)) if sent.stored + sent.dead_lettered > 0 => {
                "proven    what was missing was sent; verify again to see it there\n"
            }
            (true, _) if sums.given_up_bytes > 0 => "proven    everything that was not given up is there, once\n",
            (true, _) => "proven    everything is there, once\n",
            (false, _) => "NOT PROVEN\n",
        };
        text
    }
}

fn unreadable(text: &mut String, unreadable: &Listed<Unreadable>) {
    for Unreadable { source, reason, .. } in unreadable.listed.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "unread    {source} can't be read: {reason}; its lines are not looked for one by one");
    }
    more(text, unreadable.count);
}

/// What went with its index.
fn gone(text: &mut String, with_index: &WithIndex) {
    for (index, amount) in with_index.iter().take(SHOWN_MAX) {
        let lines = if amount.lines > 0 { format!("{} lines, ", amount.lines) } else { String::new() };
        let _ = writeln!(text, "gone      {index}: there is no such index any more; {lines}{} bytes", amount.bytes);
    }
    more(text, with_index.len() as u64);
}

fn findings(text: &mut String, missing: &Listed<Missing>, twice: &Listed<Twice>) {
    for found in missing.listed.iter().take(SHOWN_MAX) {
        let Missing { generation, source, offset, bytes, index_gone, is_destroyed } = found;
        let destroyed = if *is_destroyed { ", in a file that was truncated or deleted before it was read" } else { "" };
        let with = index_gone.as_ref().map_or_else(String::new, |index| format!(", gone with {index}"));
        let _ = writeln!(text, "missing   {bytes} bytes at {offset} of {generation} ({source}){with}{destroyed}");
    }
    more(text, missing.count);
    for found in twice.listed.iter().take(SHOWN_MAX) {
        let Twice { generation, source, offset, indices } = found;
        let _ = writeln!(text, "twice     the line at {offset} of {generation} ({source}) {}", indices.join(", "));
    }
    more(text, twice.count);
}

fn more(text: &mut String, count: u64) {
    if count > SHOWN_MAX as u64 {
        let _ = writeln!(text, "          and {} more", count - SHOWN_MAX as u64);
    }
}
