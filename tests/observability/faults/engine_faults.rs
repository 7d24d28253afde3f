//! An engine that hangs, is killed and is restarted while lines are shipped to it.

use std::time::Duration;

use observability_tests::accounting::Watch;
use observability_tests::node::Node;
use rustix::process::Signal;

use super::{Bench, Soak, following, peak_mib, verify, wait_until_shipped};

/// Memory limit, whatever the engine does: 35 MiB, plus the overhead of an unoptimised build.
const MEMORY_MAX_MIB: u64 = 64;

#[test]
fn an_engine_that_hangs_is_killed_or_restarted_has_each_line_once() {
    let mut soak = Soak::new("SIGSTOP, SIGKILL and restart of OpenSearch", 2, 12);
    let mut node = Node::started("opensearch");
    let bench = Bench::new("engine");
    let (mut shipper, admin) = following(bench.shipper(&node.engine().url));
    let accounting = Watch::start(admin);
    let load = bench.load(500);
    let mut done = [0; 3];
    while soak.continues() {
        soak.pause_ms(300..1_500);
        // the reduced form hangs it once and kills it once
        let what = if soak.rounds <= 3 { soak.rounds - 1 } else { soak.random.within(0..3) };
        done[usize::try_from(what).unwrap()] += 1;
        match what {
            0 => {
                node.signal(Signal::STOP);
                // longer than the request timeout, so that the shipper retries requests that the engine accepts later
                soak.pause_ms(3_500..8_000);
                node.signal(Signal::CONT);
            }
            1 => {
                node.kill();
                node.start();
            }
            _ => {
                node.stop();
                node.start();
            }
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let lines = load.stop();
    wait_until_shipped(admin, lines);
    accounting.stop();
    let peak = peak_mib(&shipper);
    assert!(peak <= MEMORY_MAX_MIB, "{peak} MiB");
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    verify(&node.engine().url, &bench.state());
    bench.assert_each_once(&node.engine(), lines);
    let [hung, killed, restarted] = done;
    soak.report(lines, &format!("; hung {hung}, killed {killed}, restarted {restarted} times; {peak} MiB"));
}
