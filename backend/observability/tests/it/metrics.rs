//! Metrics: the contract names all of them, where they are served, and the limit of label sets.

use std::collections::BTreeSet;

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{ServiceConfig, get};
use actix_web::{App, Error, HttpMessage as _, HttpResponse};
use observability::{ProjectClaim, RequestContext};
use proptest::prelude::*;
use tracing::dispatcher::with_default;

use crate::support::{Rig, Server, wait_until};

const CONTRACT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/003-improve-observability-prometheus/contracts/metrics.md");

fn routes(app: &mut ServiceConfig) {
    app.route("/a", get().to(HttpResponse::Ok)).route("/healthz", get().to(HttpResponse::Ok));
}

/// Names of the metrics in the first table of the contract.
fn names_in_contract() -> BTreeSet<String> {
    let page = std::fs::read_to_string(CONTRACT).unwrap();
    let table = page.split("\n## ").nth(1).unwrap();
    let name = |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split('`').next().map(str::to_owned));
    table.lines().filter_map(name).collect()
}

#[test]
fn the_contract_names_every_exposed_metric() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    server.send("GET /a");
    rig.wait_for("request_count", 1.0);
    let answer = server.send("GET /metrics");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    let exposed = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let (process, exposed): (BTreeSet<_>, BTreeSet<_>) =
        exposed.map(str::to_owned).partition(|name| name.starts_with("process_"));
    assert!(!process.is_empty());
    let mut contract = names_in_contract();
    assert!(contract.remove("process_*"));
    assert_eq!(exposed, contract);
    for name in &exposed {
        assert!(answer.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn fixed_label_sets_start_at_zero() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    let answer = server.send("GET /metrics");
    for line in [
        "panics_total{service=\"tested\"} 0",
        "requests_in_flight{service=\"tested\"} 1",
        "label_sets_folded_total{folded=\"all\",service=\"tested\"} 0",
        "label_sets_folded_total{folded=\"project_id\",service=\"tested\"} 0",
        "ids_ignored_total{id=\"project_id\",reason=\"unmatched\",service=\"tested\"} 0",
        "ids_ignored_total{id=\"request_id\",reason=\"untrusted\",service=\"tested\"} 0",
        "log_lines_dropped_total{reason=\"closed\",service=\"tested\"} 0",
        "log_lines_dropped_total{reason=\"full\",service=\"tested\"} 0",
        "log_lines_written_total{service=\"tested\"} 0",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line}: {answer}");
    }
}

#[test]
fn an_admin_address_serves_the_metrics_instead_of_the_service() {
    let rig = Rig::with(|settings| settings.admin_listen = Some("127.0.0.1:0".parse().unwrap()));
    let server = Server::start(&rig, routes);
    assert!(server.send("GET /metrics").starts_with("HTTP/1.1 404"));
    rig.wait_for("request_count", 1.0);
    let address = rig.obs.admin_address().unwrap();
    let text = actix_rt::System::new()
        .block_on(async { reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap() });
    assert!(text.contains("\nrequest_count{endpoint=\"unmatched\""), "{text}");
}

#[test]
fn excluded_endpoints_are_counted_without_an_access_line() {
    let rig = Rig::new();
    let server = Server::start(&rig, routes);
    for path in ["/healthz", "/metrics", "/a"] {
        server.send(&format!("GET {path}"));
    }
    rig.wait_for("request_count", 3.0);
    wait_until("an access line", || !rig.access_lines().is_empty());
    let access = rig.access_lines();
    assert_eq!(access.len(), 1, "{access:?}");
    assert_eq!(access[0]["endpoint"], "/a");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// For any requests there are at most `limit` label sets, and every request is counted in one of them.
    #[test]
    fn the_limit_of_label_sets_holds_and_every_request_is_counted(
        limit in 8_usize..40,
        requests in proptest::collection::vec((0_u8..4, 0_u8..30, 0_u8..3), 1..200),
    ) {
        let rig = Rig::with(|settings| {
            settings.label_sets = limit;
            settings.known_projects = ["p-0".to_owned()].into();
        });
        let total = requests.len() as f64;
        actix_rt::System::new().block_on(async {
            let app = ["/a", "/b", "/c"].into_iter().fold(App::new(), |app, path| app.route(path, get().to(HttpResponse::Ok)));
            let app = init_service(app.wrap(rig.obs.middleware())).await;
            for (path, project, method) in requests {
                let method = ["GET", "POST", "BREW"][usize::from(method)];
                let request = TestRequest::with_uri(["/a", "/b", "/c", "/nowhere"][usize::from(path)])
                    .method(method.parse().unwrap())
                    .insert_header(("X-Project-Id", format!("p-{project}")));
                let response = app.call(request.to_request()).await.unwrap();
                drop(to_bytes(response.into_body()).await);
            }
        });
        prop_assert_eq!(rig.counts(&[]), [total; 3]);
        prop_assert_eq!(rig.metric("label_sets_folded_total", &[("folded", "all")]), rig.metric("request_count", &[("endpoint", "other")]));
        for family in rig.obs.registry().gather() {
            if ["request_count", "request_duration_seconds", "response_status_count"].contains(&family.name()) {
                prop_assert!(family.get_metric().len() <= limit, "{} has {}", family.name(), family.get_metric().len());
            }
        }
    }
}

/// Verifies the project of authenticated callers, and leaves it unverified for others.
async fn verify_known(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_verified = request.headers().contains_key("Authorization");
    if let Some(context) = request.extensions().get::<RequestContext>() {
        let claim = if is_verified { ProjectClaim::Verified } else { ProjectClaim::Unverified };
        context.set_project_check(move |_| claim);
    }
    next.call(request).await
}

#[test]
fn a_project_folded_for_one_caller_is_not_folded_once_it_is_verified() {
    let rig = Rig::with(|settings| settings.label_sets = 8);
    with_default(&rig.dispatch, || {
        actix_rt::System::new().block_on(async {
            let app = App::new().configure(routes).wrap(from_fn(verify_known)).wrap(rig.obs.middleware());
            let app = init_service(app).await;
            let send = async |project: String, verified: bool| {
                let mut request = TestRequest::with_uri("/a").insert_header(("X-Project-Id", project));
                if verified {
                    request = request.insert_header(("Authorization", "yes"));
                }
                to_bytes(app.call(request.to_request()).await.unwrap().into_body()).await.unwrap();
            };
            for number in 0..20 {
                send(format!("p-{number}"), false).await;
            }
            send("known".to_owned(), false).await;
            assert_eq!(rig.metric("request_count", &[("project_id", "known")]), 0.0);
            send("known".to_owned(), true).await;
            send("known".to_owned(), false).await;
        });
    });
    assert!(rig.metric("request_count", &[("project_id", "known")]) >= 1.0);
}
