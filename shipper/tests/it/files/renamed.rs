//! What a restart knows of a file that was renamed out of the patterns.

use super::*;

/// An interrupted write of the journal keeps the first of its records: none may name a file as no pattern does.
#[test]
fn a_file_that_was_renamed_out_of_the_pattern_keeps_its_name_in_the_journal() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    rig.close();
    let rotated = world.dir.path().join("app.log.1");
    std::fs::rename(world.log(), &rotated).unwrap();
    append(&rotated, "two\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one", "two"]);
    let journal = std::fs::read(world.dir.path().join("state/journal")).unwrap();
    assert_eq!(memchr::memmem::find(&journal, b"app.log.1"), None);
}
