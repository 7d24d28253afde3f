//! The middleware that a service wraps its app with. Its layers, from the outside in: accounting, the request's context
//! and root span, panic handling, the app.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready as poll_ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage};
use pin_project_lite::pin_project;
use tracing_actix_web::{StreamSpan, TracingLogger};

use crate::accounting::{Account, Outcome, Worker};
use crate::body::AccountedBody;
use crate::catch_panic::{CatchPanic, CatchPanicService};
use crate::context::{REQUEST_ID_HEADER, RequestContext};
use crate::failure::Failure;
use crate::logs::with_context;
use crate::metrics::requests::RequestMetrics;
use crate::metrics::runtime::Runtimes;
use crate::root_span::RequestRootSpan;
use crate::settings::ObservabilitySettings;
use crate::upload;

type Logger = TracingLogger<RequestRootSpan>;
type Logged<S> = <Logger as Transform<CatchPanicService<S>, ServiceRequest>>::Transform;

/// The middleware returned by [`Observability::middleware`](crate::Observability::middleware). Wrap it last, so that it
/// is outermost and sees what is sent.
#[derive(Clone, Debug)]
pub struct ObservabilityMiddleware {
    pub(crate) settings: Arc<ObservabilitySettings>,
    pub(crate) metrics: Arc<RequestMetrics>,
    pub(crate) runtimes: Runtimes,
    pub(crate) check_required: bool,
}

impl ObservabilityMiddleware {
    /// Ignores the project of a request until the service authorizes the caller for it with
    /// [`RequestContext::set_project_check`]. This is for services that authenticate their callers. Without it, the
    /// project that a request names is used if a route matches the request.
    ///
    /// Half of the label sets are then reserved for projects that the check reports as
    /// [`Verified`](crate::ProjectClaim::Verified), so that invented ids can't use them up.
    ///
    /// ```
    /// use actix_web::body::MessageBody;
    /// use actix_web::dev::{ServiceRequest, ServiceResponse};
    /// use actix_web::middleware::{Next, from_fn};
    /// use actix_web::{App, Error, HttpMessage, error};
    /// use observability::{Observability, ProjectClaim, RequestContext};
    ///
    /// /// Looks up the project of a token; a stand-in for the service's own authentication.
    /// fn project_of(token: Option<&str>) -> Option<String> {
    ///     (token? == "Bearer 0123").then(|| "billing".to_owned())
    /// }
    ///
    /// async fn authenticate(
    ///     request: ServiceRequest,
    ///     next: Next<impl MessageBody>,
    /// ) -> Result<ServiceResponse<impl MessageBody>, Error> {
    ///     let token = request.headers().get("Authorization").and_then(|value| value.to_str().ok());
    ///     let own_project = project_of(token).ok_or_else(|| error::ErrorUnauthorized("unknown token"))?;
    ///     if let Some(context) = request.extensions().get::<RequestContext>() {
    ///         context.set_project_check(move |project| {
    ///             if project == own_project { ProjectClaim::Verified } else { ProjectClaim::Refused }
    ///         });
    ///     }
    ///     next.call(request).await
    /// }
    ///
    /// # fn app(obs: &Observability) {
    /// App::new().wrap(from_fn(authenticate)).wrap(obs.middleware().require_project_check());
    /// # }
    /// ```
    #[must_use]
    pub fn require_project_check(mut self) -> Self {
        self.check_required = true;
        self.metrics.reserve_half_for_known();
        self
    }
}

impl<S, B> Transform<S, ServiceRequest> for ObservabilityMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<AccountedBody<StreamSpan<B>>>;
    type Error = Error;
    type Transform = ObservabilityService<Logged<S>>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let caught = CatchPanic.new_transform(service).into_inner();
        let service = caught.and_then(|caught| Logger::new().new_transform(caught).into_inner());
        let worker = Rc::new(Worker::new(self.settings.clone(), self.metrics.clone(), self.runtimes.enter()));
        let check_required = self.check_required;
        ready(service.map(|service| ObservabilityService { service, worker, check_required }))
    }
}

/// The service created by [`ObservabilityMiddleware`].
pub struct ObservabilityService<S> {
    service: S,
    worker: Rc<Worker>,
    check_required: bool,
}

impl<S, B> Service<ServiceRequest> for ObservabilityService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<AccountedBody<B>>;
    type Error = Error;
    type Future = ObservabilityFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let context = RequestContext::from_request_head(&request, &self.worker.settings, self.check_required);
        let account = Account::open(&self.worker, &request, context.clone());
        upload::watch(&mut request, &context);
        request.extensions_mut().insert(context);
        ObservabilityFuture { inner: Some(self.service.call(request)), account: Some(Box::new(account)) }
    }
}

pin_project! {
    /// Future of the response. If it is dropped before it completes, the request is counted as `client_gone`.
    pub struct ObservabilityFuture<F> {
        // `None` after the drop
        #[pin]
        inner: Option<F>,
        account: Option<Box<Account>>,
    }

    impl<F> PinnedDrop for ObservabilityFuture<F> {
        /// Drops the handler's future within the request's context, because destructors may log.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(account) = this.account {
                with_context(account.context(), || this.inner.set(None));
            }
        }
    }
}

impl<F, B> Future for ObservabilityFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody,
{
    type Output = Result<ServiceResponse<AccountedBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else { unreachable!("polled after drop") };
        let result = poll_ready!(inner.poll(cx));
        let Some(mut account) = this.account.take() else { unreachable!("polled after completion") };
        Poll::Ready(match result {
            Ok(mut response) => {
                response.headers_mut().insert(REQUEST_ID_HEADER, account.context().request_id_header());
                let failed = response.response().error().is_some();
                account.set_route(response.request());
                account.respond(response.status(), if failed { Outcome::HandlerError } else { Outcome::Answered });
                Ok(response.map_body(|_, body| AccountedBody::new(body, account)))
            }
            Err(error) => Err(Failure::new(error, account).into()),
        })
    }
}
