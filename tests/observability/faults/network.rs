//! A network that resets connections, delays responses and truncates bodies.

use observability_tests::accounting::Watch;
use observability_tests::engine::Engine;
use observability_tests::proxy::{FAULTS, Proxy};

use super::{Bench, Soak, following, verify, wait_until_shipped};

/// Some responses are delayed for longer than the request timeout of 3 s.
const DELAY_MAX_MS: u64 = 4_000;

#[test]
fn a_bad_network_neither_duplicates_nor_loses_lines() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("a bad network", 12, 60);
    let proxy = Proxy::start(engine.address(), soak.seed, DELAY_MAX_MS);
    let bench = Bench::new("network");
    let (mut shipper, admin) = following(bench.shipper(&format!("http://{}", proxy.address)));
    let accounting = Watch::start(admin);
    let load = bench.load(1_500);
    while soak.continues() {
        soak.pause_ms(500..1_000);
    }
    let lines = load.stop();
    proxy.stop_faults();
    wait_until_shipped(admin, lines);
    accounting.stop();
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    verify(&engine.url, &bench.state());
    bench.assert_each_once(&engine, lines);
    let counts = proxy.counts();
    assert!(counts[1..].iter().sum::<u64>() >= 4, "too few connections had a fault: {counts:?}");
    let summary: Vec<_> = FAULTS.iter().zip(counts).map(|(what, count)| format!("{count} {what}")).collect();
    soak.report(lines, &format!("; connections: {}", summary.join(", ")));
}
