//! Integration tests of the shipper.

// A failing helper fails the test at the line that called it.
#![allow(clippy::unwrap_used)]

mod causes;
mod cli;
mod clock;
mod compressed;
mod config;
mod daemons;
mod descriptors;
mod destroyed;
mod encoding;
mod exec;
mod export;
mod files;
mod fuzz;
mod identity;
mod many;
mod memory;
mod preallocated;
mod program;
mod proof;
mod restart;
mod run;
mod settings;
mod simulation;
mod start;
mod state;
mod store_file;
mod unread;
