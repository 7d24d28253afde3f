//! Files that no look finds under the name that the pattern matches.

use std::path::Path;

use super::{A_WHILE, World, append};

/// Gives all files of the log the next number, of which `last` is the highest afterwards.
fn rotate(folder: &Path, last: u32) {
    let numbered = |number: u32| folder.join(format!("app.log.{number}"));
    for number in (1..last).rev() {
        std::fs::rename(numbered(number), numbered(number + 1)).unwrap();
    }
    std::fs::rename(folder.join("app.log"), numbered(1)).unwrap();
}

#[test]
fn a_file_that_is_made_and_rotated_between_two_looks_is_counted_once() {
    let mut world = World::new();
    let (folder, log) = (world.dir.path().to_owned(), world.log());
    append(&log, "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    rotate(&folder, 1);
    append(&log, "nobody sees this\n");
    // Another log, and a compressed file.
    append(&folder.join("app.log.err"), "another\n");
    std::fs::write(folder.join("app.log.9"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03 compressed").unwrap();
    rotate(&folder, 2);
    append(&log, "three\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(rig.report().files.counts.missed, 1);
    rotate(&folder, 3);
    append(&log, "four\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(rig.report().files.counts.missed, 1);
    assert_eq!(world.messages(), ["four", "one", "three"]);
}
