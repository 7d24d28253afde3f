//! The embedded store's file with a real shipper: deleted, moved and replaced while lines arrive, and the shipper
//! killed in between.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Place, Running, free_address, get, start, until};

/// A store in its own folder, so that it can be moved.
pub(crate) fn into_folder(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.shipper(arguments);
    command.env("SHIPPER_TO", "sqlite:store/logs.db");
    command
}

fn follow(place: &Place, admin: SocketAddr) -> Running {
    let admin = admin.to_string();
    let arguments = ["run", "--file", "a.log", "--scan-interval-ms", "20", "--retry-max-ms", "100"];
    let shipper = into_folder(place, &[&arguments[..], &["--admin-listen", &admin]].concat());
    start(place, shipper)
}

fn append(place: &Place, lines: std::ops::Range<usize>) {
    let text: String = lines.map(|line| format!("line {line}\n")).collect();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(place.path("a.log")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The messages in the store; none while there is no file.
fn stored(place: &Place) -> Vec<String> {
    let output = place.shipper(&["export", "sqlite:store/logs.db"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let message = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["message"].as_str()?.to_owned());
    text.lines().filter_map(message).collect()
}

#[track_caller]
fn until_stored(place: &Place, lines: std::ops::Range<usize>) {
    let wanted: Vec<_> = lines.map(|line| format!("line {line}")).collect();
    until("the lines are in the store at the path", || {
        let stored = stored(place);
        wanted.iter().all(|line| stored.contains(line)).then_some(())
    });
}

#[track_caller]
fn ready(admin: SocketAddr, wanted: u16) -> String {
    until(&format!("/readyz says {wanted}"), || get(admin, "/readyz").filter(|(code, _)| *code == wanted)).1
}

fn metric(admin: SocketAddr, name: &str) -> f64 {
    let (_, scrape) = get(admin, "/metrics").unwrap();
    scrape.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

fn verify(place: &Place, arguments: &[&str]) -> (i32, String) {
    let output = into_folder(place, &[&["verify"], arguments].concat()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn lines_of_a_deleted_store_are_reported_and_restored() {
    let place = Place::new();
    let admin = free_address();
    append(&place, 0..300);
    let mut shipper = follow(&place, admin);
    until_stored(&place, 0..300);
    // It is noticed even while nothing is written.
    fs::remove_file(place.path("store/logs.db")).unwrap();
    until("the change is counted", || (metric(admin, "shipper_store_file_changes_total") == 1.0).then_some(()));
    assert!(place.path("store/logs.db").exists());
    append(&place, 300..400);
    until_stored(&place, 300..400);
    assert_eq!(stored(&place).len(), 100);
    ready(admin, 200);
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    let printed = shipper.stderr();
    assert!(
        printed.contains("store file replaced") && printed.contains("was deleted or moved while it was open"),
        "{printed}"
    );

    let (code, report) = verify(&place, &["--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["lines"]["missing"]["count"], &report["lines"]["stored"]), (1, &300.into(), &100.into()));
    let (code, printed) = verify(&place, &["--resend"]);
    assert!(code == 0 && printed.contains("300 lines stored"), "{printed}");
    let (code, printed) = verify(&place, &[]);
    assert!(code == 0 && printed.contains("every line is stored exactly once"), "{printed}");
    assert_eq!(stored(&place).len(), 400);
}

#[test]
fn a_removed_folder_pauses_delivery_until_it_is_restored() {
    let place = Place::new();
    let admin = free_address();
    append(&place, 0..10);
    let mut shipper = follow(&place, admin);
    until_stored(&place, 0..10);
    fs::rename(place.path("store"), place.path("away")).unwrap();
    let printed = ready(admin, 503);
    assert!(printed.contains("store"), "{printed}");
    let printed = until("it says why", || {
        get(admin, "/readyz").map(|(_, printed)| printed).filter(|s| s.contains("[folder_missing]"))
    });
    assert!(printed.contains("store's directory store is missing"), "{printed}");
    assert_eq!(metric(admin, "shipper_delivery_paused"), 1.0);
    assert_eq!(metric(admin, "shipper_sink_error{cause=\"folder_missing\"}"), 1.0);
    append(&place, 10..20);
    until("the lines wait", || (metric(admin, "shipper_lines_pending") == 10.0).then_some(()));
    assert!(!place.path("store").exists());
    fs::rename(place.path("away"), place.path("store")).unwrap();
    until_stored(&place, 0..20);
    ready(admin, 200);
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert_eq!(verify(&place, &[]).0, 0);
}

type Step = fn(&Path);

/// Changes to the store while lines arrive; true if the shipper is killed as well.
const HAPPENINGS: [(Step, bool); 6] = [
    (|store| fs::remove_file(store.join("logs.db")).unwrap(), true),
    (|store| fs::remove_file(store.join("logs.db-wal")).unwrap_or_default(), false),
    (
        |store| {
            fs::rename(store, store.with_file_name("old")).unwrap();
            fs::create_dir(store).unwrap();
        },
        false,
    ),
    (|_| {}, true),
    (|store| fs::write(store.join("logs.db"), "").unwrap(), false),
    (|store| fs::rename(store.join("logs.db"), store.join("moved.db")).unwrap(), true),
];

#[test]
fn every_line_is_stored_in_the_end_after_any_change_of_file_or_shipper() {
    let place = Place::new();
    let store = place.path("store");
    let admin = free_address();
    let mut shipper = follow(&place, admin);
    let mut next = 0;
    let mut come_in = |lines: usize| {
        append(&place, next..next + lines);
        next += lines;
        next
    };
    come_in(50);
    for (happening, is_killed) in HAPPENINGS {
        until("there is a store", || (!stored(&place).is_empty()).then_some(()));
        come_in(50);
        happening(&store);
        if is_killed {
            come_in(20);
            shipper.kill();
            shipper = follow(&place, admin);
        }
        let begun = come_in(0);
        let all = come_in(50);
        // Lines since then must be stored, whatever was lost with the file before.
        until_stored(&place, begun..all);
    }
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    let (code, printed) = verify(&place, &["--resend"]);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = verify(&place, &[]);
    assert!(code == 0 && printed.contains("every line is stored exactly once"), "{printed}");
    let mut found = stored(&place);
    found.sort();
    let mut wanted: Vec<_> = (0..come_in(0)).map(|line| format!("line {line}")).collect();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn a_file_replaced_by_something_else_is_reported_and_left_alone() {
    let place = Place::new();
    let admin = free_address();
    append(&place, 0..10);
    let mut shipper = follow(&place, admin);
    until_stored(&place, 0..10);
    fs::write(place.path("letter"), "no database").unwrap();
    fs::rename(place.path("letter"), place.path("store/logs.db")).unwrap();
    let printed = ready(admin, 503);
    append(&place, 10..20);
    let said_now = until("it says what is there", || {
        get(admin, "/readyz").map(|(_, printed)| printed).filter(|printed| printed.contains("not a database"))
    });
    assert!(said_now.contains("[storage]"), "{printed} {said_now}");
    assert_eq!(fs::read_to_string(place.path("store/logs.db")).unwrap(), "no database");
    fs::remove_file(place.path("store/logs.db")).unwrap();
    until_stored(&place, 10..20);
    ready(admin, 200);
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}

/// The permissions of all files and folders at and below a path.
fn modes(path: &Path) -> Vec<(String, bool, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::symlink_metadata(path).unwrap();
    let own = (path.display().to_string(), metadata.is_dir(), metadata.permissions().mode() & 0o7777);
    let below = if metadata.is_dir() {
        fs::read_dir(path).unwrap().flat_map(|entry| modes(&entry.unwrap().path())).collect()
    } else {
        Vec::new()
    };
    [vec![own], below].concat()
}

#[test]
fn files_with_lines_have_the_configured_permissions_regardless_of_the_umask() {
    for (umask, file_mode, file, folder) in
        [("000", "0600", 0o600, 0o700), ("077", "0660", 0o660, 0o770), ("022", "0640", 0o640, 0o750)]
    {
        let place = Place::new();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let shipper = env!("CARGO_BIN_EXE_shipper");
        let arguments =
            ["run", "--to", "sqlite:deep/store/logs.db", "--state-dir", "deep/state", "--file-mode", file_mode];
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, shipper]).args(arguments).current_dir(place.folder.path());
        command.stdin(std::process::Stdio::piped());
        let mut running = start(&place, command);
        let mut stdin = running.stdin();
        stdin.write_all(b"one\ntwo\n").unwrap();
        until("the lines are stored", || {
            let output = place.shipper(&["export", "sqlite:deep/store/logs.db"]).output().unwrap();
            (output.stdout.split(|byte| *byte == b'\n').count() == 3).then_some(())
        });
        let found = modes(&place.path("deep"));
        assert!(found.iter().any(|(path, ..)| path.ends_with("logs.db-wal")), "{found:?}");
        for (path, is_dir, mode) in found {
            assert_eq!(mode, if is_dir { folder } else { file }, "{path} with umask {umask} and {file_mode}");
        }
        drop(stdin);
        assert_eq!(running.code(), 0, "{}", running.stderr());
        assert!(!running.stderr().contains("file accessible to others"), "{}", running.stderr());
    }
}

#[test]
fn files_accessible_to_others_are_reported_at_startup() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let wide = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(place.path("secret"), "key\n").unwrap();
    wide(&place.path("secret"), 0o640);
    fs::create_dir(place.path("state")).unwrap();
    wide(&place.path("state"), 0o755);
    let address = format!("http://{}", free_address());
    let arguments = ["run", "--to", &address, "--api-key-file", "secret", "--state-dir", "state"];
    let (_, printed) = crate::program::finish(&place, place.shipper(&arguments));
    let warned = |printed: &str, key: &str, mode: &str| {
        let is_it = |line: &&str| line.contains("file accessible to others");
        printed.lines().filter(is_it).any(|line| line.contains(&format!("\"{key}\"")) && line.contains(mode))
    };
    assert!(warned(&printed, "api_key_file", "0640") && warned(&printed, "state_dir", "0755"), "{printed}");
    wide(&place.path("secret"), 0o600);
    wide(&place.path("state"), 0o750);
    let (_, printed) =
        crate::program::finish(&place, place.shipper(&[&arguments[..], &["--file-mode", "0640"]].concat()));
    assert!(!printed.contains("file accessible to others"), "{printed}");
    let (code, printed) =
        crate::program::finish(&place, place.shipper(&["run", "--to", "sqlite:x", "--file-mode", "0700"]));
    assert!(code == 2 && printed.contains("file_mode: \"0700\" is not a file mode"), "{printed}");
}
