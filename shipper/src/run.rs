//! `shipper run`: ships standard input or files.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use observability::Observability;
use shipper::config::Settings;
use shipper::files::{FileReport, Reason};
use shipper::shipper::Shipper;

use crate::admin::Admin;
use crate::drain::{Drain, Limit};
use crate::exit::{Exit, Failure, print_error};
use crate::pipe_reader::PipeReader;
use crate::signals::{STOP, Signals};

/// The stream name of standard input.
const STREAM: &str = "stdin";

/// Ships standard input, or files if there are patterns.
pub(crate) async fn run(settings: &Settings, observability: &Observability) -> Result<Exit, Failure> {
    let admin = Admin::start(settings, observability)?;
    let files = settings.files();
    let mut signals = Signals::listen(&STOP).map_err(anyhow::Error::from)?;
    let shipper = tokio::select! {
        started = Shipper::start(settings) => started?,
        // Nothing was read.
        _ = signals.stop() => return Ok(if files.until_idle { Exit::Incomplete } else { Exit::Success }),
    };
    let status = shipper.status();
    admin.show(Arc::clone(&status));
    let mut input = if files.patterns.is_empty() { Some(read_stdin(&shipper)?) } else { None };
    let mut drain = Drain::new(signals, false);
    take(input.as_mut(), &mut drain, files.until_idle, settings.shutdown_timeout()).await;

    let limit = match files.until_idle && !drain.is_stopped() {
        true => Limit::Idle(settings.shutdown_timeout()),
        false => Limit::By(Instant::now() + settings.shutdown_timeout()),
    };
    let drained = drain.ship(shipper, limit).await;
    let rejected_bytes = match input {
        Some(source) => source.rejected_bytes().await,
        None => 0,
    };
    drained.report(rejected_bytes, settings.state_dir());
    let all_read = rejected_bytes == 0 && !(files.until_idle && drain.is_stopped());
    if !drained.complete || !all_read {
        return Ok(Exit::Incomplete);
    }
    let looks_for_files = files.until_idle && !files.patterns.is_empty();
    Ok(if looks_for_files { judge_files(&status.report().files, settings.allow_empty()) } else { Exit::Success })
}

/// Whether all matching files were read, and whether there were any.
fn judge_files(files: &FileReport, allow_empty: bool) -> Exit {
    let compressed = files.unread[Reason::Compressed as usize];
    if compressed > 0 {
        print_error(format_args!(
            "shipper: {compressed} compressed files were ignored: read gzip and zstd with --read-compressed, or exclude \
             them with --exclude"
        ));
    }
    if let Some(notice) = files.unread_notice() {
        print_error(format_args!("shipper: {notice}"));
        return Exit::FilesUnread;
    }
    if files.named == 0 && !allow_empty {
        print_error(format_args!("shipper: no file matches; use --allow-empty if that is expected"));
        return Exit::NothingToRead;
    }
    Exit::Success
}

fn read_stdin(shipper: &Shipper) -> Result<PipeReader, Failure> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let source = stdin.and_then(|stdin| PipeReader::read(stdin, shipper.stream(STREAM)));
    source.map_err(|error| anyhow::anyhow!("can't read standard input: {error}").into())
}

/// Waits for the end of the input or a signal to stop. Files only end with `until_idle`.
async fn take(input: Option<&mut PipeReader>, drain: &mut Drain, until_idle: bool, timeout: Duration) {
    match input {
        Some(source) => {
            tokio::select! {
                () = source.ended() => return,
                () = drain.signal() => {}
            }
            source.end_within(Duration::ZERO);
            drain.source(source, Instant::now() + timeout).await;
        }
        None if until_idle => {}
        None => drain.signal().await,
    }
}
