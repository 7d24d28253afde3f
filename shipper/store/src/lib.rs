//! Log storage: one [`Store`] over Elasticsearch/OpenSearch and an embedded SQLite database. Both accept writes and
//! answer searches. No other crate depends on either.
//!
//! In the order the data flows: a line's [identity](id) and [time](timestamp), the [batch] that carries it, the
//! [disposition] that comes back, and the store itself: an [engine] or the embedded [sqlite] database, selected by a
//! [target]. [coverage] reports which lines of a source are stored.
//! Every line that a [search] returns is a contract record. Lines that are not are converted by an engine's ingest
//! pipeline, or by `normalise` in the embedded store, with the same result.

pub mod batch;
pub mod bootstrap;
pub mod connection;
pub mod counts;
pub mod coverage;
pub mod disposition;
pub mod engine;
pub mod error;
mod export;
pub mod file_mode;
#[cfg(test)]
mod generated;
pub mod id;
mod json;
pub mod level;
mod missing_store;
mod normalise;
pub mod pattern;
pub mod patterns;
pub mod preflight;
pub mod proxy;
pub mod query;
mod record;
mod scope;
pub mod search;
pub mod secret_file;
pub mod settings;
pub mod sqlite;
mod store;
pub mod tail;
pub mod target;
pub mod timestamp;

pub use batch::{Batch, BatchBuilder, BatchLine};
pub use bootstrap::{BootstrapError, BootstrapMode, BootstrapOutcome, BootstrapReport};
pub use connection::{ConnectionError, ConnectionOptions};
pub use counts::{Accuracy, Breakdown, Facet, Facets, Histogram, RequestStats, Selection};
pub use coverage::{Coverage, DocumentCount, Removed, Span};
pub use disposition::{Cause, CauseKind, Disposition, WriteError};
pub use error::{OpenError, ReadyError, SearchError};
pub use export::{ExportCursor, ExportPage};
pub use file_mode::FileMode;
pub use id::{GenerationId, LineId};
pub use level::Level;
pub use missing_store::{MissingKind, MissingStore};
pub use normalise::is_usable;
pub use normalise::table::TIME_KEYS;
pub use normalise::time::{parse_time, time_key_index};
pub use pattern::{pattern, pattern_words, write_pattern};
pub use patterns::Patterns;
pub use preflight::{Finding, PreflightReport};
pub use proxy::{ParseProxyError, Proxy};
pub use query::{
    Field, FieldTest, FieldType, Filter, NamedField, NamedFields, NamedFieldsError, NumberField, QueryError,
};
pub use scope::Scope;
pub use search::{Around, Cursor, MAX_LIMIT, Order, PageLimits, Search, SearchPage, SourceLine};
pub use secret_file::SecretFileError;
pub use settings::{ClientCertificate, Compression, Credentials, EngineSettings};
pub use sqlite::{FileChanges, RetentionPolicy, RetentionStep, with_read_guard};
pub use store::{Store, StoreAudit, StoreWriter};
pub use tail::{TailCursor, TailPage};
pub use target::Target;
pub use timestamp::{Day, Timestamp};
