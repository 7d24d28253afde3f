//! The API matches its OpenAPI description: every route is described, and every answer of the running service has the
//! described form. Hostile queries are rejected with an error.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use observability_tests::http::Answer;
use observability_tests::program::executable;
use observability_tests::schema::repository;
use serde_json::{Value, json};

use crate::rig::Backend;

/// The service with a store that has lines.
struct Explorer {
    backend: Backend,
    description: Value,
    _folder: tempfile::TempDir,
}

impl Explorer {
    /// With this many lines, of each level in turn.
    fn with(lines: usize) -> Self {
        Self::saying((0..lines).map(|line| format!("order {line} was paid")))
    }

    /// With lines of these messages, of each level in turn.
    fn saying(messages: impl Iterator<Item = String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for (line, message) in messages.enumerate() {
            let level = ["trace", "debug", "info", "warn", "error"][line % 5];
            let line = json!({
                "timestamp": format!("2026-11-23T12:{:02}:{:02}.000Z", line / 60 % 60, line % 60), "service": "shop",
                "level": level, "message": message, "request_id": format!("r-{}", line % 7),
                "project_id": (["a", "b"][line % 2]), "target": "access", "method": "GET", "endpoint": "/orders/{id}",
                "status": ([200, 503][line % 2]), "duration_ms": line, "outcome": "answered",
                "parcel": { "number": line, "carrier": (["ox", "yak", "ox"][line % 3]) }, "gift": line % 4 == 0,
            });
            writeln!(text, "{line}").unwrap();
        }
        std::fs::write(folder.path().join("lines"), text).unwrap();
        let store = format!("sqlite:{}", folder.path().join("logs.db").display());
        let shipped = Command::new(executable("shipper"))
            .args(["exec", "--to", &store, "--state-dir", "state", "--field", "parcel.number=long"])
            .args(["--field", "parcel.carrier=keyword", "--field", "gift=boolean", "--", "cat", "lines"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .status();
        assert!(shipped.unwrap().success());
        let backend = Backend::start(&[("STORE", &store)]);
        let description = backend.get("/api/openapi.json").json();
        Self { backend, description, _folder: folder }
    }

    /// The answer of a route, which has to match its description.
    #[track_caller]
    fn get(&self, route: &str, path: &str) -> Answer {
        let answer = self.backend.get(path);
        self.check(route, &answer);
        answer
    }

    #[track_caller]
    fn check(&self, route: &str, answer: &Answer) {
        let responses = &self.description["paths"][route]["get"]["responses"];
        let response = responses.get(answer.status.to_string()).unwrap_or(&responses["default"]);
        let kind = answer.header("content-type").unwrap().split(';').next().unwrap();
        let mut schema = response["content"][kind]["schema"].clone();
        assert!(schema.is_object(), "{route}: {} {kind} is not described: {response}", answer.status);
        schema["components"] = self.description["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let body = answer.json();
        let errors: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{route}: {errors:#?}\n{body}");
    }
}

#[test]
fn every_route_of_the_api_is_described() {
    let explorer = Explorer::with(1);
    assert_eq!(explorer.description["openapi"].as_str().unwrap().split('.').take(2).collect::<Vec<_>>(), ["3", "1"]);
    let app = std::fs::read_to_string(repository().join("backend/src/app.rs")).unwrap();
    let routes: BTreeSet<_> = app.split("resource(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let is_api =
        |route: &&str| (route.starts_with("/api/") || route.ends_with('z')) && !route.starts_with("/api/faults/");
    let routes: BTreeSet<_> = routes.into_iter().filter(is_api).collect();
    let described: BTreeSet<_> =
        explorer.description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(routes, described);
}

/// The parameters of a route, as it lists them in the error for an unknown one.
fn taken(explorer: &Explorer, route: &str) -> BTreeSet<String> {
    let path = route.replace("{generation}", "0193a1b2c3d4e5f60718293a4b5c6d7e").replace("{offset}", "0");
    let path = path.replace("{request_id}", "r-1").replace("{project_id}", "a");
    let refused = explorer.backend.get(&format!("{path}?nonsense=1"));
    let detail = refused.json()["detail"].as_str().map(str::to_owned);
    let detail = detail.filter(|_| refused.status == 400).unwrap_or_else(|| panic!("{route}: {}", refused.text()));
    let names = detail.split_once("this route takes").unwrap_or_else(|| panic!("{route}: {detail}")).1;
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_parameter_is_described_and_every_one_that_is_described_is_taken() {
    let explorer = Explorer::with(1);
    let mut with_parameters = 0;
    for (route, methods) in explorer.description["paths"].as_object().unwrap() {
        let Some(of_get) = methods.get("get") else { continue };
        let parameters = of_get["parameters"].as_array().cloned().unwrap_or_default();
        let described = |kind: &str| -> BTreeSet<String> {
            let own = parameters.iter().filter(|parameter| parameter["in"] == kind);
            own.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let in_path: BTreeSet<_> =
            route.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
        assert_eq!(in_path, described("path"), "{route}");
        for parameter in &parameters {
            let (schema, words) = (&parameter["schema"], &parameter["description"]);
            assert!(words.as_str().is_some_and(|words| words.len() > 5), "{route}: {parameter}");
            let is_number = schema["type"].to_string().contains("integer") && parameter["in"] == "query";
            assert!(!is_number || schema["maximum"].is_number(), "{route}: without a limit: {parameter}");
        }
        if described("query").is_empty() {
            continue;
        }
        with_parameters += 1;
        assert_eq!(taken(&explorer, route), described("query"), "{route}");
    }
    assert_eq!(with_parameters, 9);
}

#[test]
fn a_wrong_parameter_is_told_by_its_name_with_what_would_be_right() {
    let explorer = Explorer::with(1);
    let around = "/api/sources/0193a1b2c3d4e5f60718293a4b5c6d7e/0/around";
    for (path, words) in [
        ("/api/logs?limit=ten", "invalid limit: expected a number from 1 to 1000"),
        ("/api/logs?limit=1001", "invalid limit: expected a number from 1 to 1000"),
        ("/api/logs?limit=-1", "invalid limit: expected a number"),
        ("/api/facets?top=1e3", "invalid top: expected a number from 1 to 1000"),
        ("/api/histogram?step_s=0", "invalid step_s: expected a number from 1 to"),
        ("/api/stats?by=time&step_s=x", "invalid step_s: expected a number"),
        ("/api/stats?by=colour", "invalid by: expected total, endpoint, project or time"),
        ("/api/patterns?top=0", "invalid top: expected a number"),
        ("/api/projects/a/logs?limit=0", "invalid limit: expected a number from 1 to 1000"),
        (&format!("{around}?before=1001"), "invalid before: expected a number from 0 to 1000"),
        (&format!("{around}?after=x"), "invalid after: expected a number from 0 to 1000"),
        ("/api/logs?order=up", "invalid order: expected newest or oldest"),
        ("/api/logs?cursor=x", "invalid cursor"),
        ("/api/logs?level=loud", "invalid level: expected one of trace, debug, info, warn, error"),
        ("/api/logs?status=teapot", "invalid status: expected 404, 5xx"),
        ("/api/logs?from=2026-13-01", "invalid time in \"from\" at column 6: expected a month from 01 to 12"),
        (
            "/api/logs?to=2026-11-23T18:00:00+01:00",
            "invalid time in \"to\" at column 20: expected a fraction, Z, an offset",
        ),
        ("/api/logs?from=2026-11-24&to=2026-11-23", "from is after to; swap them"),
        ("/api/facets?from=2026-11-24&to=2026-11-24", "the time range is empty"),
        ("/api/projects/a/logs?from=2026-11-24&to=2026-11-23", "from is after to"),
        ("/api/logs?query=a%20AND", "invalid query at column"),
        ("/api/facets?fields=colour", "invalid fields: expected status, "),
        ("/api/logs?colour=red", "unknown parameter `colour`"),
        ("/api/logs?level=warn&level=error", "duplicate parameter `level`"),
        ("/api/tail?last=1h", "unknown parameter `last`"),
    ] {
        let answer = explorer.backend.get(path);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains(words), "{path}: {} {detail}", answer.status);
    }
    // The same on pages, as HTML.
    for (path, words, marked) in [
        ("/search?from=2026-13-01", "invalid time in \"from\" at column 6", Some("2026-13-01\n     ^")),
        ("/search?to=soon", "invalid time in \"to\" at column 1", Some("soon\n^")),
        ("/search?from=2026-11-24&to=2026-11-23&query=%28", "from is after to", None),
        ("/search?query=a%20AND", "at column", Some("a AND\n     ^")),
        ("/search?last=2y", "invalid last: expected 15m", None),
        ("/search?status=teapot", "invalid status: expected 404", None),
        ("/search?level=loud", "level", None),
        ("/search?cursor=x", "invalid cursor", None),
        ("/search?direction=up", "invalid direction: expected older or newer", None),
        ("/search?colour=red", "unknown parameter `colour`", None),
        ("/tail?query=a%20AND", "at column", None),
        ("/?since=2026-13-01", "invalid time in \"since\" at column 6", None),
        ("/?last=2y", "invalid last: expected 15m", None),
        (
            &format!("{}?before=501", around.trim_start_matches("/api").trim_end_matches("/around")),
            "invalid before: expected a number from 0 to 500",
            None,
        ),
    ] {
        let answer = explorer.backend.get_with(path, &[("Accept", "text/html")]);
        let text =
            answer.text().replace("&#38;", "&").replace("&#60;", "<").replace("&#34;", "\"").replace("&#62;", ">");
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/html; charset=utf-8")), "{path}");
        assert!(text.contains("role=\"alert\"") && text.contains(words), "{path}: {text}");
        assert!(marked.is_none_or(|marked| text.contains(&format!("<pre>{marked}</pre>"))), "{path}: {text}");
        assert!(marked.is_some() || !text.contains("<pre>"), "{path}: {text}");
    }
}

#[test]
fn answers_are_as_they_are_described() {
    let explorer = Explorer::with(40);
    let lines =
        explorer.get("/api/logs", "/api/logs?query=paid%20level:%3E%3Dwarn&project=a&limit=3&order=oldest").json();
    assert_eq!(lines["lines"].as_array().unwrap().len(), 3, "{lines}");
    let next = format!(
        "/api/logs?query=paid%20level:%3E%3Dwarn&project=a&limit=9&order=oldest&cursor={}",
        lines["next"].as_str().unwrap()
    );
    let rest = explorer.get("/api/logs", &next).json();
    assert_eq!((rest["lines"].as_array().unwrap().len(), &rest["next"]), (5, &Value::Null), "{rest}");

    let facets = explorer.get("/api/facets", "/api/facets?fields=level,status,endpoint&top=2").json();
    assert_eq!(facets["lines"], 40);
    assert_eq!(
        facets["facets"][1]["values"],
        json!([{ "value": "200", "lines": 20 }, { "value": "503", "lines": 20 }])
    );
    assert_eq!((&facets["facets"][0]["others"], &facets["counted"]["exact"]), (&json!(24), &json!(true)));

    let histogram = explorer.get("/api/histogram", "/api/histogram?step_s=20&status=5xx").json();
    let counts: Vec<_> =
        histogram["buckets"].as_array().unwrap().iter().map(|bucket| bucket["lines"].clone()).collect();
    assert_eq!(counts, [10, 10]);

    for (by, groups) in [("total", 0), ("endpoint", 1), ("project", 2), ("time", 1)] {
        let stats = explorer.get("/api/stats", &format!("/api/stats?by={by}")).json();
        assert_eq!((&stats["total"]["count"], &stats["total"]["server_errors"]), (&json!(40), &json!(20)), "{stats}");
        assert_eq!(stats["groups"].as_array().unwrap().len(), groups, "{stats}");
    }
    let patterns = explorer.get("/api/patterns", "/api/patterns").json();
    assert_eq!(patterns["patterns"][0]["pattern"], "order # was paid");
    assert_eq!(patterns["patterns"][0]["lines"], 40);

    let origin = &lines["lines"][0]["origin"];
    let path =
        format!("/api/sources/{}/{}/around?before=1&after=2", origin["generation"].as_str().unwrap(), origin["offset"]);
    let around = explorer.get("/api/sources/{generation}/{offset}/around", &path).json();
    assert_eq!(around["lines"].as_array().unwrap().len(), 4, "{around}");
    explorer.get("/api/requests/{request_id}", "/api/requests/r-1");
    explorer.get("/api/projects/{project_id}/logs", "/api/projects/a/logs");
    assert_eq!(explorer.get("/api/tail", "/api/tail?query=%28").status, 400);
    explorer.get("/readyz", "/readyz");
    explorer.get("/healthz", "/healthz");
}

#[test]
fn fields_that_the_shipper_names_are_asked_for_and_counted() {
    let explorer = Explorer::with(40);
    for (query, expected) in [
        ("parcel.number:7", 1),
        ("parcel.number:%3E%3D30", 10),
        ("parcel.carrier:yak", 13),
        ("gift:true%20-parcel.carrier:ox", 3),
    ] {
        let found = explorer.get("/api/logs", &format!("/api/logs?query={query}")).json();
        assert_eq!(found["lines"].as_array().unwrap().len(), expected, "{query}");
    }
    let wrong = explorer.get("/api/logs", "/api/logs?query=a%20parcel.weight:7");
    let body = wrong.json().to_string();
    assert!(wrong.status == 400 && body.contains("at column 3") && body.contains("parcel.number"), "{body}");
    let facets = explorer.get("/api/facets", "/api/facets?fields=parcel.carrier,gift&query=parcel.number:%3C9").json();
    assert_eq!(
        (&facets["facets"][0]["values"], &facets["facets"][1]["values"]),
        (
            &json!([{ "value": "ox", "lines": 6 }, { "value": "yak", "lines": 3 }]),
            &json!([{ "value": "false", "lines": 6 }, { "value": "true", "lines": 3 }])
        )
    );
    // Facets of numbers are not supported.
    let wrong = explorer.get("/api/facets", "/api/facets?fields=parcel.number");
    assert!(wrong.status == 400 && wrong.json().to_string().contains("gift, parcel.carrier"));
    assert_eq!(explorer.get("/api/tail", "/api/tail?query=parcel.weight:7").status, 400);
    assert_eq!(explorer.backend.get("/search?query=parcel.carrier%3Ayak&last=all").status, 200);
    assert_eq!(explorer.backend.get("/search?query=parcel.weight%3A7&last=all").status, 400);
    assert_eq!(explorer.backend.get("/tail?query=parcel.weight%3A7").status, 400);
}

#[test]
fn a_large_result_is_a_stream_of_lines() {
    let explorer = Explorer::with(1_203);
    let as_stream = |path: &str| explorer.backend.get_with(path, &[("Accept", "application/x-ndjson")]);
    for (path, expected) in [("/api/logs", 1_203), ("/api/logs?limit=700", 700), ("/api/logs?query=NOT%20*", 0)] {
        let answer = as_stream(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
        let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let different: BTreeSet<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!((lines.len(), different.len()), (expected, expected), "{path}");
    }
    assert_eq!(as_stream("/api/logs?query=%28").status, 400);
}

#[test]
fn patterns_that_were_uncounted_are_not_called_exactly_counted() {
    let explorer = Explorer::saying((0..20_600).map(|n: usize| match n {
        20_500.. => "the same".to_owned(),
        // A different word each.
        _ => format!(
            "word {}",
            n.to_string().chars().map(|digit| char::from(b'a' + digit as u8 - b'0')).collect::<String>()
        ),
    }));
    let found = explorer.get("/api/patterns", "/api/patterns?top=5").json();
    assert_eq!((&found["patterns"][0]["pattern"], &found["patterns"][0]["lines"]), (&json!("the same"), &json!(100)));
    // 20,000 patterns were distinguished: the frequent one, and 19,999 others.
    assert_eq!((&found["uncounted"], &found["counted"]["exact"]), (&json!(501), &json!(false)), "{found}");
    assert_eq!(found["others"], 20_500 - 4, "{found}");
    assert_eq!(explorer.get("/api/patterns", "/api/patterns?query=same").json()["counted"]["exact"], json!(true));
}

#[test]
fn a_wrong_query_is_shown_with_its_place() {
    let explorer = Explorer::with(1);
    let problem = explorer.get("/api/logs", "/api/logs?query=a%20colour:red").json();
    assert_eq!((&problem["status"], &problem["query"]["column"]), (&json!(400), &json!(3)), "{problem}");
    assert!(problem["query"]["expected"].as_str().unwrap().contains("the fields are service"), "{problem}");
}

#[test]
fn no_question_is_answered_with_an_error_of_the_service() {
    let explorer = Explorer::with(5);
    let texts = [
        "'",
        "\"",
        "\\",
        "((((",
        "))))",
        "*",
        "**",
        "a*",
        "NOT",
        "OR",
        "AND",
        "-",
        "--a",
        "a:b",
        "level:",
        "level:>=",
        "status:9999999999999",
        "status:-1..1",
        "duration_ms:1e999",
        "service:(",
        "service:(a OR b",
        "\0",
        "\u{202e}",
        "';DROP TABLE logs;--",
        "{\"match_all\":{}}",
        "字字字",
        "😀",
        "%",
        "_",
        "message:\"a",
        "status:>=",
        "NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT a",
    ];
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            write!(escaped, "%{byte:02X}").unwrap();
            escaped
        })
    };
    let long = ["x ".repeat(300), "(".repeat(1_000), "字".repeat(401), "a".repeat(5_000)];
    for text in texts.into_iter().map(str::to_owned).chain(long) {
        let text = escaped(&text);
        for route in ["logs", "facets", "histogram", "stats", "patterns"] {
            for parameter in [
                "query", "level", "service", "project", "endpoint", "status", "from", "to", "limit", "cursor",
                "step_s", "top", "fields", "by", "unknown",
            ] {
                // Each parameter once for each text; the query on each route.
                if parameter == "query" || route == "logs" || text.len() < 13 {
                    let answer = explorer.backend.get(&format!("/api/{route}?{parameter}={text}"));
                    assert!(answer.status < 500, "{route} {parameter} {text}: {}", answer.text());
                }
            }
        }
        for path in [format!("/api/sources/{text}/0/around"), format!("/api/requests/{text}")] {
            assert!(explorer.backend.get(&path).status < 500, "{path}");
        }
    }
}
