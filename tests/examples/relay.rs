//! Another service that uses the library, for features the log explorer does not use: it calls another service, spawns
//! tasks, and streams bodies that fail or never end. `LISTEN` is its address, `UPSTREAM` the URL it calls.

use std::time::Duration;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, error};
use futures_util::stream::{self, StreamExt};
use observability::Observability;
use observability::client::Client;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let observability = Observability::from_env("relay")?;
    let client = Client::default();
    let app = move || {
        App::new()
            .app_data(Data::new(client.clone()))
            .route("/healthz", web::get().to(HttpResponse::Ok))
            .route("/relay", web::get().to(relay))
            .route("/spawned", web::get().to(spawned))
            .route("/cut", web::get().to(cut))
            .route("/endless", web::get().to(endless))
            .configure(observability.metrics_route())
            .wrap(observability.middleware())
    };
    HttpServer::new(app).workers(1).bind(std::env::var("LISTEN")?)?.run().await?;
    Ok(())
}

/// Calls the upstream service with the ids of the current request.
async fn relay(client: Data<Client>) -> actix_web::Result<HttpResponse> {
    let upstream = std::env::var("UPSTREAM").map_err(error::ErrorInternalServerError)?;
    let response = client.get(upstream).send().await.map_err(error::ErrorBadGateway)?;
    tracing::info!(upstream_status = response.status().as_u16(), "relayed");
    Ok(HttpResponse::Ok().finish())
}

/// Responds before the spawned tasks log their lines.
async fn spawned() -> HttpResponse {
    observability::spawn(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        tracing::warn!("from a task");
    });
    observability::spawn_blocking(|| tracing::warn!("from a thread"));
    HttpResponse::Accepted().finish()
}

/// A body that fails after its first chunk.
async fn cut() -> HttpResponse {
    let parts = [Ok(Bytes::from_static(b"beginning")), Err(error::ErrorInternalServerError("no more"))];
    HttpResponse::Ok().streaming(stream::iter(parts))
}

/// A body that ends only when the client disconnects.
async fn endless() -> HttpResponse {
    let parts = stream::repeat(Bytes::from_static(&[b'x'; 1024])).then(|part| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, actix_web::Error>(part)
    });
    HttpResponse::Ok().streaming(parts)
}
