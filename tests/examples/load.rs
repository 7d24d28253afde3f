//! The service of the load test. With `OBSERVABILITY=off` it runs without the library and is otherwise identical, so the
//! difference is the library's cost. `LISTEN` is its address. It has one worker, because the load test gives it one core;
//! the library's threads run in addition.

use actix_web::{App, HttpResponse, HttpServer, web};
use observability::Observability;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::var("LISTEN")?;
    let server = match std::env::var("OBSERVABILITY").as_deref() {
        Ok("off") => HttpServer::new(|| App::new().configure(routes)).workers(1).bind(listen)?.run(),
        _ => {
            let obs = Observability::from_env("load")?;
            let app = move || App::new().configure(routes).configure(obs.metrics_route()).wrap(obs.middleware());
            HttpServer::new(app).workers(1).bind(listen)?.run()
        }
    };
    Ok(server.await?)
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/healthz", web::get().to(HttpResponse::Ok))
        .route("/projects/{project_id}/things/{thing}", web::get().to(thing));
}

async fn thing(path: web::Path<(String, u32)>) -> HttpResponse {
    let (project_id, thing) = path.into_inner();
    HttpResponse::Ok().json([("project_id", project_id), ("thing", thing.to_string())])
}
