//! What a request's lines say when they are put together. Pure: lines in, judgements out; nothing here asks the store.
//!
//! In flow order: lines become [`steps`], each with the time since the one before; [`usual`] says which of them took
//! longer than they do; [`compare`] lays a good request beside a bad one; [`whole`] says whether lines are missing.

pub mod compare;
pub mod steps;
pub mod usual;
pub mod whole;
