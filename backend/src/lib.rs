//! The reference service: a log explorer built on `observability`, over any `store`.
//!
//! In flow order: [`settings`] are read, [`app`] knows all routes, [`access`] who may see what, and each route has its
//! module: [`requests`] (the story of a request), [`projects`] (a project's lines), [`api`] (searches and counts, asked
//! by [`ask`]), [`alerts`] (what Alertmanager says, as log lines), [`health`], and [`faults`] for drills; [`page`] is what
//! a person looks at, of each [`line`](mod@line) and of the [`story`] that lines tell together, with the shipper's [`dead_letters`] where they are
//! at present. Errors are [`problem`] details; [`links`] lead from an answer to its request's lines, and every answer
//! has the same [`headers`]. What callers may take is bounded, and [`limits`] counts what meets a bound.

pub mod settings;

pub mod access;
pub mod api;
pub mod app;
pub mod ask;
pub mod times;

pub mod alerts;
pub mod faults;
pub mod health;
pub mod projects;
pub mod requests;

pub mod dead_letters;
pub mod line;
pub mod story;

pub mod page;

pub mod answers;
pub mod headers;
pub mod limits;
pub mod links;
pub mod problem;
pub mod searches;
pub mod server;
pub mod stalled;
