//! The analysis of a request's lines. Pure: nothing here reads the store.
//!
//! In flow order: lines become [`steps`] with relative times; [`baseline`] finds slow steps; [`compare`] aligns a request with a
//! successful one; [`completeness`] finds missing lines.

pub mod baseline;
pub mod compare;
pub mod completeness;
pub mod steps;
