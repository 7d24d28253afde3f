//! The limits of the spool, and what to do when they are reached.

/// What to do when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Drop the oldest segment and count its lines, so that logging never blocks a service.
    DropOldest,
    /// Accept nothing until there is room, which blocks the process that writes to the pipe.
    Wait,
}

/// The limits of the spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolSettings {
    /// Maximum total size of all segments; `on_full` applies when it is reached.
    pub max_bytes: u64,
    /// Maximum size of a segment, at most a quarter of `max_bytes`.
    pub segment_bytes: u64,
    /// What to do when the spool is full.
    pub on_full: OnFull,
}
