//! Files that were closed because others needed their descriptor.

use super::*;

/// A world in which one file is open at a time, with `app.log`, and another file that needs its place.
fn closed(text: &str) -> (World, Rig) {
    let mut world = World::new();
    world.max_open_files = 1;
    append(&world.log(), text);
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.dir.path().join("other.log"), "other\n");
    world.run(&mut rig, A_WHILE);
    assert!(world.messages().contains(&"other"));
    (world, rig)
}

#[test]
fn the_last_line_of_a_closed_file_is_read_once_it_is_rotated() {
    for rotated in ["app.log.1", "app-2026-11-23.log"] {
        let (mut world, mut rig) = closed("one\ntwo");
        let rotated = world.dir.path().join(rotated);
        std::fs::rename(world.log(), &rotated).unwrap();
        append(&world.log(), "three\n");
        world.run(&mut rig, Duration::from_secs(50));
        assert_eq!(world.messages(), ["one", "other", "three"], "{rotated:?}");
        world.run(&mut rig, Duration::from_secs(50));
        assert_eq!(world.messages(), ["one", "other", "three", "two"], "{rotated:?}");
        append(&rotated, "late\n");
        world.run(&mut rig, A_WHILE);
        assert_eq!(world.messages(), ["late", "one", "other", "three", "two"], "{rotated:?}");
    }
}

#[test]
fn the_last_line_of_a_closed_file_that_is_not_rotated_is_waited_for() {
    let (mut world, mut rig) = closed("one\ntw");
    world.run(&mut rig, Duration::from_secs(300));
    append(&world.log(), "o\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one", "other", "two"]);
}

/// Zeros are no lines, so nothing is lost with them.
#[test]
fn zeros_at_the_end_of_a_closed_file_are_not_counted_as_lost() {
    let (mut world, mut rig) = closed("one\n");
    // The other file keeps its place, so that this one is not opened again.
    world.answers_after = Duration::from_secs(200);
    append(&world.dir.path().join("other.log"), "waiting\n");
    world.run(&mut rig, A_WHILE);
    OpenOptions::new().write(true).open(world.log()).unwrap().set_len(1 << 20).unwrap();
    world.run(&mut rig, A_WHILE);
    std::fs::remove_file(world.log()).unwrap();
    world.run(&mut rig, Duration::from_secs(90));
    let counts = rig.report().files.counts;
    assert_eq!((counts.destroyed_bytes, counts.vanished), (0, 0), "{counts:?}");
}

/// A hole fills no batch, so that only the number of its bytes can end a tick.
#[test]
fn a_large_hole_is_read_in_many_ticks() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    OpenOptions::new().write(true).open(world.log()).unwrap().set_len(1 << 30).unwrap();
    append(&world.log(), "two\n");
    append(&world.dir.path().join("other.log"), "other\n");
    let mut rig = world.start(false);
    let mut ticks = 0;
    while !world.messages().contains(&"two") {
        world.run(&mut rig, Duration::from_millis(20));
        ticks += 1;
        assert!(ticks < 1_000);
    }
    assert!(ticks >= 16, "{ticks} ticks for a GiB");
    assert_eq!(world.messages(), ["one", "other", "two"]);
}
