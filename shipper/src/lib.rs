//! A log shipper that loses and doubles nothing.
//!
//! The modules stand in flow order: [`source`] bytes are appended to the [`spool`] or read where they lie, the
//! [`reader`] splits them into lines, a [`record`] check and the [`document`] splice put each into a batch,
//! [`delivery`] sees it to its store, and the [`ledger`] knows at every moment where each line is, which the
//! [`journal`] makes durable as checkpoints. [`pipeline`] knows all stages; no other module knows two.

pub mod dead_letters;
pub mod delivery;
pub mod disk;
pub mod document;
pub mod files;
pub mod journal;
pub mod ledger;
pub mod moment;
pub mod pipeline;
pub mod reader;
pub mod record;
pub mod spool;
