//! Invented project ids use up no label set of a known project and are not logged.

use actix_web::body::to_bytes;
use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig, get};
use actix_web::{App, Error, HttpMessage as _, HttpResponse};
use observability::{ObservabilityMiddleware, ProjectClaim, ProjectFromPath, RequestContext};
use tracing::dispatcher::with_default;

use crate::support::Rig;

/// Authorizes a token for the project of the same name, and the token `*` for any project.
async fn authenticate(
    request: ServiceRequest,
    next: Next<actix_web::body::BoxBody>,
) -> Result<ServiceResponse<actix_web::body::BoxBody>, Error> {
    tracing::info!("authenticating");
    let token = request.headers().get("Authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_open = request.path() == "/open";
    match token {
        Some(token) => {
            let context = request.extensions().get::<RequestContext>().unwrap().clone();
            context.set_project_check(move |project| match token.as_str() {
                "*" => ProjectClaim::Unverified,
                own if own == project => ProjectClaim::Verified,
                _ => ProjectClaim::Refused,
            });
            // a second check is ignored
            context.set_project_check(|_| ProjectClaim::Verified);
        }
        None if is_open => {}
        None => return Ok(request.into_response(HttpResponse::Unauthorized().finish())),
    }
    next.call(request).await
}

/// A handler that finds the request's project.
async fn found(context: RequestContext) -> &'static str {
    context.confirm_project();
    ""
}

fn routes(app: &mut ServiceConfig) {
    let handler = |context: RequestContext| async move {
        tracing::info!("handled");
        context.project_id().unwrap_or("-").to_owned()
    };
    app.route("/open", get().to(handler))
        .route("/own", get().to(handler))
        .route("/found", get().to(found))
        .service(web::scope("/found/{project_id}").wrap(ProjectFromPath).route("", get().to(found)))
        .service(web::scope("/p/{project_id}").wrap(ProjectFromPath).route("/x", get().to(handler)))
        .service(
            web::scope("/late/{project_id}")
                .wrap(from_fn(authenticate))
                .wrap(ProjectFromPath)
                .route("/x", get().to(handler)),
        )
        .default_service(web::to(|| async {
            tracing::info!("nothing here");
            HttpResponse::NotFound().finish()
        }));
}

/// Sends requests, each with a path, a token and a project in the header; what each was answered.
fn send(rig: &Rig, middleware: ObservabilityMiddleware, requests: &[(&str, &str, &str)]) -> Vec<String> {
    with_default(&rig.dispatch, || {
        actix_rt::System::new().block_on(async {
            let app = App::new().configure(routes).wrap(from_fn(authenticate)).wrap(middleware);
            let app = init_service(app).await;
            let mut answers = Vec::new();
            for (path, token, project) in requests {
                let mut request = TestRequest::with_uri(path);
                if !token.is_empty() {
                    request = request.insert_header(("Authorization", *token));
                }
                if !project.is_empty() {
                    request = request.insert_header(("X-Project-Id", *project));
                }
                let response = app.call(request.to_request()).await.unwrap();
                answers.push(String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap());
            }
            answers
        })
    })
}

#[test]
fn a_project_is_used_only_if_the_caller_is_authorized() {
    for (path, token, header, project) in [
        ("/open", "", "victim", None),
        ("/open", "mine", "mine", Some("mine")),
        ("/open", "mine", "victim", None),
        ("/own", "", "victim", None),
        ("/own", "mine", "mine", Some("mine")),
        ("/own", "mine", "victim", None),
        ("/own", "*", "any", Some("any")),
        ("/p/mine/x", "mine", "", Some("mine")),
        ("/p/victim/x", "mine", "", None),
        ("/p/victim/x", "mine", "mine", Some("mine")),
        ("/p/victim/x", "", "", None),
        ("/late/mine/x", "mine", "", Some("mine")),
        ("/late/victim/x", "mine", "", None),
        // no route
        ("/nowhere", "", "victim", None),
        ("/nowhere", "mine", "mine", None),
        ("/p/mine/nothing", "mine", "", None),
        ("/p/victim/nothing", "", "victim", None),
    ] {
        let rig = Rig::new();
        let answers = send(&rig, rig.obs.middleware().require_project_check(), &[(path, token, header)]);
        let routed = !token.is_empty() && path != "/nowhere" && !path.ends_with("/nothing");
        if routed {
            assert_eq!(answers[0], project.unwrap_or("-"), "{path} {token} {header}");
        }
        let label = project.unwrap_or("none");
        assert_eq!(rig.counts(&[("project_id", label)]), [1.0; 3], "{path} {token} {header}");
        for line in rig.log_lines() {
            let shown = line["project_id"].as_str();
            assert_ne!(shown, Some("victim"), "{path} {token} {header}: {line}");
            if line["message"] == "handled" {
                assert_eq!(shown, project, "{path} {token} {header}: {line}");
            }
        }
        assert_eq!(rig.access_lines()[0]["project_id"].as_str(), project, "{path} {token} {header}");
    }
}

#[test]
fn without_a_check_a_project_is_used_if_a_route_matches() {
    for (method, path, project) in [
        ("GET", "/x", Some("p-1")),
        ("POST", "/x", None),
        ("GET", "/nowhere", None),
        ("GET", "/s/nowhere", None),
        ("GET", "/s/y", Some("p-1")),
    ] {
        let rig = Rig::new();
        with_default(&rig.dispatch, || {
            actix_rt::System::new().block_on(async {
                let handler = || async {
                    tracing::info!("handled");
                    ""
                };
                let app = App::new()
                    .route("/x", get().to(handler))
                    .service(
                        web::scope("/s").route("/y", get().to(handler)).default_service(web::to(HttpResponse::Gone)),
                    )
                    .wrap(rig.obs.middleware());
                let request = TestRequest::with_uri(path).method(method.parse().unwrap());
                let request = request.insert_header(("X-Project-Id", "p-1")).to_request();
                drop(init_service(app).await.call(request).await.unwrap());
            });
        });
        assert_eq!(rig.counts(&[("project_id", project.unwrap_or("none"))]), [1.0; 3], "{method} {path}");
        assert_eq!(rig.access_lines()[0]["project_id"].as_str(), project, "{method} {path}");
        assert!(rig.lines_with_message("handled").iter().all(|line| line["project_id"] == "p-1"));
    }
}

#[test]
fn a_known_project_gets_its_series_after_ten_thousand_invented_ones() {
    let rig = Rig::with(|settings| settings.log_filter = "warn".to_owned());
    let invented: Vec<_> = (0..10_000).map(|n| format!("invented-{n}")).collect();
    let flood = |token: &'static str, path: &'static str| {
        invented.iter().map(move |project| (path, token, project.as_str())).collect::<Vec<_>>()
    };
    let middleware = || rig.obs.middleware().require_project_check();
    send(&rig, middleware(), &flood("", "/open"));
    send(&rig, middleware(), &flood("", "/own"));
    send(&rig, middleware(), &flood("mine", "/nowhere"));
    assert_eq!(rig.counts(&[("project_id", "none")]), [30_000.0; 3], "invented projects use no label set");
    assert_eq!(rig.metric("label_sets_folded_total", &[]), 0.0);
    // a caller that is authorized for any project and invents them
    send(&rig, middleware(), &flood("*", "/own"));
    assert!(rig.metric("label_sets_folded_total", &[]) > 9_000.0);
    send(&rig, middleware(), &[("/own", "real", "real"), ("/p/invented-9999/x", "invented-9999", "")]);
    for project in ["real", "invented-9999"] {
        assert_eq!(rig.counts(&[("project_id", project)]), [1.0; 3], "{project}");
    }
}

#[test]
fn only_a_project_confirmed_by_a_handler_is_known() {
    let rig = Rig::with(|settings| settings.log_filter = "warn".to_owned());
    let invented: Vec<_> = (0..3_000).map(|n| format!("invented-{n}")).collect();
    let flood: Vec<_> = invented.iter().map(|project| ("/own", "*", project.as_str())).collect();
    let middleware = || rig.obs.middleware().require_project_check();
    send(&rig, middleware(), &flood);
    assert!(rig.metric("label_sets_folded_total", &[]) > 1_000.0);
    let found = [("/found", "*", "in-header"), ("/found/in-path", "*", "other-1"), ("/found/victim", "mine", "mine")];
    send(&rig, middleware(), &found);
    send(
        &rig,
        middleware(),
        &[("/found", "mine", "victim"), ("/own", "*", "not-found"), ("/found/nowhere", "", "nobody")],
    );
    for (project, requests) in
        [("in-header", 1.0), ("in-path", 1.0), ("mine", 1.0), ("other-1", 0.0), ("victim", 0.0), ("not-found", 0.0)]
    {
        assert_eq!(rig.counts(&[("project_id", project)]), [requests; 3], "{project}");
    }
}

#[test]
fn ignored_ids_are_counted_by_reason_once_per_request() {
    for (trusted, path, token, headers, counted) in [
        (true, "/own", "mine", vec![("X-Request-Id", "r"), ("X-Project-Id", "mine")], vec![]),
        (true, "/own", "mine", vec![], vec![]),
        (true, "/own", "mine", vec![("X-Request-Id", "a b")], vec![("request_id", "invalid")]),
        (true, "/own", "mine", vec![("X-Request-Id", "a"), ("X-Request-Id", "b")], vec![("request_id", "invalid")]),
        (false, "/own", "mine", vec![("X-Request-Id", "r")], vec![("request_id", "untrusted")]),
        (false, "/own", "mine", vec![("X-Request-Id", "")], vec![("request_id", "invalid")]),
        (true, "/own", "mine", vec![("X-Project-Id", "a b")], vec![("project_id", "invalid")]),
        (true, "/own", "mine", vec![("X-Project-Id", "victim")], vec![("project_id", "refused")]),
        (true, "/own", "", vec![("X-Project-Id", "mine")], vec![("project_id", "unmatched")]),
        (true, "/nowhere", "mine", vec![("X-Project-Id", "mine")], vec![("project_id", "unmatched")]),
        (true, "/p/victim/x", "mine", vec![], vec![("project_id", "refused")]),
        (true, "/p/victim/x", "mine", vec![("X-Project-Id", "mine")], vec![]),
        (
            false,
            "/nowhere",
            "mine",
            vec![("X-Project-Id", "mine"), ("X-Request-Id", "r")],
            vec![("request_id", "untrusted"), ("project_id", "unmatched")],
        ),
    ] {
        let rig = Rig::with(|settings| settings.trust_request_id = trusted);
        with_default(&rig.dispatch, || {
            actix_rt::System::new().block_on(async {
                let middleware = rig.obs.middleware().require_project_check();
                let app = App::new().configure(routes).wrap(from_fn(authenticate)).wrap(middleware);
                let mut request = TestRequest::with_uri(path);
                if !token.is_empty() {
                    request = request.insert_header(("Authorization", token));
                }
                for header in &headers {
                    request = request.append_header(*header);
                }
                let response = init_service(app).await.call(request.to_request()).await.unwrap();
                to_bytes(response.into_body()).await.unwrap();
            });
        });
        for (id, reason) in [
            ("request_id", "invalid"),
            ("request_id", "untrusted"),
            ("project_id", "invalid"),
            ("project_id", "refused"),
            ("project_id", "unmatched"),
        ] {
            let expected = f64::from(u8::from(counted.contains(&(id, reason))));
            let labels = [("id", id), ("reason", reason)];
            assert_eq!(rig.metric("ids_ignored_total", &labels), expected, "{path} {headers:?} {labels:?}");
        }
    }
}

#[test]
fn untrusted_ids_are_replaced() {
    let rig = Rig::with(|settings| settings.trust_request_id = false);
    with_default(&rig.dispatch, || {
        actix_rt::System::new().block_on(async {
            let app = App::new().configure(routes).wrap(rig.obs.middleware());
            let app = init_service(app).await;
            let request = TestRequest::with_uri("/open")
                .insert_header(("X-Request-Id", "r-1"))
                .insert_header(("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
            let response = app.call(request.to_request()).await.unwrap();
            assert_ne!(response.headers().get("X-Request-Id").unwrap(), "r-1");
        });
    });
    for line in rig.log_lines() {
        assert!(line["request_id"] != "r-1" && line.get("trace_id").is_none(), "{line}");
    }
}
