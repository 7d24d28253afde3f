//! Lines seen in a file that was truncated or deleted before they were stored: `verify` reports them missing.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Place, Running, free_address, get, start, until};
use crate::store_file::into_folder;

fn follow(place: &Place, admin: SocketAddr) -> Running {
    let admin = admin.to_string();
    let arguments = ["run", "--file", "a.log", "--scan-interval-ms", "20", "--retry-max-ms", "100"];
    let more = ["--shutdown-timeout-ms", "100", "--admin-listen", &admin];
    start(place, into_folder(place, &[&arguments[..], &more].concat()))
}

#[track_caller]
fn until_metric(admin: SocketAddr, name: &str, is_right: impl Fn(f64) -> bool) {
    until(name, || {
        let (_, scrape) = get(admin, "/metrics")?;
        let value = scrape.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())?;
        is_right(value).then_some(())
    });
}

/// The exit code of `verify`, missing ranges, and the number of bytes stored.
fn verify(place: &Place) -> (i32, Vec<(u64, u64, bool)>, u64) {
    let output = into_folder(place, &["verify", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let missing = report["sums"]["missing"]["listed"].as_array().unwrap();
    let number = |missing: &Value, key| missing[key].as_u64().unwrap();
    let of = |m: &Value| (number(m, "offset"), number(m, "bytes"), m["is_destroyed"].as_bool().unwrap());
    let stored = report["sums"]["stored_bytes"].as_u64().unwrap();
    (output.status.code().unwrap(), missing.iter().map(of).collect(), stored)
}

#[test]
fn pending_lines_of_a_deleted_file_are_missing_after_a_restart() {
    let place = Place::new();
    let admin = free_address();
    fs::write(place.path("a.log"), "one\ntwo\n").unwrap();
    let mut running = follow(&place, admin);
    until_metric(admin, "shipper_lines_stored_total", |lines| lines == 2.0);
    fs::rename(place.path("store"), place.path("away")).unwrap();
    // Until this is noticed, lines still go to the moved store.
    until("it is noticed", || get(admin, "/readyz").filter(|(code, _)| *code == 503));
    fs::write(place.path("a.log"), "one\ntwo\nthree\nfour\n").unwrap();
    until_metric(admin, "shipper_lines_pending", |lines| lines == 2.0);
    running.signal(Signal::TERM);
    assert_ne!(running.code(), 0, "{}", running.stderr());
    fs::remove_file(place.path("a.log")).unwrap();
    fs::rename(place.path("away"), place.path("store")).unwrap();

    let mut running = follow(&place, admin);
    until_metric(admin, "shipper_files_total{event=\"vanished\"}", |files| files == 1.0);
    until_metric(admin, "shipper_files_destroyed_bytes_total", |bytes| bytes == 11.0);
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0, "{}", running.stderr());
    assert_eq!(verify(&place), (1, vec![(8, 11, true)], 8));
    let printed = into_folder(&place, &["verify"]).output().unwrap();
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        printed.contains("missing   11 bytes at offset 8 of") && printed.contains("a.log), in a file that was"),
        "{printed}"
    );
    assert!(printed.ends_with("NOT VERIFIED\n"), "{printed}");
    // `--since` ignores known losses.
    let since = "2999-01-01T00:00:00Z";
    let code = into_folder(&place, &["verify", "--since", since]).output().unwrap().status.code();
    assert_eq!(code, Some(0));
}

#[test]
fn unread_lines_of_a_truncated_file_are_missing() {
    const LINE: usize = 1_000;
    let place = Place::new();
    let admin = free_address();
    let mut running = follow(&place, admin);
    until("it is ready", || get(admin, "/readyz").filter(|(code, _)| *code == 200));
    fs::rename(place.path("store"), place.path("away")).unwrap();
    until("it is noticed", || get(admin, "/readyz").filter(|(code, _)| *code == 503));
    // More than may be in flight.
    let text = format!("{}\n", "x".repeat(LINE - 1)).repeat(12_000);
    fs::write(place.path("whole"), &text).unwrap();
    fs::rename(place.path("whole"), place.path("a.log")).unwrap();
    until_metric(admin, "shipper_lines_pending", |lines| lines > 0.0);
    fs::write(place.path("a.log"), "").unwrap();
    until_metric(admin, "shipper_files_destroyed_bytes_total", |bytes| bytes > 0.0);
    fs::rename(place.path("away"), place.path("store")).unwrap();
    until_metric(admin, "shipper_lines_pending", |lines| lines == 0.0);
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0, "{}", running.stderr());
    let (code, missing, stored) = verify(&place);
    assert_eq!(code, 1);
    assert_eq!(missing, [(stored, text.len() as u64 - stored, true)]);
    assert_eq!(stored % LINE as u64, 0);
}
