//! Middleware that reads the project from the path, which is known only after routing.

use std::future::{Ready, ready};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage};

use crate::context::RequestContext;

/// Middleware that uses `{project_id}` in the path as the request's project. If the value is a valid id and the caller is
/// authorized for it, it takes precedence over the header in log lines and metrics.
///
/// Wrap the scope or resource whose own pattern has the parameter: a scope does not see the patterns of its resources.
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

/// The service created by [`ProjectFromPath`].
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
            // Actix enters a scope before it knows whether a route matches the rest of the path
            if request.resource_map().has_resource(request.match_info().as_str()) {
                context.set_project_from_path(project);
            }
        }
        self.service.call(request)
    }
}
