//! The reference service: a log explorer built on `observability`, over any `store`.
//!
//! In flow order: [`settings`] are read, [`app`] knows all routes, [`access`] who may see what, and each route has its module: [`requests`] (the
//! story of a request), [`projects`] (a project's lines), [`alerts`] (what Alertmanager says, as log lines), [`health`],
//! and [`faults`] for drills. Errors are [`problem`] details; [`links`] lead from an answer to its request's lines.

pub mod settings;

pub mod access;
pub mod app;

pub mod alerts;
pub mod faults;
pub mod health;
pub mod projects;
pub mod requests;

pub mod links;
pub mod problem;
