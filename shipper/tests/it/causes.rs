//! Each cause of pending lines has one label in the metrics, the log and `/readyz`, derived from the engine's answer.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use rustix::process::Signal;
use store::CauseKind;

use crate::program::{Place, free_address, get, start, until};
use crate::run::metric;

/// What an engine answers to a batch.
#[derive(Clone, Copy)]
enum Says {
    /// This status and body.
    Whole(u16, &'static str),
    /// This status for each line, with an error of this type and reason.
    Each(u16, &'static str, &'static str),
    /// Half of an answer.
    Cut,
    /// Nothing.
    Silence,
    /// The connection is refused.
    Nobody,
}

use Says::{Cut, Each, Nobody, Silence, Whole};

const BLOCK: &str = "cluster_block_exception";

/// Causes and their labels.
const TABLE: [(&str, &str, Says); 24] = [
    ("nobody there", "unreachable", Nobody),
    ("no answer", "timed_out", Silence),
    ("a cut answer", "unreadable", Cut),
    ("no JSON", "unreadable", Whole(200, "<html>welcome</html>")),
    ("an answer of no lines", "unreadable", Whole(200, r#"{"errors":false,"items":[]}"#)),
    ("a status that no line has", "unreadable", Each(302, "found", "elsewhere")),
    ("too much at once", "busy", Whole(429, "")),
    ("a full queue", "busy", Each(429, "es_rejected_execution_exception", "queue full")),
    ("a circuit breaker", "busy", Each(503, "circuit_breaking_exception", "data too large")),
    ("not all there", "unavailable", Whole(503, "")),
    ("a fault", "failing", Whole(500, "")),
    ("no credentials", "rights", Whole(401, r#"{"error":{"type":"security_exception","reason":"missing"}}"#)),
    ("no rights to the index", "rights", Each(403, "security_exception", "action is unauthorized")),
    ("a read-only index", "block", Each(403, BLOCK, "index [x] blocked by: [FORBIDDEN/5/index read-only (api)];")),
    ("a read-only cluster", "block", Each(403, BLOCK, "blocked by: [FORBIDDEN/6/cluster read-only (api)];")),
    ("the flood stage", "block", Each(429, BLOCK, "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded];")),
    ("a closed index", "block", Each(400, "index_closed_exception", "closed")),
    ("no index, and none made", "missing_index", Each(404, "index_not_found_exception", "no such index [x]")),
    (
        "no room for shards",
        "shard_limit",
        Each(400, "validation_exception", "Validation Failed: 1: this action would add [2] shards, but there are [1]"),
    ),
    (
        "no pipeline",
        "not_in_place",
        Each(400, "illegal_argument_exception", "pipeline with id [app-logs] does not exist"),
    ),
    ("another server", "address", Whole(404, "<html>not found</html>")),
    ("a small limit", "too_large", Whole(413, "")),
    ("a no to everything", "rejected", Whole(400, r#"{"error":{"type":"parse_exception","reason":"words"}}"#)),
    ("no room for dead letters", "dead_letters", Each(400, "document_parsing_exception", "failed to parse [x]")),
];

/// The address of an engine.
fn engine(says: Says) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    match says {
        Nobody => {}
        says => {
            std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, says)));
        }
    }
    url
}

/// Answers one request.
fn answer(mut stream: TcpStream, says: Says) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) && line != "\r\n" {
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    let lines = memchr::memchr_iter(b'\n', &body).count() / 2;
    let (status, body) = match says {
        Whole(status, body) => (status, body.to_owned()),
        Each(status, kind, reason) => {
            let item = format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#);
            (200, format!(r#"{{"errors":true,"items":[{}]}}"#, vec![item; lines].join(",")))
        }
        Cut => (200, r#"{"errors":false,"items":[{"create":{"sta"#.to_owned()),
        // The client closes the connection.
        Silence => return drop(stream.read(&mut [0])),
        Nobody => return,
    };
    let head = format!("HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nconnection: close\r\n");
    // The client may have closed the connection.
    let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
}

#[test]
fn each_cause_has_the_same_label_everywhere() {
    for (what, word, says) in TABLE {
        let place = Place::new();
        let admin = free_address();
        let mut command = place.shipper(&["run", "--bootstrap", "off", "--shutdown-timeout-ms", "0"]);
        command.args(["--request-timeout-ms", "300", "--line-max-bytes=1024", "--dead-letters-max-bytes=65536"]);
        command.args(["--admin-listen", &admin.to_string()]).env("SHIPPER_TO", engine(says)).stdin(Stdio::piped());
        let mut shipper = start(&place, command);
        let mut stdin = shipper.stdin();
        let lines = if word == "dead_letters" {
            "a line of some length that nobody takes\n".repeat(2_000)
        } else {
            "one\n".to_owned()
        };
        stdin.write_all(lines.as_bytes()).unwrap();
        until(&format!("{what} is reported as {word}"), || {
            let (status, ready) = get(admin, "/readyz")?;
            (status == 503 && ready.contains(&format!("[{word}]"))).then_some(())
        });
        let text = get(admin, "/metrics").unwrap().1;
        let troubles: Vec<_> =
            text.lines().filter(|line| line.starts_with("shipper_sink_error{") && line.ends_with(" 1")).collect();
        assert_eq!(troubles, [format!("shipper_sink_error{{cause=\"{word}\"}} 1")], "{what}");
        assert_eq!(metric(&text, "shipper_delivery_paused"), 1.0, "{what}");
        until(&format!("{what} is logged as {word}"), || {
            let log = shipper.stderr();
            let is_it =
                |line: &str| line.contains("delivery paused") && line.contains(&format!("\"cause\":\"{word}\""));
            log.lines().any(is_it).then_some(())
        });
        if word != "dead_letters" {
            assert_eq!(metric(&text, "shipper_lines_pending"), 1.0, "{what}");
        }
        shipper.signal(Signal::TERM);
        assert_eq!(shipper.code(), 3, "{what}: {}", shipper.stderr());
    }
    // Only the causes of the embedded store remain, which no peer can produce; `store_file.rs` tests them.
    let words: BTreeSet<_> = TABLE.iter().map(|(_, word, _)| *word).filter(|word| *word != "dead_letters").collect();
    let own = [CauseKind::Storage, CauseKind::FileReplaced, CauseKind::FolderMissing];
    let all = CauseKind::ALL.iter().filter(|kind| !own.contains(kind)).map(|kind| kind.as_str()).collect();
    assert_eq!(words, all);
}
