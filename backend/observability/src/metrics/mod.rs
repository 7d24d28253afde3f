//! Metrics of requests (with a limit of label sets), panics, ignored ids and each worker's runtime, and their exposition at
//! `/metrics`. The log writer registers its own.

pub(crate) mod exposition;
pub(crate) mod ignored;
pub(crate) mod requests;
pub(crate) mod runtime;
