//! Helpers of the tests across programs: starting the real programs, sending requests and reading their output.
//!
//! - A [`program`] runs on its own [`port`] and in its own folder. Tests [wait](mod@wait) for conditions, never for time.
//! - [`http`] sends requests. [`scrape`] parses metrics; [`lines`] parses log lines, and [`schema`] validates them.
//! - [`promql`] parses the expressions of rules and dashboards, and [`monitoring`] runs Prometheus and Alertmanager.
//! - [`browser`] drives Chromium. [`documents`] parses the Markdown documents.
//! - Fault tests ship a load of [`numbers`] to an [`engine`] while they stop a [`node`] or cut connections with a
//!   [`proxy`] or [`relay`], at [`random`] times. The shipper's [`accounting`] is checked meanwhile.

// a failing helper fails the test at the calling line
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
