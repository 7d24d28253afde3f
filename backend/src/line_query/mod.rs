//! Which lines a request asks for. Pages, the API and the live tail take the same parameters and read them here.
//!
//! In flow order: [`url`] splits a query string into [`LineParams`] and the route's own parameters; [`LineQuery`] is what
//! the former mean, parsed with [`range`] and [`time`]. docs/search.md lists the parameters.

mod error;
mod param;
mod params;
mod parse;
pub mod range;
pub mod time;
pub mod url;

pub use error::LineQueryError;
pub use param::Param;
pub use params::{FilterParams, LineParams};
pub use parse::{LineQuery, named_fields};
pub use range::TimeRange;
