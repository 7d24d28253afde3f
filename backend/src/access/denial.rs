//! Why a request is not admitted.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;

use crate::problem::Problem;

/// Why a request is not admitted. Its response carries a copy in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It has no valid token or session.
    #[error("missing or unknown token; send one from TOKENS_FILE as Authorization: Bearer TOKEN")]
    NoToken,
    /// A scrape has no valid token.
    #[error("missing or unknown token; send that of METRICS_TOKEN as Authorization: Bearer TOKEN")]
    NoMetricsToken,
    /// Its client failed too often; the next attempt is possible after this time.
    #[error("too many failed attempts from your address; try again in {} s", .0.as_secs() + 1)]
    TooManyAttempts(Duration),
    /// Its `Host` is not a name of this service.
    #[error("unknown host name in Host; use the service's IP address or localhost, or add the name to ALLOWED_HOSTS")]
    UnknownHost,
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let problem = Self::new(denial.status_code(), denial.to_string());
        match denial {
            Denial::TooManyAttempts(wait) => problem.retry_after(wait.as_secs() + 1),
            _ => problem,
        }
    }
}

impl ResponseError for Denial {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::NoMetricsToken => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownHost => StatusCode::FORBIDDEN,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = Problem::from(*self).error_response();
        response.extensions_mut().insert(*self);
        response
    }
}
