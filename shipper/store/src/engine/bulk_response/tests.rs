//! Tests of single responses, and of arbitrary ones.

use proptest::prelude::*;

use super::*;

fn response(items: &[&str]) -> Vec<u8> {
    format!("{{\"errors\":true,\"items\":[{}]}}", items.join(",")).into_bytes()
}

fn error(status: u16, kind: &str, reason: &str) -> String {
    format!("{{\"create\":{{\"status\":{status},\"error\":{{\"type\":\"{kind}\",\"reason\":\"{reason}\"}}}}}}")
}

#[test]
fn a_response_without_errors_stores_all_lines() {
    let body = br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
    assert_eq!(parse(body, 2), Ok(vec![Disposition::Stored; 2]));
    assert!(matches!(parse(body, 3), Err(WriteError::Unavailable(_))));
    assert!(matches!(parse(&body[..body.len() - 1], 2), Err(WriteError::Unavailable(_))));
}

#[test]
fn each_line_has_its_own_disposition() {
    let conflict = error(409, "version_conflict_engine_exception", "document already exists");
    let busy = error(429, "es_rejected_execution_exception", "queue full");
    let mapping = error(400, "document_parsing_exception", "failed to parse field [status]");
    let body = response(&["{\"create\":{\"status\":201}}", &conflict, &busy, &mapping]);
    let read = parse(&body, 4).unwrap();
    assert_eq!(read[..2], [Disposition::Stored, Disposition::AlreadyStored]);
    assert!(matches!(&read[2], Disposition::Retry(cause) if cause.status == 429));
    assert!(matches!(&read[3], Disposition::DeadLetter(cause) if cause.reason.contains("failed to parse field")));
}

#[test]
fn transient_errors_are_retried() {
    for (status, kind) in [
        (429, "es_rejected_execution_exception"),
        (429, "circuit_breaking_exception"),
        (400, "rejected_execution_exception"),
        (503, "unavailable_shards_exception"),
        (503, "cluster_block_exception"),
        (500, "some_exception"),
    ] {
        let read = parse(&response(&[&error(status, kind, "busy")]), 1).unwrap();
        assert!(matches!(&read[..], [Disposition::Retry(cause)] if cause.status == status), "{kind}: {read:?}");
    }
}

#[test]
fn blocks_refuse_their_index_or_all_lines() {
    for (status, kind, reason) in [
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];"),
        (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];"),
        (429, "cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded …];"),
        (403, "index_create_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];"),
        (404, "index_not_found_exception", "no such index [x]"),
        (400, "index_closed_exception", "closed"),
        (400, "illegal_argument_exception", "pipeline with id [app-logs] does not exist"),
        (
            400,
            "validation_exception",
            "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] \
             maximum normal shards open;",
        ),
        (
            400,
            "validation_exception",
            "Validation Failed: 1: this action would add [2] total shards, but this cluster currently has \
             [1000]/[1000] maximum shards open;",
        ),
        (403, "security_exception", "action is unauthorized"),
    ] {
        let item = error(status, kind, reason);
        let refused = parse(&response(&[&item, &item]), 2);
        if reason.starts_with("blocked by: [FORBIDDEN/6") || kind == "illegal_argument_exception" {
            assert!(matches!(refused, Err(WriteError::Refused(_))), "{kind}: {refused:?}");
        } else {
            let refused = refused.unwrap();
            let is_shut = |one: &Disposition| {
                let kinds = [CauseKind::Block, CauseKind::MissingIndex, CauseKind::ShardLimit, CauseKind::Rights];
                matches!(one, Disposition::Retry(cause) if kinds.contains(&cause.kind))
            };
            assert!(refused.iter().all(is_shut), "{kind}: {refused:?}");
        }
        let mixed = parse(&response(&["{\"create\":{\"status\":201}}", &item]), 2).unwrap();
        assert!(matches!(mixed[..], [Disposition::Stored, Disposition::Retry(_)]), "{kind}");
    }
}

#[test]
fn one_stored_line_rules_out_a_general_refusal() {
    let through = "{\"create\":{\"status\":201}}".to_owned();
    let refused = error(400, "illegal_argument_exception", "pipeline with id [app-logs] does not exist");
    let busy = error(429, "es_rejected_execution_exception", "queue full");
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let items = order.map(|place| [&through, &refused, &busy][place].as_str());
        let read = parse(&response(&items), 3).unwrap();
        let stored = order.iter().position(|place| *place == 0).unwrap();
        for (place, disposition) in read.iter().enumerate() {
            assert_eq!(*disposition == Disposition::Stored, place == stored, "{order:?}: {read:?}");
        }
    }
    assert!(matches!(parse(&response(&[&busy, &refused, &busy]), 3), Err(WriteError::Refused(_))));
}

#[test]
fn unexpected_statuses_settle_nothing() {
    for status in [0, 100, 202, 204, 302, 308, 399, 600, 999] {
        for item in [format!("{{\"create\":{{\"status\":{status}}}}}"), error(status, "some_exception", "words")] {
            let read = parse(&response(&[&item]), 1).unwrap();
            assert!(matches!(&read[..], [Disposition::Retry(_)]), "{item}: {read:?}");
        }
    }
    // Created and refused at the same time; a conflict that is not about ids.
    for (status, kind) in [(201, "mapper_parsing_exception"), (409, "some_exception")] {
        let read = parse(&response(&[&error(status, kind, "words")]), 1).unwrap();
        assert!(matches!(&read[..], [Disposition::Retry(_)]), "{status}: {read:?}");
    }
    for body in [
        r#"{"errors":false,"items":[{"index":{"status":201}}]}"#,
        r#"{"errors":false,"items":[{"create":{"status":-1}}]}"#,
        r#"{"errors":false,"items":[{"create":{"status":65737}}]}"#,
        r#"{"errors":false,"items":[{"create":{"status":"201"}}]}"#,
        r#"{"errors":false,"items":[{"create":{"status":201}}]} and more"#,
        r#"{"errors":false,"items":[{"create":{"status":201}}],"items":[]}"#,
        r#"{"errors":false,"items":[]}"#,
        r#"{"errors":false}"#,
        r#"[{"create":{"status":201}}]"#,
        "<html>200</html>",
        "",
    ] {
        assert!(matches!(parse(body.as_bytes(), 1), Err(WriteError::Unavailable(_))), "{body}");
    }
}

#[test]
fn items_are_read_whatever_the_errors_flag_says() {
    let mapping = error(400, "document_parsing_exception", "failed to parse field [status]");
    let body = format!("{{\"errors\":false,\"items\":[{{\"create\":{{\"status\":201}}}},{mapping}]}}");
    let mixed = parse(body.as_bytes(), 2).unwrap();
    assert!(matches!(mixed[..], [Disposition::Stored, Disposition::DeadLetter(_)]), "{mixed:?}");
    assert_eq!(parse(&response(&["{\"create\":{\"status\":201}}"]), 1), Ok(vec![Disposition::Stored]));
}

#[test]
fn a_line_in_the_failure_store_is_not_stored() {
    let body = br#"{"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}},
        {"create":{"status":201,"failure_store":"not_applicable_or_unknown"}}]}"#;
    let read = parse(body, 2).unwrap();
    assert!(matches!(&read[..], [Disposition::DeadLetter(cause), Disposition::Stored] if cause.status == 201));
}

#[test]
fn a_reason_does_not_repeat_the_line() {
    let reason = r#"Unrecognized token 'tru'\n at [Source: (byte[])\"{\"password\":tru}\"; line: 1, column: 10]"#;
    let read = parse(&response(&[&error(400, "document_parsing_exception", reason)]), 1).unwrap();
    let [Disposition::DeadLetter(cause)] = &read[..] else { panic!("{read:?}") };
    assert_eq!(cause.reason, "document_parsing_exception: Unrecognized token 'tru'");
}

#[test]
fn a_quoted_line_can_not_cause_a_refusal() {
    for quoted in ["pipeline with id [x] does not exist", "Validation Failed: 1: this action would add [2] shards"] {
        let item = error(400, "document_parsing_exception", &format!("failed to parse field: '{quoted}'"));
        let read = parse(&response(&[&item]), 1).unwrap();
        assert!(matches!(read[..], [Disposition::DeadLetter(_)]), "{read:?}");
    }
}

proptest! {
    #[test]
    fn parsing_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&bytes, 1);
    }

    #[test]
    fn a_truncated_response_stores_nothing(lines in 1_usize..6, cut in 1_usize..40) {
        let items = vec!["{\"create\":{\"status\":201}}"; lines].join(",");
        let body = format!("{{\"errors\":false,\"items\":[{items}]}}").into_bytes();
        prop_assert_eq!(parse(&body, lines), Ok(vec![Disposition::Stored; lines]));
        let kept = body.len().saturating_sub(cut);
        prop_assert!(parse(&body[..kept], lines).is_err());
    }
}
