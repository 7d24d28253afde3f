//! Blocks of indices or the cluster: writes are rejected, or new indices are not created.
//!
//! A block is not an error: it may come and go during shipping. Delivery pauses meanwhile, and nothing is lost.

use elasticsearch::http::Method;
use serde_json::{Map, Value};

use crate::bootstrap::BootstrapError;
use crate::engine::Engine;
use crate::engine::bootstrap::{is_forbidden, response_error};
use crate::preflight::Finding;
use crate::timestamp::Timestamp;

/// Index settings that block writes. Engines set the first one above the disk's flood-stage watermark.
const INDEX_BLOCKS: [&str; 3] = ["index.blocks.read_only_allow_delete", "index.blocks.read_only", "index.blocks.write"];

/// Cluster settings that block writes to all indices.
const CLUSTER_BLOCKS: [&str; 2] = ["cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"];

/// Setting of OpenSearch when all disks are above the high watermark. It blocks explicit index creation. An index
/// needed by a line is still created (as of 2.19 and 3.4), but gets no shards if no disk has room for them.
const CREATE_BLOCK: &str = "cluster.blocks.create_index";

const AUTO_CREATE: &str = "action.auto_create_index";

/// Maximum number of indices that are named; the others are counted.
const MAX_NAMED: usize = 3;

impl Engine {
    /// Checks whether this program's indices accept writes. Blocks of old indices are not an obstacle: only late lines
    /// would stay pending.
    pub(super) async fn index_blocks(&self) -> Result<Finding, BootstrapError> {
        let today = self.todays_index();
        let mut settings = self.index_settings(&self.indices()).await?;
        // Index patterns skip indices that the credentials may not read. By name, the request is denied whether the
        // index exists or not.
        if settings.as_ref().is_some_and(|settings| settings.as_object().is_none_or(Map::is_empty)) {
            settings = self.index_settings(&today).await?;
        }
        Ok(match settings {
            Some(settings) => evaluate_indices(&settings, &today),
            None => Finding::Unproven("the credentials do not allow reading the indices' settings".to_owned()),
        })
    }

    async fn index_settings(&self, indices: &str) -> Result<Option<Value>, BootstrapError> {
        let path = format!("{indices}/_settings/index.blocks.*,index.uuid?flat_settings=true");
        self.read_settings(&path, "can't read the indices' blocks").await
    }

    /// Checks whether the cluster accepts writes and creates an index for a new day.
    pub(super) async fn cluster_blocks(&self) -> Result<Finding, BootstrapError> {
        let path = "_cluster/settings?flat_settings=true&include_defaults=true";
        let Some(settings) = self.read_settings(path, "can't read the cluster's settings").await? else {
            return Ok(Finding::Unproven("the credentials do not allow reading the cluster's settings".to_owned()));
        };
        Ok(evaluate_cluster(&settings, &self.todays_index()))
    }

    fn todays_index(&self) -> String {
        format!("{}-{}", self.settings.index_prefix, Timestamp::now().day())
    }

    /// Reads settings. Returns `None` if the credentials do not allow it.
    async fn read_settings(&self, path: &str, what: &str) -> Result<Option<Value>, BootstrapError> {
        let response = self.client.json(Method::Get, path, None).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        match response.status {
            200 => Ok(Some(response.json())),
            // There is no index yet, so none is blocked.
            404 => Ok(Some(Value::Null)),
            _ if is_forbidden(&response) => Ok(None),
            _ => Err(response_error(&response, what)),
        }
    }
}

/// Evaluates a response with the flat settings of each index.
fn evaluate_indices(response: &Value, today: &str) -> Finding {
    let is_set = |settings: &Value, block: &str| settings["settings"][block] == "true";
    let indices = response.as_object().into_iter().flatten();
    let newest = indices.clone().map(|(index, _)| index.as_str()).max().unwrap_or_default();
    let blocked: Vec<_> = indices
        .filter_map(|(index, settings)| {
            let block = INDEX_BLOCKS.into_iter().find(|block| is_set(settings, block))?;
            Some((index.as_str(), block))
        })
        .collect();
    let Some((_, block)) = blocked.iter().find(|(index, _)| *index == newest || *index >= today).or(blocked.first())
    else {
        return Finding::Proven;
    };
    let names = list(&blocked.iter().map(|(index, _)| *index).collect::<Vec<_>>());
    if !blocked.iter().any(|(index, _)| *index == newest || *index >= today) {
        return Finding::Unproven(format!(
            "{names} block writes ({block}): late lines of those days would stay pending"
        ));
    }
    let advice = match *block == INDEX_BLOCKS[0] {
        true => {
            "the disk was above the flood-stage watermark: free space, and if the engine does not remove the block, "
        }
        false => "",
    };
    Finding::Blocked(format!(
        "{names} block writes ({block}), so lines would stay pending: {advice}set {block} to null in PUT INDEX/_settings"
    ))
}

/// Evaluates the cluster's settings for an index of this name.
fn evaluate_cluster(response: &Value, index: &str) -> Finding {
    // In order of precedence.
    let setting = |name: &str| {
        ["transient", "persistent", "defaults"].iter().find_map(|part| match &response[*part][name] {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            _ => None,
        })
    };
    let is_set = |name: &str| setting(name).is_some_and(|value| value == "true");
    if let Some(block) = CLUSTER_BLOCKS.into_iter().find(|block| is_set(block)) {
        return Finding::Blocked(format!(
            "the cluster is read-only ({block}), so lines would stay pending: set {block} to null in PUT _cluster/settings"
        ));
    }
    match setting(AUTO_CREATE) {
        Some(patterns) if !creates(&patterns, index) => Finding::Blocked(format!(
            "the cluster does not create {index} automatically ({AUTO_CREATE} is {patterns:?}), so lines would stay \
             pending: prepend \"+{}*\" to it in PUT _cluster/settings",
            index.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.')
        )),
        _ if is_set(CREATE_BLOCK) => Finding::Unproven(format!(
            "the cluster blocks the creation of indices ({CREATE_BLOCK}), which it sets when its disks are above the high \
             watermark: without space on any disk, lines of a new day would stay pending; free space, or set \
             {CREATE_BLOCK} to null in PUT _cluster/settings"
        )),
        Some(_) => Finding::Proven,
        None => Finding::Unproven(format!("the engine does not report {AUTO_CREATE}")),
    }
}

/// Whether an index is created automatically. The setting is `true`, `false`, or patterns with `+` or `-`, of which the
/// first match counts, as described in Elasticsearch's reference of `action.auto_create_index`.
fn creates(patterns: &str, index: &str) -> bool {
    match patterns.trim() {
        "" | "true" => return true,
        "false" => return false,
        _ => {}
    }
    for pattern in patterns.trim_matches(['[', ']']).split(',').map(str::trim) {
        match (pattern.strip_prefix('-'), pattern.strip_prefix('+')) {
            (Some(pattern), _) if matches_pattern(pattern, index) => return false,
            (None, Some(pattern)) if matches_pattern(pattern, index) => return true,
            (None, None) if matches_pattern(pattern, index) => return true,
            _ => {}
        }
    }
    false
}

/// Whether a name matches a pattern with `*` as the wildcard.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches_pattern(tail, &rest[at..]))
}

fn list(names: &[&str]) -> String {
    let named = names[..names.len().min(MAX_NAMED)].join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_matching_pattern_counts() {
        let index = "app-logs-2026.11.25";
        for made in
            ["true", "", "app-logs-*", "+app-*,-*", "-other*,+*", ".watches, app-logs-2026.*.25", "[\"x\",app*]"]
        {
            assert!(creates(made, index), "{made}");
        }
        for not_made in ["false", "-app-*,+*", "other*", "+app-logs", "-*,+app-logs-*"] {
            assert!(!creates(not_made, index), "{not_made}");
        }
    }

    #[test]
    fn a_blocked_old_index_is_reported_but_not_blocking() {
        let open = json!({ "settings": { "index.uuid": "u" } });
        let closed = json!({ "settings": { "index.uuid": "u", "index.blocks.write": "true" } });
        let today = "app-logs-2026.11.25";
        let judge = |old: &Value, new: &Value| {
            evaluate_indices(&json!({ "app-logs-2026.11.20": old, "app-logs-2026.11.24": new }), today)
        };
        assert_eq!(judge(&open, &open), Finding::Proven);
        assert_eq!(evaluate_indices(&Value::Null, today), Finding::Proven);
        assert!(matches!(judge(&closed, &open), Finding::Unproven(why) if why.contains("2026.11.20")));
        assert!(matches!(judge(&open, &closed), Finding::Blocked(why) if why.contains("2026.11.24")));
    }

    #[test]
    fn transient_settings_take_precedence() {
        let settings = json!({
            "transient": { "action.auto_create_index": "true" },
            "persistent": { "action.auto_create_index": "false" }, "defaults": {}
        });
        assert_eq!(evaluate_cluster(&settings, "app-logs-2026.11.25"), Finding::Proven);
    }

    #[test]
    fn auto_create_takes_precedence_over_the_create_block() {
        let settings = |auto_create: &str| json!({ "persistent": { "cluster.blocks.create_index": "true", "action.auto_create_index": auto_create } });
        let judge = |auto_create| evaluate_cluster(&settings(auto_create), "app-logs-2026.11.25");
        assert!(matches!(judge("true"), Finding::Unproven(why) if why.contains(CREATE_BLOCK)));
        assert!(matches!(judge("false"), Finding::Blocked(why) if why.contains(AUTO_CREATE)));
    }
}
