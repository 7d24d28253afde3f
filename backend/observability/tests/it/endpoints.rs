//! The endpoint of a request, wherever it ended: the matched route pattern, or `unmatched`.

use std::io::{Read as _, Write as _};

use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse};
use actix_web::error::ResponseError;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig, get, post};
use actix_web::{App, Error, HttpResponse, error};
use futures_util::FutureExt as _;
use tracing::dispatcher::with_default;

use crate::support::{Rig, Server, wait_until};

/// Routes in which two patterns match the same path with different methods, and a scope has its own default.
fn routes(app: &mut ServiceConfig) {
    let panics = || async { if true { panic!("on purpose") } else { "" } };
    app.route("/a/{x}", get().to(HttpResponse::Ok))
        .route("/a/b", post().to(|body: web::Bytes| async move { body.len().to_string() }))
        .route("/a/c", web::put().to(panics))
        .route("/a/d", web::delete().to(std::future::pending::<&str>))
        .service(web::resource("/r/{x}").route(get().to(HttpResponse::Ok)).route(post().to(panics)))
        .service(
            web::scope("/s")
                .route("/{x}", get().to(HttpResponse::Ok))
                .service(web::scope("/t").route("/u", post().to(panics)))
                .route("/only", post().to(panics))
                .default_service(web::to(HttpResponse::ImATeapot)),
        )
        .route("/s/outer", get().to(HttpResponse::Ok))
        .route("/lonely/{x}", post().to(panics))
        .default_service(web::to(HttpResponse::Gone));
}

/// The endpoint and status label of the only counted request.
fn counted(rig: &Rig) -> (String, String) {
    let families = rig.obs.registry().gather();
    let family = families.iter().find(|family| family.name() == "request_count").unwrap();
    assert_eq!(family.get_metric().len(), 1, "{family:?}");
    let label = |name: &str| {
        let label = family.get_metric()[0].get_label().iter().find(|label| label.name() == name);
        label.unwrap().value().to_owned()
    };
    let (endpoint, status) = (label("endpoint"), label("status"));
    let access = rig.access_lines();
    assert_eq!(access.len(), 1, "{access:?}");
    assert_eq!(access[0]["endpoint"], endpoint.as_str());
    (endpoint, status)
}

#[test]
fn an_answered_request_is_counted_under_its_route() {
    for (method, path, endpoint, status) in [
        ("GET", "/a/b", "/a/{x}", "200"),
        ("POST", "/a/b", "/a/b", "200"),
        ("POST", "/a/z", "unmatched", "410"),
        ("PUT", "/r/1", "/r/{x}", "405"),
        ("GET", "/s/1", "/s/{x}", "200"),
        ("POST", "/s/1", "unmatched", "418"),
        ("GET", "/s/nothing/here", "unmatched", "418"),
        ("GET", "/s/outer", "/s/{x}", "200"),
        ("GET", "/nowhere", "unmatched", "410"),
        ("GET", "/a/%62", "/a/{x}", "200"),
        ("GET", "/lonely/1", "unmatched", "410"),
    ] {
        let rig = Rig::new();
        with_default(&rig.dispatch, || {
            actix_rt::System::new().block_on(async {
                let app = init_service(App::new().configure(routes).wrap(rig.obs.middleware())).await;
                let request = TestRequest::with_uri(path).method(method.parse().unwrap());
                drop(app.call(request.to_request()).await.unwrap());
            });
        });
        assert_eq!(counted(&rig), (endpoint.to_owned(), status.to_owned()), "{method} {path}");
    }
}

#[test]
fn a_request_that_panics_or_is_dropped_is_never_counted_under_another_route() {
    for (method, path, endpoints) in [
        ("PUT", "/a/c", ["/a/c", "unmatched"]),
        ("DELETE", "/a/d", ["/a/d", "unmatched"]),
        ("POST", "/r/1", ["/r/{x}"; 2]),
        ("POST", "/s/t/u", ["/s/t/u"; 2]),
        ("POST", "/s/only", ["/s/only", "unmatched"]),
        ("POST", "/lonely/1", ["/lonely/{x}"; 2]),
        ("POST", "/lonely/%31", ["/lonely/{x}"; 2]),
    ] {
        let rig = Rig::new();
        with_default(&rig.dispatch, || {
            actix_rt::System::new().block_on(async {
                let app = init_service(App::new().configure(routes).wrap(rig.obs.middleware())).await;
                let request = TestRequest::with_uri(path).method(method.parse().unwrap());
                match app.call(request.to_request()).now_or_never() {
                    Some(Err(error)) => drop(error.error_response()),
                    Some(Ok(_)) => panic!("{method} {path} was answered"),
                    None => {}
                }
            });
        });
        let (endpoint, _) = counted(&rig);
        assert!(endpoints.contains(&endpoint.as_str()), "{method} {path}: {endpoint}");
    }
}

#[test]
fn a_response_of_a_middleware_before_routing_is_never_counted_under_another_route() {
    async fn responds(request: ServiceRequest, _: Next<actix_web::body::BoxBody>) -> Result<ServiceResponse, Error> {
        Ok(request.into_response(HttpResponse::Unauthorized().finish()))
    }
    async fn fails(_: ServiceRequest, _: Next<actix_web::body::BoxBody>) -> Result<ServiceResponse, Error> {
        Err(error::ErrorUnauthorized("unknown caller"))
    }
    for path in ["/a/b", "/a/c", "/s/only", "/nowhere"] {
        for has_response in [true, false] {
            let rig = Rig::new();
            with_default(&rig.dispatch, || {
                actix_rt::System::new().block_on(async {
                    let request = TestRequest::with_uri(path).method("POST".parse().unwrap()).to_request();
                    let app = App::new().configure(routes);
                    if has_response {
                        let app = init_service(app.wrap(from_fn(responds)).wrap(rig.obs.middleware())).await;
                        drop(app.call(request).await.unwrap());
                    } else {
                        let app = init_service(app.wrap(from_fn(fails)).wrap(rig.obs.middleware())).await;
                        let Err(error) = app.call(request).await else { panic!("the middleware fails") };
                        assert_eq!(error.error_response().status(), StatusCode::UNAUTHORIZED);
                    }
                });
            });
            let (endpoint, status) = counted(&rig);
            assert!(["unmatched", path].contains(&endpoint.as_str()), "{path}: {endpoint}");
            assert_eq!(status, "401");
        }
    }
}

/// An error that panics when it is turned into a response.
#[derive(Debug)]
struct Explosive;

impl std::fmt::Display for Explosive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("explosive")
    }
}

impl ResponseError for Explosive {
    fn status_code(&self) -> StatusCode {
        panic!("no status")
    }

    fn error_response(&self) -> HttpResponse {
        panic!("no response")
    }
}

#[test]
fn an_error_of_a_middleware_that_panics_is_counted_and_logged_as_a_panic() {
    let rig = Rig::new();
    let server = Server::start(&rig, |app| {
        let explode = |_: ServiceRequest, _: &_| async { Err::<ServiceResponse, Error>(Explosive.into()) };
        app.service(web::resource("/x").route(get().to(HttpResponse::Ok)).wrap_fn(explode));
    });
    let answer = server.send("GET /x");
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("x-request-id: r-1\r\n"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    rig.wait_for("request_count", 1.0);
    assert_eq!(rig.counts(&[("status", "500")]), [1.0; 3]);
    assert_eq!(rig.metric("panics_total", &[]), 1.0);
    wait_until("an access line", || !rig.access_lines().is_empty());
    assert_eq!(rig.access_lines()[0]["outcome"], "panic");
    let panics: Vec<_> = rig.log_lines().into_iter().filter(|line| line["target"] == "panic").collect();
    assert!(!panics.is_empty() && panics.iter().all(|line| line["request_id"] == "r-1"), "{panics:?}");
}

/// Routes that read a body in different ways.
fn uploads() -> [fn(&mut ServiceConfig); 3] {
    [
        |app| {
            app.route("/up", post().to(|body: web::Bytes| async move { body.len().to_string() }));
        },
        |app| {
            // the handler rejects a malformed body
            let reject = |mut payload: web::Payload| async move {
                use futures_util::StreamExt as _;
                while let Some(chunk) = payload.next().await {
                    if chunk.is_err() {
                        return HttpResponse::BadRequest().finish();
                    }
                }
                HttpResponse::Ok().finish()
            };
            app.route("/up", post().to(reject));
        },
        |app| {
            let config = web::JsonConfig::default().error_handler(|_, _| error::ErrorImATeapot("invalid body"));
            app.app_data(config).route("/up", post().to(|_: web::Json<Vec<u8>>| async { "" }));
        },
    ]
}

#[test]
fn a_client_that_disconnects_during_an_upload_is_counted_as_gone() {
    for routes in uploads() {
        for half_closed in [true, false] {
            let rig = Rig::new();
            let server = Server::start_with(&rig, routes, half_closed);
            let head = "POST /up HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\nContent-Type: application/json\r\n";
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            write!(stream, "{head}Content-Length: 1000\r\n\r\n[1,2,").unwrap();
            rig.wait_for("requests_in_flight", 1.0);
            drop(stream);
            rig.wait_for("request_count", 1.0);
            assert_eq!(rig.counts(&[("endpoint", "/up"), ("status", "none")]), [1.0, 1.0, 0.0]);
            wait_until("an access line", || !rig.access_lines().is_empty());
            assert_eq!(rig.access_lines()[0]["outcome"], "client_gone");
        }
    }
}

#[test]
fn a_client_that_sends_a_malformed_body_is_not_counted_as_gone() {
    for routes in uploads() {
        for chunk in ["ZZ\r\n", "5\r\n[1,2,x\r\n", "FFFFFFFFFFFFFFFFF\r\n"] {
            let rig = Rig::new();
            let server = Server::start_with(&rig, routes, true);
            let head = "POST /up HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\nContent-Type: application/json\r\n";
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            let status = std::str::from_utf8(&answer[9..]).unwrap();
            assert!(["400", "418"].contains(&status), "{chunk:?}: {status}");
            rig.wait_for("request_count", 1.0);
            assert_eq!(rig.counts(&[("endpoint", "/up"), ("status", status)]), [1.0; 3], "{chunk:?}");
            wait_until("an access line", || !rig.access_lines().is_empty());
            assert_ne!(rig.access_lines()[0]["outcome"], "client_gone", "{chunk:?}");
        }
    }
}
