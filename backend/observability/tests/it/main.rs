//! Tests of the library within one process. `tests/observability` tests the same from outside, with real programs.
#![allow(clippy::unwrap_used)]

mod support;

mod endpoints;
mod errors;
mod filters;
mod ids;
mod lines;
mod metrics;
mod outcomes;
mod output;
mod programs;
mod projects;
mod testing;
mod unread;
