//! The mark of pipelines and templates that this program manages.

use serde_json::Value;

/// The mark of everything that this program puts in place.
pub(super) const MANAGED_BY: &str = "actix-observability";

pub(super) fn is_marked(existing: &Value) -> bool {
    existing["_meta"]["managed_by"] == MANAGED_BY
}
