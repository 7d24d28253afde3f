//! The request's ids are in every response, log line, task and outgoing request.

use actix_web::body::to_bytes;
use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig, get};
use actix_web::{App, HttpRequest, HttpResponse, error};
use observability::{ProjectFromPath, RequestContext, client};
use tracing::dispatcher::with_default;

use crate::support::{Rig, Server, wait_until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn in_system<F: Future>(rig: &Rig, work: impl FnOnce() -> F) -> F::Output {
    with_default(&rig.dispatch, || actix_rt::System::new().block_on(work()))
}

fn request(path: &str) -> TestRequest {
    TestRequest::with_uri(path)
        .insert_header(("X-Request-Id", "r-1"))
        .insert_header(("X-Project-Id", "p-1"))
        .insert_header(("traceparent", format!("00-{TRACE}-{SPAN}-01")))
}

#[test]
fn an_error_of_a_middleware_has_the_request_id_and_is_counted() {
    let rig = Rig::new();
    in_system(&rig, || async {
        let failing =
            |_: ServiceRequest, _: &_| async { Err::<ServiceResponse, _>(error::ErrorBadGateway("upstream")) };
        let app = App::new().route("/x", get().to(HttpResponse::Ok)).wrap_fn(failing).wrap(rig.obs.middleware());
        let app = init_service(app).await;
        let Err(error) = app.call(request("/x").to_request()).await else { panic!("the middleware fails") };
        assert_eq!(rig.counts(&[]), [0.0; 3], "there is no response yet");
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers().get("X-Request-Id").unwrap(), "r-1");
        assert_eq!(to_bytes(response.into_body()).await.unwrap(), "upstream");
        // an outer middleware may call it again
        assert_eq!(error.error_response().headers().get("X-Request-Id").unwrap(), "r-1");
    });
    let labels = [("status", "502"), ("endpoint", "/x"), ("project_id", "p-1")];
    assert_eq!((rig.counts(&labels), rig.counts(&[])), ([1.0; 3], [1.0; 3]));
    assert_eq!(rig.access_lines().len(), 1);
}

#[test]
fn the_ids_are_in_every_line_at_every_level() {
    for level in ["error", "warn", "info", "trace", "other=trace", "off,it=error", "[inner]=debug"] {
        let rig = Rig::with(|settings| settings.log_filter = level.to_owned());
        in_system(&rig, || async {
            let handler = |context: RequestContext| async move {
                let inner = tracing::debug_span!("inner", of = "the handler");
                inner.in_scope(|| tracing::error!("within"));
                tracing::info!("at info");
                context.request_id().to_owned()
            };
            let app = App::new().route("/x", get().to(handler)).wrap(rig.obs.middleware());
            let response = init_service(app).await.call(request("/x").to_request()).await.unwrap();
            assert_eq!(to_bytes(response.into_body()).await.unwrap(), "r-1");
        });
        assert_eq!(rig.lines_with_message("within").len(), if level.starts_with("other") { 0 } else { 1 }, "{level}");
        for line in rig.log_lines() {
            assert_eq!((&line["request_id"], &line["project_id"]), (&"r-1".into(), &"p-1".into()), "{level}: {line}");
            assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &SPAN.into()), "{level}: {line}");
        }
    }
}

#[test]
fn without_a_project_the_label_is_none_and_the_field_null() {
    let rig = Rig::new();
    in_system(&rig, || async {
        let app = init_service(App::new().wrap(rig.obs.middleware())).await;
        let request = TestRequest::with_uri("/x").insert_header(("X-Project-Id", "not valid"));
        let request = request.insert_header(("traceparent", "00-zz-zz-01"));
        drop(app.call(request.to_request()).await.unwrap());
    });
    assert_eq!(rig.counts(&[("project_id", "none")]), [1.0; 3]);
    let line = &rig.access_lines()[0];
    assert!(line["project_id"].is_null() && line.get("trace_id").is_none() && line.get("span_id").is_none(), "{line}");
}

#[test]
fn the_project_in_the_path_takes_precedence_over_the_header() {
    let rig = Rig::new();
    in_system(&rig, || async {
        let handler = |context: RequestContext| async move {
            tracing::info!("in the handler");
            context.project_id().unwrap_or("?").to_owned()
        };
        let scope = web::scope("/projects/{project_id}").wrap(ProjectFromPath).route("/x", get().to(handler));
        let app = init_service(App::new().service(scope).wrap(rig.obs.middleware())).await;
        for (path, project) in [("/projects/p-2/x", "p-2"), ("/projects/a%20b/x", "p-1")] {
            let response = app.call(request(path).to_request()).await.unwrap();
            assert_eq!(to_bytes(response.into_body()).await.unwrap(), project, "{path}");
            assert_eq!(rig.counts(&[("project_id", project), ("endpoint", "/projects/{project_id}/x")]), [1.0; 3]);
        }
    });
    let projects: Vec<_> =
        rig.lines_with_message("in the handler").iter().map(|line| line["project_id"].clone()).collect();
    assert_eq!(projects, ["p-2", "p-1"]);
}

#[test]
fn tasks_and_blocking_code_keep_the_ids() {
    let rig = Rig::new();
    in_system(&rig, || async {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let receiver = std::sync::Mutex::new(Some(receiver));
        let (tasks, handles) = std::sync::mpsc::channel();
        let handler = move || {
            let (receiver, tasks) = (receiver.lock().unwrap().take().unwrap(), tasks.clone());
            async move {
                let task = observability::spawn(async move {
                    receiver.await.unwrap();
                    tracing::info!("from a task");
                    observability::spawn_blocking(|| tracing::info!("from a thread")).await.unwrap();
                    RequestContext::current().unwrap().request_id().to_owned()
                });
                tasks.send(task).unwrap();
                HttpResponse::Accepted().finish()
            }
        };
        // one factory call: the test's service has one worker
        let app = App::new().route("/x", get().to(handler_once(handler))).wrap(rig.obs.middleware());
        let app = init_service(app).await;
        let response = app.call(request("/x").to_request()).await.unwrap();
        drop(to_bytes(response.into_body()).await);
        assert_eq!(rig.counts(&[]), [1.0; 3], "the request has ended");
        sender.send(()).unwrap();
        assert_eq!(handles.recv().unwrap().await.unwrap(), "r-1");
    });
    for message in ["from a task", "from a thread"] {
        let lines = rig.lines_with_message(message);
        assert_eq!(lines.len(), 1, "{message}");
        assert_eq!((&lines[0]["request_id"], &lines[0]["project_id"]), (&"r-1".into(), &"p-1".into()));
    }
    assert!(RequestContext::current().is_none());
}

/// Makes a handler cloneable by sharing it.
fn handler_once<F, R>(handler: F) -> impl Fn() -> R + Clone
where
    F: Fn() -> R,
{
    let handler = std::rc::Rc::new(handler);
    move || handler()
}

fn echo_routes(app: &mut ServiceConfig) {
    let echo = |request: HttpRequest| async move {
        let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        ["x-request-id", "traceparent", "tracestate", "baggage"].map(header).join(" ")
    };
    app.route("/echo", get().to(echo));
}

#[test]
fn the_client_forwards_the_ids() {
    let upstream = Rig::new();
    let server = Server::start(&upstream, echo_routes);
    let rig = Rig::new();
    let url = format!("http://{}/echo", server.address);
    in_system(&rig, || async {
        let client = client::Client::default();
        let relayed = url.clone();
        let handler = move |client: web::Data<client::Client>| {
            let url = relayed.clone();
            async move { client.get(url).send().await.unwrap().text().await.unwrap() }
        };
        let app = App::new().app_data(web::Data::new(client.clone())).route("/x", get().to(handler));
        let app = init_service(app.wrap(rig.obs.middleware())).await;
        let request = request("/x").insert_header(("tracestate", "a=1"));
        let response = app.call(request.to_request()).await.unwrap();
        let echoed = to_bytes(response.into_body()).await.unwrap();
        assert_eq!(echoed, format!("r-1 00-{TRACE}-{SPAN}-01 a=1 -"));

        let outside = client.get(&url).send().await.unwrap().text().await.unwrap();
        assert!(
            outside.ends_with(" - - -") && outside.starts_with("- "),
            "nothing is added outside a request: {outside}"
        );
    });
    wait_until("both are counted", || upstream.counts(&[]) == [2.0; 3]);
}

/// The headers that the client forwards for a request with these headers.
fn forwarded(rig: &Rig, headers: &[(&'static str, &'static str)]) -> String {
    let upstream = Rig::new();
    let server = Server::start(&upstream, echo_routes);
    let url = format!("http://{}/echo", server.address);
    in_system(rig, || async {
        let handler = move || {
            let url = url.clone();
            async move { client::Client::default().get(url).send().await.unwrap().text().await.unwrap() }
        };
        let app = init_service(App::new().route("/x", get().to(handler)).wrap(rig.obs.middleware())).await;
        let request = headers.iter().fold(request("/x"), |request, header| request.append_header(*header));
        let response = app.call(request.to_request()).await.unwrap();
        String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap()
    })
}

#[test]
fn only_valid_tracestate_and_enabled_baggage_are_forwarded() {
    let trace = format!("00-{TRACE}-{SPAN}-01");
    let rig = Rig::new();
    for (headers, state) in [
        (&[("tracestate", "a=1"), ("tracestate", "b=2")][..], "a=1,b=2"),
        (&[("tracestate", "a=1"), ("tracestate", "a=2")], "-"),
        (&[("tracestate", "not valid")], "-"),
    ] {
        assert_eq!(forwarded(&rig, headers), format!("r-1 {trace} {state} -"), "{headers:?}");
    }
    let headers = [("baggage", "user=1"), ("baggage", "plan=x;p")];
    assert_eq!(forwarded(&rig, &headers), format!("r-1 {trace} - -"));
    let forwarding = Rig::with(|settings| settings.forward_baggage = true);
    assert_eq!(forwarded(&forwarding, &headers), format!("r-1 {trace} - user=1,plan=x;p"));
    assert_eq!(forwarded(&forwarding, &[("baggage", "not valid")]), format!("r-1 {trace} - -"));
}

#[test]
fn without_the_middleware_the_extractor_fails() {
    let rig = Rig::new();
    in_system(&rig, || async {
        let handler = |_: RequestContext| async { "" };
        let app = init_service(App::new().route("/x", get().to(handler))).await;
        let response = app.call(request("/x").to_request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    });
}
