//! All routes in one place.

use actix_web::web::{self, ServiceConfig};
use observability::ProjectFromPath;
use store::Store;

use crate::access::{Access, login};
use crate::answers::Answers;
use crate::api::{counts, description, logs, sources};
use crate::dead_letters::DeadLetters;
use crate::headers::{FORM, READS, TAKES};
use crate::links::Links;
use crate::page::tail::Tails;
use crate::page::{around, assets, overview, search, story, tail};
use crate::projects::OwnName;
use crate::searches::Searches;
use crate::server::request::Bounds;
use crate::{alerts, faults, health, problem, projects, requests};

/// What the routes answer from. A copy is cheap and leads to the same.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where lines are.
    pub store: Store,
    /// Who may see them.
    pub access: Access,
    /// Answers in memory.
    pub answers: Answers,
    /// Requests that ask the store at once.
    pub searches: Searches,
    /// How long the body of a request may take.
    pub bounds: Bounds,
    /// Live tails.
    pub tails: Tails,
    /// Where answers lead.
    pub links: Links,
    /// What the shipper keeps aside.
    pub dead_letters: DeadLetters,
    /// The name under which the service writes lines.
    pub own_name: OwnName,
}

/// Puts the service's routes on an app: what searches the store, and with `with_faults` what goes wrong on purpose. Each
/// request passes [`crate::access::guard`] first, and answers get their `links` by [`crate::links::add`], outside all other middleware.
pub fn routes(parts: Parts, with_faults: bool) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        let Parts { store, access, answers, searches, bounds, tails, links, dead_letters, own_name } = parts;
        app.app_data(web::Data::new(own_name));
        app.app_data(web::Data::new(story::Sources { store: store.clone(), dead_letters, links: links.clone() }));
        app.app_data(web::Data::new(store));
        app.app_data(web::Data::new(access));
        app.app_data(web::Data::new(answers));
        app.app_data(web::Data::new(searches));
        app.app_data(web::Data::new(bounds));
        app.app_data(web::Data::new(tails));
        app.app_data(web::Data::new(links));
        app.configure(problem::configure);
        app.service(resource("/healthz", READS).route(web::get().to(health::healthz)));
        app.service(resource("/readyz", READS).route(web::get().to(health::readyz)));
        app.service(resource(login::PATH, FORM).route(web::get().to(login::form)).route(web::post().to(login::enter)));
        app.service(resource("/logout", TAKES).route(web::post().to(login::leave)));
        app.service(resource("/", READS).route(web::get().to(overview::show)));
        app.service(resource("/search", READS).route(web::get().to(search::show)));
        app.service(resource("/requests/{request_id}", READS).route(web::get().to(story::show)));
        app.service(resource("/requests/{request_id}/file", READS).route(web::get().to(story::file)));
        app.service(resource("/sources/{generation}/{offset}", READS).route(web::get().to(around::show)));
        app.service(resource("/tail", READS).route(web::get().to(tail::show)));
        app.service(resource("/api/tail", READS).route(web::get().to(tail::events)));
        app.service(resource("/assets/{name}", READS).route(web::get().to(assets::serve)));
        app.service(resource("/api/requests/{request_id}", READS).route(web::get().to(requests::story)));
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
        app.default_service(web::to(problem::not_found));
    }
}

/// Puts the routes of `ADMIN_LISTEN` on an app, beside `/metrics`: health, as it is on the service's own address.
pub fn admin_routes(parts: Parts) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        app.app_data(web::Data::new(parts.store));
        app.app_data(web::Data::new(parts.access));
        app.app_data(web::Data::new(parts.bounds));
        app.configure(problem::configure);
        app.service(resource("/healthz", READS).route(web::get().to(health::healthz)));
        app.service(resource("/readyz", READS).route(web::get().to(health::readyz)));
        app.default_service(web::to(problem::not_found));
    }
}

/// A resource that answers other methods than these with problem details, and says which it takes. `GET` is `HEAD` too, by
/// [`crate::headers::answer_head`].
fn resource(path: &'static str, methods: &'static str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(move |request| problem::method_not_allowed(request, methods)))
}
