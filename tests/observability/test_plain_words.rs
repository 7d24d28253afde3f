//! Messages of pages and routes if the store is empty or can't be read. Errors of parameters are in
//! `test_line_query.rs` and `test_api.rs`.

use observability_tests::http::Answer;
use tempfile::TempDir;

use crate::rig::Backend;

const SOURCE: &str = "0193a1b2c3d4e5f60718293a4b5c6d7e/0";

/// The service without a store file.
fn over_nothing() -> (TempDir, Backend) {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(&[("STORE", &format!("sqlite:{}", folder.path().join("logs.db").display()))]);
    (folder, backend)
}

fn get(backend: &Backend, path: &str) -> Answer {
    let accept = if path.starts_with("/api/") { "application/json" } else { "text/html" };
    let answer = backend.get_with(path, &[("Accept", accept)]);
    let kind = answer.header("content-type").unwrap().to_owned();
    let expected = match (path.starts_with("/api/"), answer.status) {
        (false, _) => "text/html; charset=utf-8",
        (true, 200) => "application/json",
        (true, _) => "application/problem+json",
    };
    assert_eq!(kind, expected, "{path}");
    answer
}

#[test]
fn a_store_that_has_nothing_yet_is_said_to_have_nothing_yet() {
    let (_folder, backend) = over_nothing();
    for (path, status, words) in [
        ("/", 200, "No logs in this range. New lines usually appear within two seconds"),
        ("/search?last=all", 200, "No logs stored yet. New lines usually appear within two seconds"),
        ("/search?query=paid", 200, "No matching lines in this range"),
        ("/requests/r-1", 404, "Request not found"),
        (&format!("/sources/{SOURCE}"), 404, "no line at this offset, or your token cannot see it"),
        ("/api/logs", 200, "{\"lines\":[],\"next\":null}"),
        ("/api/facets", 200, "\"lines\":0,"),
        ("/api/histogram", 200, "\"buckets\":[]"),
        ("/api/stats", 200, "\"count\":0"),
        ("/api/patterns", 200, "\"patterns\":[]"),
        ("/api/requests/r-1", 200, "\"lines\":[]"),
        ("/api/projects/a/logs", 200, "\"lines\":[]"),
        (&format!("/api/sources/{SOURCE}/around"), 200, "\"lines\":[]"),
        ("/nowhere", 404, "page not found"),
        ("/api/nowhere", 404, "page not found"),
    ] {
        let answer = get(&backend, path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let ready = backend.get("/readyz");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("no_store_yet")), "{}", ready.text());
    for path in ["/", "/search", "/tail", "/requests/r-1"] {
        assert!(get(&backend, path).text().contains("no store yet: its file does not exist"), "{path}");
    }
    assert!(backend.program.stdout().contains("no store yet"), "{}", backend.program.stdout());
}

#[test]
fn a_store_that_can_not_be_read_is_said_to_be_down_and_why() {
    let (folder, backend) = over_nothing();
    std::fs::write(folder.path().join("logs.db"), "a letter, not a database\n".repeat(100)).unwrap();
    for path in [
        "/",
        "/search",
        "/search?query=level%3Aerror",
        "/requests/r-1",
        &format!("/sources/{SOURCE}"),
        "/api/logs",
        "/api/facets",
        "/api/histogram",
        "/api/stats",
        "/api/patterns",
        "/api/requests/r-1",
        "/api/projects/a/logs",
        &format!("/api/sources/{SOURCE}/around"),
    ] {
        let answer = get(&backend, path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.text().contains("not a database"), "{path}: {}", answer.text());
        let is_page = !path.starts_with("/api/");
        assert!(!is_page || answer.text().contains("Log storage is not responding"), "{path}");
    }
    assert_eq!((backend.get("/readyz").status, backend.get("/healthz").status), (503, 200));
    // An invalid query is rejected whatever the state of the store.
    assert_eq!(backend.get("/api/logs?query=%28").status, 400);
    // The store is opened again for each request.
    std::fs::remove_file(folder.path().join("logs.db")).unwrap();
    assert_eq!(get(&backend, "/search").status, 200);
}

#[test]
fn a_store_without_a_folder_is_not_ready() {
    let (folder, backend) = over_nothing();
    std::fs::remove_dir(folder.path()).unwrap();
    let ready = backend.get("/readyz");
    assert!(
        ready.status == 503 && ready.text().contains("no store yet: its directory does not exist"),
        "{}",
        ready.text()
    );
    assert!(get(&backend, "/").text().contains("no store yet: its directory does not exist"));
    std::fs::create_dir(folder.path()).unwrap();
    assert_eq!(backend.get("/readyz").status, 200);
}
