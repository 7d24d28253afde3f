//! All routes in one place.

use actix_web::web::{self, ServiceConfig};
use observability::ProjectFromPath;
use store::Store;

use crate::links::Links;
use crate::{alerts, faults, health, problem, projects, requests};

/// Puts the service's routes on an app: what searches `store`, and with `with_faults` what goes wrong on purpose. Answers
/// get their `links` by [`crate::links::add`], outside all other middleware.
pub fn routes(store: Store, links: Links, with_faults: bool) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        app.app_data(web::Data::new(store));
        app.app_data(web::Data::new(links));
        app.configure(problem::configure);
        app.service(resource("/healthz").route(web::get().to(health::healthz)));
        app.service(resource("/readyz").route(web::get().to(health::readyz)));
        app.service(resource("/api/requests/{request_id}").route(web::get().to(requests::story)));
        app.service(
            resource("/api/projects/{project_id}/logs").route(web::get().to(projects::logs)).wrap(ProjectFromPath),
        );
        app.service(resource("/api/alerts").route(web::post().to(alerts::receive)));
        if with_faults {
            app.service(resource("/api/faults/status/{status}").route(web::route().to(faults::status)));
            app.service(resource("/api/faults/delay/{delay_ms}").route(web::get().to(faults::delay)));
            app.service(resource("/api/faults/panic").route(web::get().to(faults::panic)));
        }
        app.default_service(web::to(problem::not_found));
    }
}

/// A resource that answers other methods with problem details too.
fn resource(path: &'static str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(problem::method_not_allowed))
}
