//! Where logs rest: one [`Store`] over Elasticsearch/OpenSearch and an embedded SQLite database. Both write and
//! search; nothing outside this crate knows either.
//!
//! In flow order: a line's [identity](id) and [time](timestamp), the [batch] that carries it, the
//! [disposition] that comes back, and the store itself, named by a [target].

pub mod batch;
pub mod disposition;
pub mod id;
pub mod target;
pub mod timestamp;

pub use batch::{Batch, BatchBuilder, BatchLine};
pub use disposition::{Cause, Disposition, WriteError};
pub use id::{GenerationId, LineId};
pub use target::Target;
pub use timestamp::{Day, Timestamp};
