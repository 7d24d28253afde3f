//! All routes in one place.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use observability::ProjectFromPath;
use store::Store;

use crate::access::{Access, LOGIN_PATH};
use crate::answers::Answers;
use crate::api::{counts, description, logs, sources};
use crate::dead_letters::DeadLetters;
use crate::headers::{FORM, READS, TAKES};
use crate::links::Links;
use crate::page::tail::Tails;
use crate::page::{around, assets, login, overview, search, story, tail};
use crate::problem::Problem;
use crate::projects::ServiceName;
use crate::searches::Searches;
use crate::server::request::Bounds;
use crate::{alerts, extractors, faults, health, projects, requests};

/// The state that routes share. A clone is cheap and shares it.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The store of lines.
    pub store: Store,
    /// Tokens and sessions.
    pub access: Access,
    /// Limits on responses in memory.
    pub answers: Answers,
    /// Limits on concurrent searches.
    pub searches: Searches,
    /// Limits on requests.
    pub bounds: Bounds,
    /// Live tails.
    pub tails: Tails,
    /// Links to other tools.
    pub links: Links,
    /// The shipper's dead letters.
    pub dead_letters: DeadLetters,
    /// The `service` of the lines that this service writes.
    pub service_name: ServiceName,
}

/// Adds the service's routes to an app, with fault injection if `with_faults` is set. The middleware is in `main`.
pub fn routes(parts: Parts, with_faults: bool) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        let Parts { store, access, answers, searches, bounds, tails, links, dead_letters, service_name } = parts;
        app.app_data(web::Data::new(service_name));
        app.app_data(web::Data::new(story::StoryLoader { store: store.clone(), dead_letters, links: links.clone() }));
        app.app_data(web::Data::new(store));
        app.app_data(web::Data::new(access));
        app.app_data(web::Data::new(answers));
        app.app_data(web::Data::new(searches));
        app.app_data(web::Data::new(bounds));
        app.app_data(web::Data::new(tails));
        app.app_data(web::Data::new(links));
        app.configure(extractors::configure);
        app.service(resource("/healthz", READS).route(web::get().to(health::healthz)));
        app.service(resource("/readyz", READS).route(web::get().to(health::readyz)));
        app.service(resource(LOGIN_PATH, FORM).route(web::get().to(login::show)).route(web::post().to(login::log_in)));
        app.service(resource("/logout", TAKES).route(web::post().to(login::log_out)));
        app.service(resource("/", READS).route(web::get().to(overview::show)));
        app.service(resource("/search", READS).route(web::get().to(search::show)));
        app.service(resource("/requests/{request_id}", READS).route(web::get().to(story::show)));
        app.service(resource("/requests/{request_id}/file", READS).route(web::get().to(story::file)));
        app.service(resource("/sources/{generation}/{offset}", READS).route(web::get().to(around::show)));
        app.service(resource("/tail", READS).route(web::get().to(tail::show)));
        app.service(resource("/api/tail", READS).route(web::get().to(tail::events)));
        app.service(resource("/assets/{name}", READS).route(web::get().to(assets::serve)));
        app.service(resource("/api/requests/{request_id}", READS).route(web::get().to(requests::lines)));
        app.service(
            resource("/api/projects/{project_id}/logs", READS)
                .route(web::get().to(projects::logs))
                .wrap(ProjectFromPath),
        );
        app.service(resource("/api/logs", READS).route(web::get().to(logs::logs)));
        app.service(resource("/api/facets", READS).route(web::get().to(counts::facets)));
        app.service(resource("/api/histogram", READS).route(web::get().to(counts::histogram)));
        app.service(resource("/api/stats", READS).route(web::get().to(counts::stats)));
        app.service(resource("/api/patterns", READS).route(web::get().to(counts::patterns)));
        app.service(resource("/api/sources/{generation}/{offset}/around", READS).route(web::get().to(sources::around)));
        app.service(resource("/api/openapi.json", READS).route(web::get().to(description::describe)));
        app.service(resource("/api/alerts", TAKES).route(web::post().to(alerts::receive)));
        if with_faults {
            app.service(web::resource("/api/faults/status/{status}").route(web::route().to(faults::status)));
            app.service(resource("/api/faults/delay/{delay_ms}", READS).route(web::get().to(faults::delay)));
            app.service(resource("/api/faults/panic", READS).route(web::get().to(faults::panic)));
        }
        app.default_service(web::to(not_found));
    }
}

/// Adds the routes of `ADMIN_LISTEN` besides `/metrics` to an app: health, as on the service's own address.
pub fn admin_routes(parts: Parts) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        app.app_data(web::Data::new(parts.store));
        app.app_data(web::Data::new(parts.access));
        app.app_data(web::Data::new(parts.bounds));
        app.configure(extractors::configure);
        app.service(resource("/healthz", READS).route(web::get().to(health::healthz)));
        app.service(resource("/readyz", READS).route(web::get().to(health::readyz)));
        app.default_service(web::to(not_found));
    }
}

/// A resource that rejects other methods than these with 405. `GET` includes `HEAD`: see [`crate::headers::answer_head`].
fn resource(path: &'static str, methods: &'static str) -> actix_web::Resource {
    let rejected = web::to(move || async move { Err::<HttpResponse, _>(Problem::method_not_allowed(methods)) });
    web::resource(path).default_service(rejected)
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}
