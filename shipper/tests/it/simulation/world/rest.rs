//! The end of a seed: faults stop, and all lines get their outcome.

use std::time::Duration;

use shipper::disk::is_full;
use shipper::spool::OnFull;

use super::{Process, Stream, World};

/// Model time within which every line has its outcome once faults stop.
const REST_WITHIN: Duration = Duration::from_secs(1_800);

/// Model time within which pipes and files are read.
const SETTLE: Duration = Duration::from_secs(5);

/// Days of all lines.
const DAYS: [&str; 2] = ["2026-11-23", "2026-11-24"];

impl World {
    /// Ends faults and input, and runs until every line has its outcome.
    pub(super) fn come_to_rest(&mut self, process: &mut Process) {
        let has_shut_index = self.engine.calm();
        if self.plan.store_changes > 0 {
            self.wait_for_the_store_s_folder(process);
        }
        if has_shut_index && !self.plan.hopeless {
            self.deliver_to_other_indices(process);
        }
        self.engine.open_indices();
        if self.plan.stays_full {
            self.disk.stay_full();
        }
        process.streams.push(Stream { writer: process.spool.writer("traffic"), pipe: Vec::new() });
        if let Some(logs) = &mut self.logs {
            logs.finish(&self.disk);
        }
        process.pipeline.flush();
        // Lines without space stay in the pipe, and are not accepted.
        let may_stay_in_pipe = self.plan.stays_full && self.plan.spool.on_full == OnFull::Wait;
        let begun = self.now.elapsed;
        let mut quiet_since = begun;
        loop {
            let before = process.counts();
            let is_written = may_stay_in_pipe || process.streams.iter().all(|stream| stream.pipe.is_empty());
            // Space that becomes free would be filled with a part of a line, whose records need more space than that.
            if !may_stay_in_pipe || self.now.elapsed < begun + SETTLE {
                self.append(process);
            }
            if is_written {
                process.streams.iter_mut().for_each(|stream| stream.writer.seal());
            }
            self.tick(process);
            while !process.requests.is_empty() {
                self.answer(process);
            }
            while self.engine.take_late(&mut self.random) {}
            self.now.elapsed += Duration::from_millis(100);
            let counts = process.counts();
            assert!(counts.is_balanced(), "{counts:?}");
            let wait_for_a_place = process.pipeline.report().files.waiting > 0;
            if before != counts || counts.pending > 0 || !is_written || wait_for_a_place {
                quiet_since = self.now.elapsed;
            }
            // If all lines are good, no more are needed.
            if counts.pending > 0 && !self.plan.stays_full {
                self.write_good_lines(process);
            }
            // Files are looked at every 100 ms, and scanned for every second.
            if self.now.elapsed > quiet_since + Duration::from_secs(3) {
                process.pipeline.close_files();
            }
            let is_done = process.pipeline.is_done() && process.spool.generations().is_empty();
            if is_done && self.now.elapsed > quiet_since + Duration::from_secs(3) {
                let closed = process.pipeline.close(self.now);
                // On a disk that stays full, the last records may find no space.
                assert!(closed.is_ok() || self.plan.stays_full && closed.as_ref().is_err_and(is_full), "{closed:?}");
                return;
            }
            assert!(
                self.now.elapsed < begun + REST_WITHIN,
                "lines stay pending: {counts:?}, {:?}",
                process.pipeline.report().disk_error
            );
        }
    }

    /// Asserts that nothing counts as stored while the store's folder is missing, and that the report gives the reason.
    fn wait_for_the_store_s_folder(&mut self, process: &mut Process) {
        self.engine.file.take_folder();
        let before = process.counts();
        let begun = self.now.elapsed;
        while self.now.elapsed < begun + SETTLE {
            self.append(process);
            self.tick(process);
            while !process.requests.is_empty() {
                self.answer(process);
            }
            self.now.elapsed += Duration::from_millis(100);
        }
        let counts = process.counts();
        assert_eq!((counts.stored, counts.already_stored), (before.stored, before.already_stored));
        let cause = process.pipeline.report().obstacle().map(|obstacle| obstacle.cause);
        // A line that is refused for its size alone is never written.
        let is_told = cause == Some("folder_missing") || !self.engine.file.is_lost();
        assert!(counts.pending == 0 || is_told, "{counts:?} wait because of {cause:?}");
        self.engine.file.put_folder_back();
    }

    /// While an index is blocked, all other lines get their outcome, unless blocked lines fill the budget.
    fn deliver_to_other_indices(&mut self, process: &mut Process) {
        let begun = self.now.elapsed;
        loop {
            self.append(process);
            self.tick(process);
            while !process.requests.is_empty() {
                self.answer(process);
            }
            while self.engine.take_late(&mut self.random) {}
            self.now.elapsed += Duration::from_millis(100);
            let (counts, report) = (process.counts(), process.pipeline.report());
            assert!(counts.is_balanced(), "{counts:?}");
            let blocked = report.blocked.as_ref().map_or(0, |blocked| blocked.lines as u64);
            assert!(blocked <= counts.pending, "{counts:?} {report:?}");
            let is_full = process.pipeline.bytes_in_flight() >= self.plan.pipeline.in_flight_max_bytes;
            if self.now.elapsed > begun + SETTLE && (counts.pending == blocked || is_full && blocked > 0) {
                let reported = report.obstacle().map(|obstacle| obstacle.cause);
                assert!(blocked == 0 || matches!(reported, Some("block" | "shard_limit")), "{report:?}");
                return;
            }
            assert!(
                self.now.elapsed < begun + REST_WITHIN,
                "others wait behind a blocked index: {counts:?} {report:?}"
            );
        }
    }

    /// Good lines that a service writes meanwhile: only accepted lines can show that a line, not the store, is bad.
    fn write_good_lines(&mut self, process: &mut Process) {
        if let Some(traffic) = process.streams.last_mut().filter(|stream| stream.pipe.is_empty()) {
            for day in DAYS {
                traffic.pipe.extend_from_slice(self.lines.good(day).as_bytes());
                traffic.pipe.push(b'\n');
            }
        }
    }
}
