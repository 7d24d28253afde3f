//! The reference service: a log explorer built on `observability`, over any `store`.
//!
//! In flow order: [`settings`] are read, [`server`] accepts connections, [`app`] has all routes, and [`access`] admits requests.
//! [`line_query`] reads which lines a request asks for. Routes of the API are in [`api`], [`requests`], [`projects`],
//! [`alerts`], [`health`] and [`faults`]; [`page`] has the pages, which show a [`line`](mod@line) or the [`story`] of a request,
//! with the shipper's [`dead_letters`]. Errors are [`problem`] details, those of the framework too ([`extractors`]).
//!
//! [`answers`] and [`searches`] bound memory and concurrency, and [`limits`] counts what meets a bound. [`headers`] and
//! [`links`] are added to every response; [`paths`] builds URLs of this service.

pub mod settings;

pub mod server;

pub mod app;

pub mod access;
pub mod line_query;

pub mod alerts;
pub mod api;
pub mod faults;
pub mod health;
pub mod projects;
pub mod requests;

pub mod dead_letters;
pub mod line;
pub mod story;

pub mod page;

pub mod answers;
pub mod searches;

pub mod extractors;
pub mod headers;
pub mod idle_client;
pub mod limits;
pub mod links;
pub mod paths;
pub mod problem;
