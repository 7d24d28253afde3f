//! A log shipper that neither loses nor duplicates lines.
//!
//! The modules, in flow order:
//!
//! - Streams are appended to the [`spool`]; [`files`] are read in place.
//! - [`sources`] has the kinds of both: what describes a source, and how its bytes are split into lines, with [`reader`]
//!   and [`encoding`].
//! - Each line is checked by [`record`], and becomes a [`document`] in a batch.
//! - [`delivery`] sends batches to the store. Lines that the store rejects become [`dead_letters`].
//! - The [`ledger`] accounts for every line. The [`journal`] keeps what must survive a crash, and [`completed`] what is
//!   needed to verify completed generations.
//! - [`pipeline`] connects the stages, [`shipper`] runs it with the settings of [`config`].
//! - [`verify`] compares a store with the state directory, [`resend`] sends batches outside of the pipeline, and
//!   [`inspect`] finds damage in a state directory.
//!
//! All of them use a [`disk`], a [`clock`] and [`random`] numbers that are passed in.
//!
//! A module uses only modules of its own layer and of those below: a test has the list. The stages [`spool`], [`files`]
//! and [`delivery`] do not use each other. [`shipper`] creates them, and only [`pipeline`] passes data between them.

pub mod clock;
pub mod completed;
mod compressed;
pub mod config;
pub mod dead_letters;
pub mod delivery;
pub mod disk;
pub mod document;
pub mod encoding;
mod escape;
pub mod files;
pub mod inspect;
pub mod journal;
pub mod ledger;
mod ndjson;
pub mod pipeline;
pub mod random;
pub mod reader;
pub mod record;
pub mod resend;
mod retention;
pub mod shipper;
mod sink;
pub mod sources;
pub mod spool;
mod start_error;
mod status_log;
mod store_watch;
pub mod sync;
pub mod verify;
