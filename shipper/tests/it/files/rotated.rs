//! Rotated files that the pattern still matches.

use super::*;

/// The pattern matches the rotated names too.
fn world() -> World {
    World { reads_compressed: true, ..World::new() }
}

const LONGER_THAN_CLOSING_TAKES: Duration = Duration::from_secs(65);

#[test]
fn the_last_line_of_a_rotated_file_is_taken_without_a_newline_once_it_has_a_successor() {
    let mut world = world();
    append(&world.log(), "one\nlast");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    let rotated = world.dir.path().join("app.log.1");
    std::fs::rename(world.log(), &rotated).unwrap();
    world.run(&mut rig, LONGER_THAN_CLOSING_TAKES);
    assert_eq!(world.messages(), ["one"], "it may be the file that is written to");
    append(&world.log(), "two\nopen");
    world.run(&mut rig, LONGER_THAN_CLOSING_TAKES);
    assert_eq!(world.messages(), ["last", "one", "two"]);
    // Whoever still writes to it is read.
    append(&rotated, " and more\n");
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "ed\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), [" and more", "last", "one", "opened", "two"]);
    rig.close();
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!((world.messages().len(), rig.counts().read), (5, 0));
}

#[test]
fn the_last_line_of_a_file_that_was_rotated_while_nobody_looked_is_taken() {
    let mut world = world();
    for is_known in [true, false] {
        let log = world.dir.path().join(format!("{is_known}.log"));
        append(&log, &format!("{is_known}\n{is_known} last"));
        if is_known {
            let mut rig = world.start(false);
            world.run(&mut rig, A_WHILE);
            rig.close();
        }
        std::fs::rename(&log, log.with_extension("log-20261130")).unwrap();
        append(&log, &format!("{is_known} new\n"));
    }
    let mut rig = world.start(false);
    world.run(&mut rig, LONGER_THAN_CLOSING_TAKES);
    assert_eq!(world.messages(), ["false", "false last", "false new", "true", "true last", "true new"]);
}

/// A name that begins as another one's is no rotated one.
#[test]
fn the_last_line_of_a_file_that_is_named_after_another_one_is_waited_for() {
    let mut world = world();
    append(&world.dir.path().join("app.log.errors"), "one\nlast");
    append(&world.log(), "two\n");
    let mut rig = world.start(false);
    world.run(&mut rig, LONGER_THAN_CLOSING_TAKES);
    assert_eq!(world.messages(), ["one", "two"]);
}

/// The rest of a file that was copied and cut is in the copy, its last line too.
#[test]
fn the_last_line_of_a_copy_is_taken() {
    let mut world = world();
    append(&world.log(), "one, which is long enough to tell\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "last");
    std::fs::copy(world.log(), world.dir.path().join("app.log.1")).unwrap();
    std::fs::write(world.log(), "two\n").unwrap();
    world.run(&mut rig, LONGER_THAN_CLOSING_TAKES);
    assert_eq!(world.messages(), ["last", "one, which is long enough to tell", "two"]);
}

/// Compressing takes its time, and the shipper is killed before the original is deleted.
#[test]
fn a_compressed_file_that_was_begun_before_the_last_look_is_the_copy_of_what_was_deleted_since() {
    for is_read in [true, false] {
        let mut world = World::new();
        append(&world.log(), "one, which is long enough to tell\n");
        let run = |world: &mut World, rig: &mut Rig| {
            // No look is later than the times of files that are written after it.
            world.now.wall = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 200_000);
            world.run(rig, Duration::from_millis(200));
        };
        let mut rig = world.start(false);
        run(&mut world, &mut rig);
        let (rotated, packed) = (world.dir.path().join("app.log.1"), world.dir.path().join("app.log.1.gz"));
        std::fs::rename(world.log(), &rotated).unwrap();
        let mut packed = std::fs::File::create(&packed).unwrap();
        world.answers_after = if is_read { Duration::ZERO } else { Duration::from_secs(3_600) };
        append(&rotated, "two\n");
        // In real time: the file system's own times are compared.
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            run(&mut world, &mut rig);
            std::thread::sleep(Duration::from_millis(20));
        }
        // So that the journal gets to know when files were last looked at.
        append(&world.dir.path().join("other.log"), "other\n");
        world.now.elapsed += Duration::from_secs(2);
        (0..10).for_each(|_| run(&mut world, &mut rig));
        assert!(world.messages().contains(&"two"), "{:?}", world.messages());
        drop(rig);
        if !is_read {
            world.stored.retain(|_, message| message.starts_with("one"));
        }
        let written = std::fs::metadata(&rotated).unwrap().modified().unwrap();
        let output = std::process::Command::new("gzip").arg("-c").arg(&rotated).output().unwrap();
        packed.write_all(&output.stdout).unwrap();
        packed.set_modified(written).unwrap();
        std::fs::remove_file(&rotated).unwrap();
        append(&world.log(), "new\n");
        world.answers_after = Duration::ZERO;
        let mut rig = world.start(false);
        world.run(&mut rig, A_WHILE);
        assert_eq!(world.messages(), ["new", "one, which is long enough to tell", "other", "two"]);
        assert_eq!(rig.report().files.counts.vanished, 0);
    }
}

/// `olddir` of logrotate moves files to a sibling folder.
#[test]
fn a_file_that_was_moved_to_a_folder_beside_it_while_the_shipper_was_stopped_is_read_to_its_end() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    rig.close();
    append(&world.log(), "two\n");
    let old = world.dir.path().join("old");
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("other.log.1"), "one\nsecret\n").unwrap();
    std::fs::rename(world.log(), old.join("app.log.1")).unwrap();
    append(&world.log(), "new\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&old.join("app.log.1"), "three\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["new", "one", "three", "two"]);
    assert_eq!(rig.report().files.counts.vanished, 0);
    drop(rig);
    let mut rig = world.start(false);
    world.run(&mut rig, Duration::from_secs(65));
    assert_eq!((world.messages().len(), rig.report().files.counts.vanished), (4, 0));
}
