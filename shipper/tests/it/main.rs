//! The shipper from outside.

mod files;
mod simulation;
