//! The plan of a seed: sizes, sources and faults. A seed has some faults and not others, at different rates, so that
//! none hides another.

use std::time::Duration;

use shipper::delivery::DeliverySettings;
use shipper::encoding::LineEncoding;
use shipper::pipeline::PipelineSettings;
use shipper::spool::{OnFull, SpoolSettings};

use super::disk::Faults;
use super::engine::Weather;
use super::files::Kind;
use super::random::Random;
use super::service::LINE_MAX_BYTES;

/// The plan of a seed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) spool: SpoolSettings,
    pub(super) pipeline: PipelineSettings,
    /// Number of kills and power losses before the last process.
    pub(super) crashes: usize,
    /// Power losses are among them.
    pub(super) power_losses: bool,
    pub(super) faults: Faults,
    /// The disk becomes full for a while once in this many steps.
    pub(super) full_spells: u64,
    /// At the end the disk stays full except for the space that the shipper frees. There are no other faults on such a
    /// disk, no dead letters, and no files: what is not in a segment yet needs space to continue.
    pub(super) stays_full: bool,
    pub(super) weather: Weather,
    pub(super) request_max_bytes: usize,
    pub(super) streams: usize,
    /// Kind of the followed files.
    pub(super) files: Option<Kind>,
    /// Maximum number of open files, often fewer than there are.
    pub(super) max_open_files: usize,
    /// The file system has no birth times.
    pub(super) lacks_births: bool,
    /// The wall clock jumps back once in this many moves.
    pub(super) clock_jumps: u64,
    pub(super) steps: usize,
    /// More than a minute passes once in this many moves of the clock; 0 for never.
    pub(super) long_pauses: u64,
    /// An index is blocked for a while once in this many steps; 0 for never.
    pub(super) shuts: u64,
    /// An index that is blocked until all other work is done.
    pub(super) shut_for_good: Option<usize>,
    /// The store's file is deleted, moved or replaced once in this many steps; 0 for never.
    pub(super) store_changes: u64,
    /// Services write lines that make their requests fail, or make the store fail permanently.
    pub(super) hopeless: bool,
}

/// Returns a rate: 0, or one in a number between the two.
fn some(random: &mut Random, low: usize, high: usize) -> u64 {
    if random.one_in(2) { 0 } else { random.between(low, high) as u64 }
}

impl Plan {
    pub(super) fn new(seed: u64, random: &mut Random) -> Self {
        let stays_full = seed % 8 == 6;
        let on_full = if random.one_in(3) { OnFull::DropOldest } else { OnFull::Wait };
        let hopeless = random.one_in(2) && !stays_full;
        let is_small = on_full == OnFull::DropOldest || random.one_in(3);
        let max_bytes = match (hopeless, is_small) {
            // Space for all lines that wait for good ones, and for those.
            (true, _) => random.between(100_000, 200_000),
            (false, true) => random.between(1_600, 3_000),
            (false, false) => random.between(4_000, 40_000),
        } as u64;
        // With `drop_oldest`, what was lost is only known if no process is killed meanwhile.
        let crashes = if on_full == OnFull::DropOldest && random.one_in(2) { 0 } else { random.between(0, 5) };
        let faults = Faults {
            full: some(random, 20, 200),
            error: some(random, 30, 400),
            sync: some(random, 3, 40),
            false_clean: random.one_in(2),
            holes: random.one_in(2),
        };
        let (shuts, shut_for_good, has_room) = blocked_indices(seed, stays_full);
        let mut pipeline = pipeline(random, hopeless);
        if has_room {
            pipeline.in_flight_max_bytes = 200_000;
        }
        let mut plan = Self {
            spool: SpoolSettings { max_bytes, segment_bytes: max_bytes / 8, on_full },
            pipeline,
            crashes,
            power_losses: random.one_in(2),
            faults: if stays_full { Faults { error: 0, sync: 0, ..faults } } else { faults },
            stays_full,
            full_spells: some(random, 50, 400),
            weather: weather(random),
            // The action and document of a line have at most about 700 bytes.
            request_max_bytes: if hopeless && random.one_in(3) { random.between(500, 2_000) } else { usize::MAX },
            streams: random.between(0, 2).max(usize::from(stays_full || on_full == OnFull::DropOldest)),
            files: (!stays_full && random.one_in(2)).then(|| Kind::ALL[random.between(0, Kind::ALL.len() - 1)]),
            max_open_files: if random.one_in(3) { random.between(1, 2) } else { 1_000 },
            lacks_births: random.one_in(2),
            clock_jumps: some(random, 5, 20),
            steps: random.between(50, 400),
            long_pauses: 0,
            shuts,
            shut_for_good,
            store_changes: if seed % 8 == 4 { Random::new(seed ^ 0x0057_0F11_E5A7).between(10, 80) as u64 } else { 0 },
            hopeless,
        };
        if plan.streams == 2 && on_full == OnFull::Wait {
            // With the one added at the end there are three streams, each of which may be within a line of 1,000 bytes.
            // They must not fill the spool, since a waiting stream ends no segment within a line.
            plan.spool.max_bytes = max_bytes.max(5_200);
            plan.spool.segment_bytes = plan.spool.max_bytes / 8;
        }
        if plan.files == Some(Kind::RenamedAway) {
            plan.long_pauses = 10;
        }
        plan
    }

    /// Returns whether every removed segment has a record first: none is dropped, and no record lacks space.
    pub(super) fn notes_are_whole(&self) -> bool {
        self.spool.on_full == OnFull::Wait && self.full_spells == 0 && self.faults.full == 0 && !self.stays_full
    }
}

impl Plan {
    /// Returns whether unrelated files may be written next to followed ones. Their times show that they are no copies,
    /// which needs a reliable clock and disk.
    pub(super) fn has_notes(&self) -> bool {
        self.clock_jumps == 0 && self.faults.error == 0
    }
}

/// Returns how indices are blocked, in a quarter of the seeds, by an independent generator: how often, which
/// permanently, and whether there is space for all of its lines.
fn blocked_indices(seed: u64, stays_full: bool) -> (u64, Option<usize>, bool) {
    let mut random = Random::new(seed ^ 0x005E_ED0F_5B07);
    match seed % 8 {
        2 => {
            let often = some(&mut random, 30, 200);
            let for_good = (often == 0 || random.one_in(2)).then(|| random.between(0, 1));
            (often, for_good, random.one_in(2))
        }
        _ if stays_full => (some(&mut random, 30, 200), None, false),
        _ => (0, None, false),
    }
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        reset_before: some(random, 3, 20),
        reset_after: some(random, 3, 20),
        late: some(random, 3, 20),
        busy: some(random, 3, 20),
        refused: some(random, 5, 40),
        other_length: some(random, 5, 40),
        line_busy: some(random, 2, 20),
        host_down: some(random, 20, 100),
    }
}

fn pipeline(random: &mut Random, hopeless: bool) -> PipelineSettings {
    let batch_max_bytes = random.between(200, 4_000);
    PipelineSettings {
        encoding: LineEncoding::default(),
        index_prefix: "app-logs".to_owned(),
        batch_max_lines: random.between(1, 8),
        batch_max_bytes,
        batch_max_age: Duration::from_millis(50),
        in_flight_max_bytes: if hopeless { 200_000 } else { random.between(500, 8_000) },
        line_max_bytes: LINE_MAX_BYTES,
        checkpoint_interval: Duration::from_millis(100),
        delivery: DeliverySettings {
            hosts: (0..random.between(1, 3)).map(|number| format!("host-{number}")).collect(),
            poison_attempts: 4,
            poison_span: Duration::from_secs(2),
            requests_in_flight: random.between(1, 3),
            retry_min: Duration::from_millis(10),
            retry_max: Duration::from_millis(500),
        },
    }
}
