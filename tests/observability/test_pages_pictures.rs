//! The pictures of README.md, of a busy shop: `docs/pictures` has what is left in `target/screenshots/readme-*.png`.

use observability_tests::browser::Look;
use serde_json::Value;

use crate::site::{Plan, line, request, text};
use crate::test_store::TestStore;

/// Requests of the shop and of its billing, over the most of an hour.
const REQUESTS: i64 = 300;

/// The last of them, which fails.
const FAILED: &str = "order-1299";

/// The lines of one: most are good, some are slow, and every 23rd fails.
fn order(n: i64) -> Vec<String> {
    let number = 1_000 + n;
    let (requested, answered, charged) = (4 + n % 3, 13 + n % 5 + if n % 40 == 7 { 340 } else { 0 }, 25 + n % 7);
    let received = format!("order {number} received");
    let stock_requested = format!("stock of {} items requested", 2 + n % 8);
    let stock_answered = format!("stock answered in {} ms", answered - requested);
    let begin =
        [("info", received.as_str(), 1), ("debug", &stock_requested, requested), ("info", &stock_answered, answered)];
    let failed = format!("payment of order {number} failed: connection reset by peer");
    let (paid, confirmed) = (format!("charged {}.{:02} EUR", 9 + n % 80, n % 100), format!("order {number} confirmed"));
    let (end, status) = if n % 23 == 0 {
        ([("warn", "payment provider did not answer, try 2 of 2", charged + 4), ("error", &failed, charged + 13)], 502)
    } else {
        ([("info", paid.as_str(), charged), ("info", &confirmed, charged + 3)], 200)
    };
    let steps: Vec<_> =
        begin.into_iter().chain(end.map(|(level, says, after)| (level, says, answered + after))).collect();
    let took = steps.last().map_or(0, |(_, _, at)| at + 1);
    // More of them as the hour goes on, and none right before now.
    let began_ms = -40 * 60_000 + n * 10_000 - n * n * 6;
    let lines = request(&format!("order-{number}"), began_ms, &steps, status, took);
    let service = if n % 5 < 2 { "\"billing\"" } else { "\"shop\"" };
    lines.into_iter().map(|line| line.replace("\"shop\"", service)).collect()
}

fn alert() -> String {
    let mut alert: Value =
        serde_json::from_str(&line("backend", "warn", "alert firing: HighErrorRate", None, 0)).unwrap();
    alert["target"] = "alert".into();
    text(&alert)
}

#[test]
fn a_busy_shop_is_seen_at_a_glance() {
    let lines: Vec<_> = (0..REQUESTS).flat_map(order).chain([alert()]).collect();
    let of_billing = lines.iter().filter(|line| line.contains("\"project_id\":\"billing\"")).count();
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    site.wait_for("billing", of_billing);
    let page = site.page();
    page.look(Look::Light);
    page.open("/");
    assert!(page.text("dl.tiles").contains("300"), "{}", page.text("dl.tiles"));
    assert!(page.text("#latest-alerts").contains("HighErrorRate") && page.count("#latest-errors > li") > 3);
    page.picture("readme-overview");
    page.open(&format!("/requests/{FAILED}"));
    page.wait_for_count("#compare tr.parts", 1);
    assert_eq!((page.count("#compare tr.missing"), page.count("#compare tr.extra")), (2, 2));
    assert!(page.count("#same-error li") > 3);
    page.picture("readme-story");
    page.assert_quiet(&[]);
}
