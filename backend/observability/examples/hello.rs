//! A minimal service with request ids, metrics and JSON logs: `PORT=8080 cargo run -p observability --example hello`.

use actix_web::{App, HttpServer, Responder, web};
use observability::Observability;

async fn hello(name: web::Path<String>) -> impl Responder {
    tracing::info!(%name, "greeting");
    format!("hello, {name}\n")
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let obs = Observability::from_env("hello")?;
    let port: u16 = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = move || {
        App::new().route("/hello/{name}", web::get().to(hello)).configure(obs.metrics_route()).wrap(obs.middleware())
    };
    HttpServer::new(app).bind(("127.0.0.1", port))?.run().await?;
    Ok(())
}
