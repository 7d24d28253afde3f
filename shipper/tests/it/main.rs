//! The shipper from outside.

mod simulation;
