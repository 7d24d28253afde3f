//! Who may see what.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use store::Scope;

use crate::problem::Problem;

/// Who asks. A handler that reads takes it as an argument, since the store asks for its scope.
#[derive(Clone, Debug)]
pub struct Reader {
    scope: Scope,
}

impl Reader {
    /// What they may see.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self { scope: Scope::All }))
    }
}
