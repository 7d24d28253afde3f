//! Log output that is slow, blocked, closed or broken: no request waits, and each line is counted once.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use observability::{Observability, ObservabilitySettings};
use tracing::dispatcher::{Dispatch, with_default};

use crate::support::PATIENCE;

/// Log output in memory.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Result of one write.
enum Step {
    WriteAll,
    WriteBytes(usize),
    Fail(ErrorKind),
}

/// An output that reports each write and waits for the step to take. Without a sender of steps it writes everything.
struct ScriptedOutput {
    writes: Sender<usize>,
    steps: Receiver<Step>,
    output: Output,
}

impl Write for ScriptedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.writes.send(bytes.len());
        match self.steps.recv().unwrap_or(Step::WriteAll) {
            Step::WriteAll => self.output.write(bytes),
            Step::WriteBytes(count) => self.output.write(&bytes[..count]),
            Step::Fail(kind) => Err(kind.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    obs: Observability,
    dispatch: Dispatch,
    output: Output,
    writes: Receiver<usize>,
    steps: Option<Sender<Step>>,
}

impl Rig {
    fn new(log_buffer_bytes: usize) -> Self {
        let output = Output::default();
        let ((write_sender, writes), (steps, step_receiver)) = (channel(), channel());
        let scripted = ScriptedOutput { writes: write_sender, steps: step_receiver, output: output.clone() };
        let mut settings = ObservabilitySettings::new("tested");
        settings.log_buffer_bytes = log_buffer_bytes;
        let (obs, dispatch) = Observability::detached(settings, Box::new(scripted)).unwrap();
        Self { obs, dispatch, output, writes, steps: Some(steps) }
    }

    fn log(&self, message: &str) {
        with_default(&self.dispatch, || tracing::info!("{message}"));
    }

    /// Waits for a write and returns its length in bytes.
    fn next_write(&self) -> usize {
        self.writes.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a write and makes it take this step.
    fn on_write(&self, step: Step) {
        self.next_write();
        self.steps.as_ref().unwrap().send(step).unwrap();
    }

    /// Lets all further writes succeed.
    fn unblock(&mut self) {
        self.steps = None;
    }

    fn counted(&self, name: &str, reason: &str) -> u64 {
        let families = self.obs.registry().gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let of_reason = |metric: &&observability::prometheus::proto::Metric| {
            reason.is_empty() || metric.get_label().iter().any(|label| label.value() == reason)
        };
        family.get_metric().iter().filter(of_reason).map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    fn written(&self) -> u64 {
        self.counted("log_lines_written_total", "")
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.counted("log_lines_dropped_total", reason)
    }

    fn messages(&self) -> Vec<String> {
        let text = self.output.text();
        let value = |line| serde_json::from_str::<serde_json::Value>(line).ok();
        text.lines().filter_map(value).map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_blocked_output_drops_lines_beyond_the_buffer_and_blocks_nobody() {
    const LINES: u64 = 1_000;
    const BOUND: usize = 16 * 1024;
    let mut rig = Rig::new(BOUND);
    rig.log("first");
    let first = rig.next_write();
    // the writer blocks in its write from here on; if logging waited for it, this loop would never end
    for _ in 0..LINES {
        rig.log("another line");
    }
    let dropped = rig.dropped("full");
    assert!(dropped > 0 && dropped < LINES, "{dropped}");
    assert!(!rig.obs.flush(Duration::from_millis(1)), "nothing was written");

    rig.unblock();
    assert!(rig.obs.flush(PATIENCE));
    let text = rig.output.text();
    assert!(text.len() <= BOUND && text.len() + first > BOUND - 1024, "{} bytes in memory", text.len());
    assert_eq!(text.lines().count() as u64, LINES + 1 - dropped, "whole lines only");
}

#[test]
fn dropped_and_written_lines_add_up() {
    let rig = Rig::new(4 * 1024);
    rig.log("first");
    rig.next_write();
    for _ in 0..500 {
        rig.log("a line");
    }
    rig.steps.as_ref().unwrap().send(Step::WriteAll).unwrap();
    rig.on_write(Step::WriteAll);
    assert!(rig.obs.flush(PATIENCE));
    assert_eq!(rig.written() + rig.dropped("full"), 501);
    assert_eq!(rig.messages().len() as u64, rig.written());
    rig.log("there is room again");
    rig.on_write(Step::WriteAll);
    assert!(rig.obs.flush(PATIENCE));
    assert_eq!(rig.messages().last().unwrap(), "there is room again");
}

#[test]
fn lines_to_a_closed_pipe_are_dropped_and_writing_is_retried() {
    let rig = Rig::new(1 << 20);
    for message in ["dropped", "dropped too"] {
        rig.log(message);
        rig.on_write(Step::Fail(ErrorKind::BrokenPipe));
        assert!(rig.obs.flush(PATIENCE));
    }
    assert_eq!((rig.written(), rig.dropped("closed"), rig.dropped("io_error")), (0, 2, 0));
    rig.log("back");
    rig.on_write(Step::WriteAll);
    assert!(rig.obs.flush(PATIENCE));
    assert_eq!((rig.written(), rig.messages()), (1, vec!["back".to_owned()]));
}

#[test]
fn the_line_after_a_partial_one_is_intact() {
    let mut rig = Rig::new(1 << 20);
    rig.log("partial");
    rig.on_write(Step::WriteBytes(20));
    rig.on_write(Step::Fail(ErrorKind::StorageFull));
    assert!(rig.obs.flush(PATIENCE));
    assert_eq!((rig.written(), rig.dropped("io_error")), (0, 1));
    rig.log("whole");
    rig.unblock();
    assert!(rig.obs.flush(PATIENCE));
    let text = rig.output.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0].len(), 20);
    let whole: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(whole["message"], "whole");
}

#[test]
fn a_write_that_would_block_or_is_interrupted_is_retried() {
    let mut rig = Rig::new(1 << 20);
    rig.log("patient");
    for step in [Step::Fail(ErrorKind::WouldBlock), Step::Fail(ErrorKind::Interrupted), Step::WriteBytes(3)] {
        rig.on_write(step);
    }
    rig.unblock();
    assert!(rig.obs.flush(PATIENCE));
    assert_eq!((rig.written(), rig.dropped("")), (1, 0));
    assert_eq!(rig.output.text().lines().count(), 1);
}

#[test]
fn a_line_that_is_too_long_is_dropped_and_a_long_string_is_truncated() {
    let output = Output::default();
    let settings = ObservabilitySettings::new("tested");
    let (obs, dispatch) = Observability::detached(settings, Box::new(output.clone())).unwrap();
    let long = "x".repeat(80 * 1024);
    with_default(&dispatch, || {
        tracing::info!(a = long, "truncated");
        tracing::info!(
            a = long,
            b = long,
            c = long,
            d = long,
            e = long,
            f = long,
            g = long,
            h = long,
            i = long,
            j = long,
            k = long,
            l = long,
            m = long,
            n = long,
            o = long,
            p = long,
            q = long,
            "too long",
        );
    });
    assert!(obs.flush(PATIENCE));
    let text = output.text();
    assert_eq!(text.lines().count(), 1);
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let truncated = line["a"].as_str().unwrap();
    assert!(truncated.ends_with("x…") && truncated.len() < long.len());
}

#[test]
fn dropping_the_last_handle_flushes() {
    let output = Output::default();
    let (obs, dispatch) =
        Observability::detached(ObservabilitySettings::new("tested"), Box::new(output.clone())).unwrap();
    with_default(&dispatch, || tracing::info!("last line"));
    drop(obs);
    assert!(output.text().contains("last line"));
}
