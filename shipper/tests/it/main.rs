//! The shipper from outside.

mod cli;
mod config;
mod exec;
mod files;
mod program;
mod run;
mod simulation;
