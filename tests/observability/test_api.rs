//! The API as its description says it: every route is described, and every answer of the running service is of the form
//! that is described. Queries that try to be something else are refused in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use observability_tests::http::Answer;
use observability_tests::program::executable;
use observability_tests::schema::repository;
use serde_json::{Value, json};

use crate::rig::Backend;

/// The service over a store of its own that has lines.
struct Explorer {
    backend: Backend,
    description: Value,
    _folder: tempfile::TempDir,
}

impl Explorer {
    /// With so many lines, one after the other of each level.
    fn with(lines: usize) -> Self {
        Self::saying((0..lines).map(|line| format!("order {line} was paid")))
    }

    /// With lines of these messages, one after the other of each level.
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

    /// The answer of a route, which has to be as it is described.
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

/// What a route takes after its `?`, as it says itself when it is asked for something else.
fn taken(explorer: &Explorer, route: &str) -> BTreeSet<String> {
    let path = route.replace("{generation}", "0193a1b2c3d4e5f60718293a4b5c6d7e").replace("{offset}", "0");
    let path = path.replace("{request_id}", "r-1").replace("{project_id}", "a");
    let refused = explorer.backend.get(&format!("{path}?nonsense=1"));
    let detail = refused.json()["detail"].as_str().map(str::to_owned);
    let detail = detail.filter(|_| refused.status == 400).unwrap_or_else(|| panic!("{route}: {}", refused.text()));
    let names = detail.split_once("expected").unwrap_or_else(|| panic!("{route}: {detail}")).1;
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
        ("/api/logs?limit=ten", "limit is a number from 1 to 1000"),
        ("/api/logs?limit=1001", "limit is a number from 1 to 1000"),
        ("/api/logs?limit=-1", "limit is a number"),
        ("/api/facets?top=1e3", "top is a number from 1 to 1000"),
        ("/api/histogram?step_s=0", "step_s is a number from 1 to"),
        ("/api/stats?by=time&step_s=x", "step_s is a number"),
        ("/api/stats?by=colour", "by is total, endpoint, project or time"),
        ("/api/patterns?top=0", "top is a number"),
        ("/api/projects/a/logs?limit=0", "limit is a number from 1 to 1000"),
        (&format!("{around}?before=1001"), "before is a number from 0 to 1000"),
        (&format!("{around}?after=x"), "after is a number from 0 to 1000"),
        ("/api/logs?order=up", "order is newest or oldest"),
        ("/api/logs?cursor=x", "not a cursor"),
        ("/api/logs?level=loud", "level"),
        ("/api/logs?status=teapot", "status is such as"),
        ("/api/logs?from=2026-13-01", "from is wrong at column 6: there should be a month from 01 to 12"),
        (
            "/api/logs?to=2026-11-23T18:00:00+01:00",
            "to is wrong at column 20: there should be a fraction, Z, an offset",
        ),
        ("/api/logs?from=2026-11-24&to=2026-11-23", "from has to be before to; exchanged, they are a range"),
        ("/api/facets?from=2026-11-24&to=2026-11-24", "from has to be before to"),
        ("/api/projects/a/logs?from=2026-11-24&to=2026-11-23", "from has to be before to"),
        ("/api/logs?query=a%20AND", "invalid query at column"),
        ("/api/facets?fields=colour", "a field is one of"),
        ("/api/logs?colour=red", "unknown field `colour`"),
        ("/api/logs?level=warn&level=error", "duplicate field `level`"),
        ("/api/tail?last=1h", "unknown field `last`"),
    ] {
        let answer = explorer.backend.get(path);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains(words), "{path}: {} {detail}", answer.status);
    }
    // The same on the pages, which stay pages.
    for (path, words, marked) in [
        ("/search?from=2026-13-01", "from is wrong at column 6", Some("2026-13-01\n     ^")),
        ("/search?to=soon", "to is wrong at column 1", Some("soon\n^")),
        ("/search?from=2026-11-24&to=2026-11-23&q=%28", "from has to be before to", None),
        ("/search?q=a%20AND", "at column", Some("a AND\n     ^")),
        ("/search?last=2y", "last is one of 15m", None),
        ("/search?status=teapot", "a status is a number such as 404", None),
        ("/search?level=loud", "level", None),
        ("/search?cursor=x", "not a cursor", None),
        ("/search?cursor=1.000&before=1.000", "not both", None),
        ("/search?colour=red", "unknown field `colour`", None),
        ("/tail?q=a%20AND", "at column", None),
        ("/?since=2026-13-01", "since is wrong at column 6", None),
        ("/?last=2y", "last is one of 15m", None),
        (
            &format!("{}?before=501", around.trim_start_matches("/api").trim_end_matches("/around")),
            "before is a number from 0 to 500",
            None,
        ),
    ] {
        let answer = explorer.backend.get_with(path, &[("Accept", "text/html")]);
        let text = answer.text().replace("&#38;", "&").replace("&#60;", "<");
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
    assert_eq!(explorer.get("/api/tail", "/api/tail?q=%28").status, 400);
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
    let said = wrong.json().to_string();
    assert!(wrong.status == 400 && said.contains("at column 3") && said.contains("parcel.number"), "{said}");
    let facets = explorer.get("/api/facets", "/api/facets?fields=parcel.carrier,gift&query=parcel.number:%3C9").json();
    assert_eq!(
        (&facets["facets"][0]["values"], &facets["facets"][1]["values"]),
        (
            &json!([{ "value": "ox", "lines": 6 }, { "value": "yak", "lines": 3 }]),
            &json!([{ "value": "false", "lines": 6 }, { "value": "true", "lines": 3 }])
        )
    );
    // Numbers are not counted by their values.
    let wrong = explorer.get("/api/facets", "/api/facets?fields=parcel.number");
    assert!(wrong.status == 400 && wrong.json().to_string().contains("gift, parcel.carrier"));
    assert_eq!(explorer.get("/api/tail", "/api/tail?q=parcel.weight:7").status, 400);
    assert_eq!(explorer.backend.get("/search?q=parcel.carrier%3Ayak&last=all").status, 200);
    assert_eq!(explorer.backend.get("/search?q=parcel.weight%3A7&last=all").status, 400);
    assert_eq!(explorer.backend.get("/tail?q=parcel.weight%3A7").status, 400);
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
fn patterns_that_were_not_told_apart_are_not_called_exactly_counted() {
    let explorer = Explorer::saying((0..20_600).map(|n: usize| match n {
        20_500.. => "the same".to_owned(),
        // A word of its own for each.
        _ => format!(
            "said {}",
            n.to_string().chars().map(|digit| char::from(b'a' + digit as u8 - b'0')).collect::<String>()
        ),
    }));
    let found = explorer.get("/api/patterns", "/api/patterns?top=5").json();
    assert_eq!((&found["patterns"][0]["pattern"], &found["patterns"][0]["lines"]), (&json!("the same"), &json!(100)));
    // 20,000 were told apart: the same, and 19,999 of those that differ.
    assert_eq!((&found["not_told_apart"], &found["counted"]["exact"]), (&json!(501), &json!(false)), "{found}");
    assert_eq!(found["others"], 20_500 - 4, "{found}");
    assert_eq!(explorer.get("/api/patterns", "/api/patterns?query=same").json()["counted"]["exact"], json!(true));
}

#[test]
fn a_wrong_query_is_shown_with_its_place() {
    let explorer = Explorer::with(1);
    let problem = explorer.get("/api/logs", "/api/logs?query=a%20colour:red").json();
    assert_eq!((&problem["status"], &problem["query"]["column"]), (&json!(400), &json!(3)), "{problem}");
    assert!(problem["query"]["expected"].as_str().unwrap().contains("a field is one of service"), "{problem}");
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
