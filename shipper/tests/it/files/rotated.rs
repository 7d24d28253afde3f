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
