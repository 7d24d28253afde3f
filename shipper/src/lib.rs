//! A log shipper that loses and doubles nothing.
//!
//! The modules, in flow order: bytes of a stream are appended to the [`spool`], and [`files`] are read where they lie;
//! the [`reader`] splits both into lines, with [`docker`] where Docker stands
//! between a container and its file, and [`encoding`] makes them UTF-8; a [`record`] check and the [`document`] splice put each
//! line into a batch;
//! [`delivery`] sees batches to their store, and what no store takes becomes [`dead_letters`]. The [`ledger`] knows at
//! every moment where each line is, the [`journal`] what of it must be known after a crash, and the [`completed`] what of it
//! may be asked long after. All of them stand on a
//! [`disk`] and a [`clock`] that are handed in. [`pipeline`] knows all stages; no other module knows two. [`shipper`]
//! runs it, by what [`config`] says. [`verify`] proves afterwards, or meanwhile, that a store holds what was taken, and
//! [`resend`] sends what does not come from the pipeline; [`inspect`] names what is torn in a state directory.

pub mod clock;
pub mod completed;
mod compressed;
pub mod config;
pub mod dead_letters;
pub mod delivery;
pub mod disk;
pub mod docker;
pub mod document;
pub mod encoding;
pub mod files;
pub mod inspect;
pub mod journal;
pub mod ledger;
mod lines;
mod ndjson;
pub mod pipeline;
pub mod reader;
pub mod record;
pub mod resend;
mod retention;
pub mod shipper;
mod sink;
pub mod spool;
mod status_log;
mod store_watch;
pub mod verify;
