//! `shipper run`: ships standard input or files.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use shipper::config::Settings;
use shipper::shipper::Shipper;

use crate::admin::Admin;
use crate::drain::{Drain, Limit};
use crate::exit::{Exit, Failure};
use crate::signals::{STOP, Signals};
use crate::source::Source;

/// The spool's name for what comes by standard input.
const STREAM: &str = "stdin";

/// Ships standard input, or files where patterns are given.
pub(crate) async fn run(settings: &Settings, admin: Admin) -> Result<Exit, Failure> {
    let files = settings.files();
    let mut signals = Signals::listen(&STOP).map_err(anyhow::Error::from)?;
    let shipper = tokio::select! {
        started = Shipper::start(settings) => started?,
        // Nothing was read.
        _ = signals.stop() => return Ok(if files.until_idle { Exit::Incomplete } else { Exit::Success }),
    };
    admin.show(shipper.status());
    let input = if files.patterns.is_empty() { Some(read_stdin(&shipper)?) } else { None };
    let mut drain = Drain::new(signals, false);
    let untaken_bytes = take(input, &mut drain, files.until_idle, settings.shutdown_timeout()).await;

    let limit = match files.until_idle && !drain.is_stopped() {
        true => Limit::Idle(settings.shutdown_timeout()),
        false => Limit::By(Instant::now() + settings.shutdown_timeout()),
    };
    let drained = drain.ship(shipper, limit).await;
    drained.report(untaken_bytes, settings.state_dir());
    let all_read = untaken_bytes == 0 && !(files.until_idle && drain.is_stopped());
    Ok(if drained.complete && all_read { Exit::Success } else { Exit::Incomplete })
}

fn read_stdin(shipper: &Shipper) -> Result<Source, Failure> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let source = stdin.and_then(|stdin| Source::read(stdin, shipper.stream(STREAM)));
    source.map_err(|error| anyhow::anyhow!("can't read standard input: {error}").into())
}

/// Waits until there is no more input, or a signal to stop; gives the bytes that found no room. Files have an end only
/// where what is there is all there is to be.
async fn take(input: Option<Source>, drain: &mut Drain, until_idle: bool, timeout: Duration) -> u64 {
    let Some(mut source) = input else {
        if !until_idle {
            drain.signal().await;
        }
        return 0;
    };
    tokio::select! {
        ended = source.ended() => return ended.untaken_bytes,
        () = drain.signal() => {}
    }
    source.end_within(Duration::ZERO);
    drain.source(&mut source, Instant::now() + timeout).await
}
