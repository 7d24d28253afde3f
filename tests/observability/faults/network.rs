//! A network that resets connections, delays answers and cuts bodies.

use observability_tests::books::Watch;
use observability_tests::engine::Engine;
use observability_tests::proxy::{FAULTS, Proxy};

use super::{Bench, Soak, following, verify, wait_until_shipped};

/// Some answers are held back for longer than a request may take, which is 3 s.
const DELAY_MAX_MS: u64 = 4_000;

#[test]
fn a_network_that_resets_delays_and_cuts_doubles_and_loses_nothing() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("a bad network", 12, 60);
    let proxy = Proxy::start(engine.address(), soak.seed, DELAY_MAX_MS);
    let bench = Bench::new("network");
    let (mut shipper, admin) = following(bench.shipper(&format!("http://{}", proxy.address)));
    let books = Watch::of(admin);
    let load = bench.load(1_500);
    while soak.goes_on() {
        soak.pause_ms(500..1_000);
    }
    let lines = load.stop();
    proxy.mend();
    wait_until_shipped(admin, lines);
    books.end();
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    verify(&engine.url, &bench.state());
    bench.assert_each_once(&engine, lines);
    let counts = proxy.counts();
    assert!(counts[1..].iter().sum::<u64>() >= 4, "hardly a connection had a fault: {counts:?}");
    let told: Vec<_> = FAULTS.iter().zip(counts).map(|(what, count)| format!("{count} {what}")).collect();
    soak.report(lines, &format!("; connections: {}", told.join(", ")));
}
