//! The spool's bounds, and what is done at them.

/// What to do when the spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Give up the oldest segment, counted, so that logging never stops a service.
    DropOldest,
    /// Take nothing more until there is room, which stops whoever writes to the pipe.
    Wait,
}

/// The spool's bounds.
#[derive(Clone, Copy, Debug)]
pub struct SpoolSettings {
    /// Bytes of all segments together; above it `on_full` decides.
    pub max_bytes: u64,
    /// Bytes of a segment, after which the next begins; at most a quarter of `max_bytes`.
    pub segment_bytes: u64,
    /// What to do when there is no room.
    pub on_full: OnFull,
}
