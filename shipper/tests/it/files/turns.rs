//! One file has more than the store takes: each of the others is read in bounded time.

use super::*;

#[test]
fn a_file_with_more_than_the_store_takes_keeps_no_other_waiting() {
    let mut world = World::new();
    world.answers_after = Duration::from_millis(500);
    let long = "x".repeat(10_000);
    append(&world.dir.path().join("a.log"), &format!("{long}\n").repeat(4_000));
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.dir.path().join("b.log"), "small\n");
    world.run(&mut rig, A_WHILE);
    assert!(rig.counts().read < 4_000, "the large file is done");
    assert!(world.messages().contains(&"small"));
}
