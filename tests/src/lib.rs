//! What the tests across programs share: starting the real programs, talking to them, and reading what they say.
//!
//! A [`program`] is started on its own [`port`] and in its own folder, a test [waits](mod@wait) for conditions and
//! never for time to pass, asks over [`http`], and reads [metrics](scrape), [log lines](lines) held to their
//! [`schema`], the [`engine`] and the embedded store through the programs' own doors. Rules and dashboards are read
//! with [`promql`] and put to the real [Prometheus and Alertmanager](monitoring). Pages are looked at in a real
//! [`browser`]. The shipper's [`books`] are watched. Faults come from a [`node`] of the test's own, a [`proxy`] and a [`relay`], while a load of [`numbers`] is carried, at
//! [`random`] moments.

// A helper that fails is a test that fails, at the line that called it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::must_use_candidate)]

pub mod accounting;
pub mod browser;
pub mod documents;
pub mod engine;
pub mod http;
pub mod lines;
pub mod monitoring;
pub mod node;
pub mod numbers;
pub mod port;
pub mod program;
pub mod promql;
pub mod proxy;
pub mod random;
pub mod relay;
pub mod schema;
pub mod scrape;
pub mod wait;
