//! Files that are copied and cut, and what another process makes of the copy.

use std::fs::{self, File, OpenOptions};
use std::time::Instant;

use super::*;

const ONE: &str = "one, which is long enough to tell";
const NEVER: Duration = Duration::from_secs(3_600);

/// Replaces the log by `copy`, in its rotated copy, and new lines.
fn copy_and_cut(world: &World, copy: &str, new: &str) {
    fs::write(world.dir.path().join("app.log.1"), copy).unwrap();
    OpenOptions::new().write(true).truncate(true).open(world.log()).unwrap();
    append(&world.log(), new);
}

/// Starts and kills a process three times; the store answers only the last one at once.
fn restart(world: &mut World) {
    for answers_after in [NEVER, NEVER, Duration::ZERO] {
        world.answers_after = answers_after;
        let mut rig = world.start(false);
        world.run(&mut rig, A_WHILE);
        assert_eq!(rig.report().files.counts.vanished, 0);
    }
}

/// Lines that are written between the copy and the cut are in no file, and the shipper may have read them.
#[test]
fn a_copy_that_ends_before_what_was_read_of_its_original_is_read_on_by_each_process() {
    for follows_rotated in [true, false] {
        let mut world = World { follows_rotated, ..World::new() };
        append(&world.log(), &format!("{ONE}\n"));
        let mut rig = world.start(false);
        world.run(&mut rig, A_WHILE);
        world.answers_after = NEVER;
        append(&world.log(), "two\nthree\n");
        world.run(&mut rig, A_WHILE);
        drop(rig);
        // The store did not take what it did not answer.
        world.stored.retain(|_, message| message == ONE);
        world.now.wall = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 1_000_000);
        copy_and_cut(&world, &format!("{ONE}\ntwo\n"), "four\n");
        restart(&mut world);
        assert_eq!(world.messages(), ["four", ONE, "two"], "follows rotated names: {follows_rotated}");
    }
}

/// The shipper saw the end of a line that it waited for, and that is not in the copy.
#[test]
fn a_copy_that_ends_before_what_was_seen_of_its_original_is_known_to_the_next_process() {
    let mut world = World { follows_rotated: true, ..World::new() };
    append(&world.log(), &format!("{ONE}\n"));
    let mut rig = world.start(false);
    for more in ["two\nth", "r", "e"] {
        append(&world.log(), more);
        world.run(&mut rig, A_WHILE);
    }
    copy_and_cut(&world, &format!("{ONE}\ntwo\n"), "four\n");
    world.run(&mut rig, A_WHILE);
    drop(rig);
    restart(&mut world);
    assert_eq!(world.messages(), ["four", ONE, "two"]);
}

/// Lines that the copy lacks were read too, and the process ends before the store answers.
#[test]
fn lines_of_a_copy_that_had_no_outcome_when_the_process_ended_are_read_again() {
    let mut world = World { follows_rotated: true, ..World::new() };
    append(&world.log(), &format!("{ONE}\n"));
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    world.answers_after = NEVER;
    append(&world.log(), "two\nthree\n");
    world.run(&mut rig, A_WHILE);
    copy_and_cut(&world, &format!("{ONE}\ntwo\n"), "four\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(rig.report().files.counts.copies, 1, "the copy is known");
    drop(rig);
    world.stored.retain(|_, message| message == ONE);
    restart(&mut world);
    assert_eq!(world.messages(), ["four", ONE, "two"]);
}

/// The compressed copy has the time of the last write to the original, which was before the copy was made.
#[test]
fn the_rest_of_a_copy_that_was_compressed_and_deleted_is_read_out_of_the_compressed_file() {
    let mut world = World { follows_rotated: true, ..World::new() };
    append(&world.log(), &format!("{ONE}\n"));
    let run = |world: &mut World, rig: &mut Rig, time: Duration| {
        // No look is later than the times of files that are written after it.
        let begun = Instant::now();
        while begun.elapsed() < time {
            world.now.wall = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 200_000);
            world.run(rig, Duration::from_millis(200));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut rig = world.start(false);
    run(&mut world, &mut rig, Duration::from_millis(100));
    world.answers_after = NEVER;
    append(&world.log(), "two\n");
    let written = fs::metadata(world.log()).unwrap().modified().unwrap();
    run(&mut world, &mut rig, Duration::from_millis(100));
    copy_and_cut(&world, &format!("{ONE}\ntwo\n"), "new\n");
    run(&mut world, &mut rig, Duration::from_millis(100));
    assert_eq!(rig.report().files.counts.copies, 1, "the life goes on in the copy");
    let (copy, packed) = (world.dir.path().join("app.log.1"), world.dir.path().join("app.log.1.gz"));
    let mut packed = File::create(packed).unwrap();
    run(&mut world, &mut rig, Duration::from_millis(600));
    // So that the journal gets to know when files were last looked at.
    append(&world.dir.path().join("other.log"), "other\n");
    world.now.elapsed += Duration::from_secs(2);
    run(&mut world, &mut rig, Duration::from_millis(200));
    drop(rig);
    world.stored.retain(|_, message| message == ONE);
    let output = std::process::Command::new("gzip").arg("-c").arg(&copy).output().unwrap();
    packed.write_all(&output.stdout).unwrap();
    packed.set_modified(written).unwrap();
    fs::remove_file(&copy).unwrap();
    world.answers_after = Duration::ZERO;
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["new", ONE, "other", "two"]);
    assert_eq!(rig.report().files.counts.vanished, 0);
}
