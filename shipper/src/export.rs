//! `shipper export`: writes the lines of an embedded store to standard output, one JSON object per line, in order of
//! arrival and as received: without the `origin` that the shipper added, unless requested.
//!
//! One page of lines is in memory at a time. Lines that arrive meanwhile are exported too.

use std::io::{self, IsTerminal as _, Write};

use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{EngineSettings, ExportCursor, Filter, Selection, StoreAudit, Target, Timestamp};

use crate::cli::ExportArgs;
use crate::commands::progress;
use crate::exit::{Exit, Failure};

/// Writes the requested lines to standard output. A closed pipe is not an error.
pub(crate) async fn export(export: &ExportArgs) -> Result<Exit, Failure> {
    let target: Target = export.store.parse().map_err(|error| usage(format!("{error}")))?;
    let (from, to) = (time("--since", &export.since)?, time("--until", &export.until)?);
    if !matches!(target, Target::Sqlite(_)) {
        return Err(usage(
            "only an embedded store (sqlite:PATH) can be exported; use the tools of the engine".to_owned(),
        ));
    }
    let failed = |error: String| Failure::new(Exit::Store, error);
    let store = StoreAudit::open(&target, &EngineSettings::default()).await;
    // All pages must come from one file, or the export fails.
    let store = store.map_err(|error| failed(error.to_string()))?.pinned();
    let filter = match &export.query {
        Some(query) => {
            let fields = store.reader().fields().await.map_err(|error| failed(error.to_string()))?;
            Filter::parse(query, &fields).map_err(|error| usage(format!("--query: {error}")))?
        }
        None => Filter::EVERY,
    };
    let selection = Selection { filter, from, to };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut cursor = ExportCursor::default();
    // Lines on a terminal show the progress themselves.
    let bar = if io::stdout().is_terminal() { ProgressBar::hidden() } else { progress::parts("export") };
    loop {
        let page = store.export(&selection, cursor).await.map_err(|error| failed(error.to_string()))?;
        for line in &page.lines {
            let written = match export.with_origin {
                true => write_line(&mut output, line),
                false => write_without_origin(&mut output, line),
            };
            if let Err(error) = written {
                return ended(error);
            }
        }
        bar.set_position(parts(page.done));
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    bar.finish_and_clear();
    match output.flush() {
        Ok(()) => Ok(Exit::Success),
        Err(error) => ended(error),
    }
}

fn ended(error: io::Error) -> Result<Exit, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        _ => Err(anyhow::Error::from(error).into()),
    }
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

fn time(option: &str, text: &Option<String>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let time = Timestamp::parse(text.as_bytes());
    time.map(Some).ok_or_else(|| usage(format!("{option}: {text:?} is not a time such as 2026-11-23T18:00:00Z")))
}

fn write_line(output: &mut impl Write, line: &str) -> io::Result<()> {
    output.write_all(line.as_bytes())?;
    output.write_all(b"\n")
}

fn write_without_origin(output: &mut impl Write, line: &str) -> io::Result<()> {
    match before_origin(line) {
        Some(before) => {
            output.write_all(before.as_bytes())?;
            output.write_all(b"}\n")
        }
        None => write_line(output, line),
    }
}

/// The part of a document before the `origin` that the shipper added as its last member; `None` if it is not there.
fn before_origin(document: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        origin: &'a RawValue,
    }

    let origin = serde_json::from_str::<Document<'_>>(document).ok()?.origin.get();
    let rest = document.strip_suffix('}')?.strip_suffix(origin)?.strip_suffix("\"origin\":")?;
    Some(rest.strip_suffix(',').unwrap_or(rest))
}

/// Converts a fraction to thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1,000")]
fn parts(done: f64) -> u64 {
    (done.clamp(0.0, 1.0) * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_removed() {
        for (document, expected) in [
            (r#"{"a":1,"b": "x" ,"origin":{"host":"h","offset":0}}"#, Some(r#"{"a":1,"b": "x" "#)),
            (r#"{"origin":{"offset":0}}"#, Some("{")),
            (r#"{"a":{"origin":{}}}"#, None),
            (r#"{"origin":{},"a":1}"#, None),
        ] {
            assert_eq!(before_origin(document), expected, "{document}");
        }
    }
}
