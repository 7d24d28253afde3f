//! `shipper export`: writes the lines of an embedded store to standard output, one JSON object a line, in the order in which
//! they came, and as they came: without the `origin` that the shipper added, unless that is asked for.
//!
//! A page of lines is in memory at a time. Lines that come in meanwhile are exported as well.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use store::{EngineSettings, ExportPlace, Filter, Selection, Store, Target, Timestamp};

use crate::cli::ExportArgs;
use crate::exit::{Exit, Failure, tell};

/// How often progress is told on a terminal.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// Writes what was asked for to standard output. A reader that has seen enough is no failure.
pub(crate) async fn export(export: &ExportArgs) -> Result<Exit, Failure> {
    let target: Target = export.store.parse().map_err(|error| usage(format!("{error}")))?;
    let (from, to) = (time("--since", &export.since)?, time("--until", &export.until)?);
    if !matches!(target, Target::Sqlite(_)) {
        return Err(usage(
            "only an embedded store is exported, sqlite:PATH; an engine has tools of its own".to_owned(),
        ));
    }
    let failed = |error: String| Failure::new(Exit::Store, error);
    let store = Store::open_reader(&target, &EngineSettings::default()).await;
    let store = store.map_err(|error| failed(error.to_string()))?;
    let filter = match &export.query {
        Some(query) => {
            let fields = store.fields().await.map_err(|error| failed(error.to_string()))?;
            Filter::parse(query, &fields).map_err(|error| usage(format!("--query: {error}")))?
        }
        None => Filter::EVERY,
    };
    let selection = Selection { filter, from, to };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut place = ExportPlace::default();
    let mut progress = Progress::new();
    loop {
        let page = store.export(&selection, place).await.map_err(|error| failed(error.to_string()))?;
        for line in &page.lines {
            let written = match export.with_origin {
                true => write_line(&mut output, line),
                false => write_without_origin(&mut output, line),
            };
            if let Err(error) = written {
                return ended(error);
            }
        }
        progress.tell(page.lines.len(), page.done);
        match page.next {
            Some(next) => place = next,
            None => break,
        }
    }
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
    time.map(Some).ok_or_else(|| usage(format!("{option}: {text:?} is no time such as 2026-11-23T18:00:00Z")))
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

/// A document up to the `origin` that the shipper put before its last brace; `None` where there is none at that place.
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

/// What is told while it goes on, where someone looks on and the lines go elsewhere.
struct Progress {
    shown: bool,
    lines: usize,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        let shown = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { shown, lines: 0, told: Instant::now() }
    }

    /// `done` is a part of 1.
    fn tell(&mut self, lines: usize, done: f64) {
        self.lines += lines;
        if self.shown && self.told.elapsed() >= TELL_INTERVAL {
            self.told = Instant::now();
            tell(format_args!("{:>3.0} % looked at, {} lines exported", done * 100.0, self.lines));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shipper_added_is_taken_off() {
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
