//! The library in one process: what each suite here brings about, those under `tests/observability` see from outside
//! where a real program can bring it about.
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
mod unread;
