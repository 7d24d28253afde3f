//! Takes the project from the path, which is known only after routing.

use std::future::{Ready, ready};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage};

use crate::context::RequestContext;

/// Middleware for a scope or resource whose own pattern has `{project_id}`: the value there, if it is a valid id,
/// goes before the header's, in lines and metrics, where the caller may speak for it. (A scope sees its own pattern
/// only; wrap the resource if the parameter stands there.)
#[derive(Clone, Copy, Debug, Default)]
pub struct ProjectFromPath;

impl<S, B> Transform<S, ServiceRequest> for ProjectFromPath
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = ProjectFromPathService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ProjectFromPathService { service }))
    }
}

/// The service of [`ProjectFromPath`].
#[derive(Debug)]
pub struct ProjectFromPathService<S> {
    service: S,
}

impl<S, B> Service<ServiceRequest> for ProjectFromPathService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = S::Future;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        if let (Some(project), Some(context)) =
            (request.match_info().get("project_id"), request.extensions().get::<RequestContext>())
        {
            // a scope is entered before it is known whether it has a route for the rest of the path
            if request.resource_map().has_resource(request.match_info().as_str()) {
                context.set_project_from_path(project);
            }
        }
        self.service.call(request)
    }
}
