//! What is measured: requests (with a budget of label sets), log lines, panics, each worker's runtime; and `/metrics`.

pub(crate) mod exposition;
pub(crate) mod ignored;
pub(crate) mod requests;
pub(crate) mod runtime;
