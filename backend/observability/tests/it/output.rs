//! The way of lines to an output that is slow, stuck, closed or broken: no request waits, each line is counted once.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use observability::{Observability, ObservabilitySettings};
use tracing::dispatcher::{Dispatch, with_default};

use crate::support::{Output, PATIENCE};

/// What an output does with one write.
enum Answer {
    Take,
    TakeBytes(usize),
    Fail(ErrorKind),
}

/// An output that says when it is written to, and waits for what it is to do. Without an answerer it takes all.
struct Scripted {
    asked: Sender<usize>,
    answers: Receiver<Answer>,
    output: Output,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(bytes.len());
        match self.answers.recv().unwrap_or(Answer::Take) {
            Answer::Take => self.output.write(bytes),
            Answer::TakeBytes(count) => self.output.write(&bytes[..count]),
            Answer::Fail(kind) => Err(kind.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stage {
    obs: Observability,
    dispatch: Dispatch,
    output: Output,
    asked: Receiver<usize>,
    answers: Option<Sender<Answer>>,
}

impl Stage {
    fn new(log_buffer_bytes: usize) -> Self {
        let output = Output::default();
        let ((asked_sender, asked), (answers, answer_receiver)) = (channel(), channel());
        let scripted = Scripted { asked: asked_sender, answers: answer_receiver, output: output.clone() };
        let mut settings = ObservabilitySettings::new("tested");
        settings.log_buffer_bytes = log_buffer_bytes;
        let (obs, dispatch) = Observability::detached(settings, Box::new(scripted)).unwrap();
        Self { obs, dispatch, output, asked, answers: Some(answers) }
    }

    fn log(&self, message: &str) {
        with_default(&self.dispatch, || tracing::info!("{message}"));
    }

    /// Waits until the output is written to: the bytes it is offered.
    fn offered(&self) -> usize {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until the output is written to, and has it do this.
    fn answer(&self, answer: Answer) {
        self.offered();
        self.answers.as_ref().unwrap().send(answer).unwrap();
    }

    /// From here on the output takes all.
    fn open(&mut self) {
        self.answers = None;
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
fn a_stuck_output_costs_lines_beyond_the_bound_and_no_time() {
    const LINES: u64 = 1_000;
    const BOUND: usize = 16 * 1024;
    let mut stage = Stage::new(BOUND);
    stage.log("first");
    let first = stage.offered();
    // the writer is stuck within its write from here on; if taking a line waited for it, this would never end
    for _ in 0..LINES {
        stage.log("a line like any other");
    }
    let dropped = stage.dropped("full");
    assert!(dropped > 0 && dropped < LINES, "{dropped}");
    assert!(!stage.obs.flush(Duration::from_millis(1)), "nothing is written yet");

    stage.open();
    assert!(stage.obs.flush(PATIENCE));
    let text = stage.output.text();
    assert!(text.len() <= BOUND && text.len() + first > BOUND - 1024, "{} bytes were held", text.len());
    assert_eq!(text.lines().count() as u64, LINES + 1 - dropped, "whole lines only");
}

#[test]
fn what_the_bound_refused_and_what_was_written_add_up() {
    let stage = Stage::new(4 * 1024);
    stage.log("first");
    stage.offered();
    for _ in 0..500 {
        stage.log("a line");
    }
    stage.answers.as_ref().unwrap().send(Answer::Take).unwrap();
    stage.answer(Answer::Take);
    assert!(stage.obs.flush(PATIENCE));
    assert_eq!(stage.written() + stage.dropped("full"), 501);
    assert_eq!(stage.messages().len() as u64, stage.written());
    stage.log("there is room again");
    stage.answer(Answer::Take);
    assert!(stage.obs.flush(PATIENCE));
    assert_eq!(stage.messages().last().unwrap(), "there is room again");
}

#[test]
fn a_closed_pipe_costs_its_lines_and_is_written_to_again() {
    let stage = Stage::new(1 << 20);
    for message in ["lost", "lost too"] {
        stage.log(message);
        stage.answer(Answer::Fail(ErrorKind::BrokenPipe));
        assert!(stage.obs.flush(PATIENCE));
    }
    assert_eq!((stage.written(), stage.dropped("closed"), stage.dropped("io_error")), (0, 2, 0));
    stage.log("back");
    stage.answer(Answer::Take);
    assert!(stage.obs.flush(PATIENCE));
    assert_eq!((stage.written(), stage.messages()), (1, vec!["back".to_owned()]));
}

#[test]
fn a_line_written_in_part_spoils_no_other() {
    let mut stage = Stage::new(1 << 20);
    stage.log("torn");
    stage.answer(Answer::TakeBytes(20));
    stage.answer(Answer::Fail(ErrorKind::StorageFull));
    assert!(stage.obs.flush(PATIENCE));
    assert_eq!((stage.written(), stage.dropped("io_error")), (0, 1));
    stage.log("whole");
    stage.open();
    assert!(stage.obs.flush(PATIENCE));
    let text = stage.output.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0].len(), 20);
    let whole: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(whole["message"], "whole");
}

#[test]
fn an_output_that_takes_nothing_now_is_asked_again() {
    let mut stage = Stage::new(1 << 20);
    stage.log("patient");
    for answer in [Answer::Fail(ErrorKind::WouldBlock), Answer::Fail(ErrorKind::Interrupted), Answer::TakeBytes(3)] {
        stage.answer(answer);
    }
    stage.open();
    assert!(stage.obs.flush(PATIENCE));
    assert_eq!((stage.written(), stage.dropped("")), (1, 0));
    assert_eq!(stage.output.text().lines().count(), 1);
}

#[test]
fn a_line_that_is_too_long_is_dropped_whole_and_a_long_string_is_cut() {
    let output = Output::default();
    let settings = ObservabilitySettings::new("tested");
    let (obs, dispatch) = Observability::detached(settings, Box::new(output.clone())).unwrap();
    let long = "x".repeat(80 * 1024);
    with_default(&dispatch, || {
        tracing::info!(a = long, "cut");
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
    let cut = line["a"].as_str().unwrap();
    assert!(cut.ends_with("x…") && cut.len() < long.len());
}

#[test]
fn the_last_handle_writes_what_is_left() {
    let output = Output::default();
    let (obs, dispatch) =
        Observability::detached(ObservabilitySettings::new("tested"), Box::new(output.clone())).unwrap();
    with_default(&dispatch, || tracing::info!("last words"));
    drop(obs);
    assert!(output.text().contains("last words"));
}
