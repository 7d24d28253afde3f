//! What would make lines wait although all is in place: indices or a cluster that take no writes, and a cluster that makes
//! no index.
//!
//! Such a thing is no refusal: it comes and goes while lines are shipped, the sink then pauses, and nothing is lost.

use elasticsearch::http::Method;
use serde_json::{Map, Value};

use crate::bootstrap::BootstrapError;
use crate::engine::Engine;
use crate::engine::bootstrap::{may_not_ask, said_no};
use crate::preflight::Finding;
use crate::timestamp::Timestamp;

/// Settings of an index that keep lines out. The first is what an engine sets past the disk's flood stage.
const INDEX_BLOCKS: [&str; 3] = ["index.blocks.read_only_allow_delete", "index.blocks.read_only", "index.blocks.write"];

/// Settings of a cluster that keep lines out of all indices.
const CLUSTER_BLOCKS: [&str; 2] = ["cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"];

/// The setting of an OpenSearch whose disks are all past their high watermark: no index can be made by asking for it. One
/// that a line needs is made all the same, by 2.19 and 3.4, and gets no shards where the disks have no room for them.
const CREATE_BLOCK: &str = "cluster.blocks.create_index";

const AUTO_CREATE: &str = "action.auto_create_index";

/// So many indices are named, and the rest counted.
const NAMED_MAX: usize = 3;

impl Engine {
    /// Whether this program's indices take writes. Old ones need not: only a line that comes late would wait for them.
    pub(super) async fn index_blocks(&self) -> Result<Finding, BootstrapError> {
        let today = self.index_of_today();
        let mut settings = self.blocks_of(&self.indices()).await?;
        // What the credentials may not see is no part of a pattern; asked for by its name it is refused, there or not.
        if settings.as_ref().is_some_and(|settings| settings.as_object().is_none_or(Map::is_empty)) {
            settings = self.blocks_of(&today).await?;
        }
        Ok(match settings {
            Some(settings) => judge_indices(&settings, &today),
            None => Finding::Unproven("the credentials may not read the indices' settings".to_owned()),
        })
    }

    async fn blocks_of(&self, indices: &str) -> Result<Option<Value>, BootstrapError> {
        let path = format!("{indices}/_settings/index.blocks.*,index.uuid?flat_settings=true");
        self.settings_of(&path, "can't read which indices take writes").await
    }

    /// Whether the cluster takes writes, and makes an index for a new day.
    pub(super) async fn cluster_blocks(&self) -> Result<Finding, BootstrapError> {
        let path = "_cluster/settings?flat_settings=true&include_defaults=true";
        let Some(settings) = self.settings_of(path, "can't read the cluster's settings").await? else {
            return Ok(Finding::Unproven("the credentials may not read the cluster's settings".to_owned()));
        };
        Ok(judge_cluster(&settings, &self.index_of_today()))
    }

    fn index_of_today(&self) -> String {
        format!("{}-{}", self.settings.index_prefix, Timestamp::now().day())
    }

    /// Settings as the engine tells them; `None` where these credentials may not read them.
    async fn settings_of(&self, path: &str, what: &str) -> Result<Option<Value>, BootstrapError> {
        let answer = self.client.json(Method::Get, path, None).await;
        let answer = answer.map_err(|no_answer| BootstrapError::Unavailable(no_answer.into_cause()))?;
        match answer.status {
            200 => Ok(Some(answer.json())),
            // No index yet, so none that is closed to lines.
            404 => Ok(Some(Value::Null)),
            _ if may_not_ask(&answer) => Ok(None),
            _ => Err(said_no(&answer, what)),
        }
    }
}

/// What blocked indices mean, of an answer that has each index's settings by their full names.
fn judge_indices(answer: &Value, today: &str) -> Finding {
    let is_set = |settings: &Value, block: &str| settings["settings"][block] == "true";
    let indices = answer.as_object().into_iter().flatten();
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
        return Finding::Unproven(format!("{names} take no writes ({block}): a line of those days would wait"));
    }
    let advice = match *block == INDEX_BLOCKS[0] {
        true => "the disk was past its flood stage: make room, and if the engine does not lift the block by itself, ",
        false => "",
    };
    Finding::Blocked(format!(
        "{names} take no writes ({block}), lines would wait: {advice}set {block} to null in PUT INDEX/_settings"
    ))
}

/// What the cluster's settings mean for an index of this name.
fn judge_cluster(answer: &Value, index: &str) -> Finding {
    // In the order in which they count.
    let setting = |name: &str| {
        ["transient", "persistent", "defaults"].iter().find_map(|part| match &answer[*part][name] {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            _ => None,
        })
    };
    let is_set = |name: &str| setting(name).is_some_and(|value| value == "true");
    if let Some(block) = CLUSTER_BLOCKS.into_iter().find(|block| is_set(block)) {
        return Finding::Blocked(format!(
            "the cluster is read-only ({block}), lines would wait: set {block} to null in PUT _cluster/settings"
        ));
    }
    match setting(AUTO_CREATE) {
        Some(patterns) if !makes(&patterns, index) => Finding::Blocked(format!(
            "the cluster does not make {index} for a line that needs it ({AUTO_CREATE} is {patterns:?}), lines would wait: \
             put \"+{}*\" before what stands there in PUT _cluster/settings",
            index.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.')
        )),
        _ if is_set(CREATE_BLOCK) => Finding::Unproven(format!(
            "the cluster is set to make no index that it is asked for ({CREATE_BLOCK}), as it sets itself when its disks are \
             past their high watermark: lines of a new day would wait where none has room for it; make room there, or set \
             {CREATE_BLOCK} to null in PUT _cluster/settings"
        )),
        Some(_) => Finding::Proven,
        None => Finding::Unproven(format!("the engine does not tell {AUTO_CREATE}")),
    }
}

/// Whether an index of this name is made by itself: `true`, `false`, or patterns with `+` or `-`, of which the first that
/// fits counts, as Elasticsearch's reference says of `action.auto_create_index`.
fn makes(patterns: &str, index: &str) -> bool {
    match patterns.trim() {
        "" | "true" => return true,
        "false" => return false,
        _ => {}
    }
    for pattern in patterns.trim_matches(['[', ']']).split(',').map(str::trim) {
        match (pattern.strip_prefix('-'), pattern.strip_prefix('+')) {
            (Some(pattern), _) if fits(pattern, index) => return false,
            (None, Some(pattern)) if fits(pattern, index) => return true,
            (None, None) if fits(pattern, index) => return true,
            _ => {}
        }
    }
    false
}

/// Whether a name fits a pattern, in which a `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(tail, &rest[at..]))
}

fn list(names: &[&str]) -> String {
    let named = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let index = "app-logs-2026.11.25";
        for made in
            ["true", "", "app-logs-*", "+app-*,-*", "-other*,+*", ".watches, app-logs-2026.*.25", "[\"x\",app*]"]
        {
            assert!(makes(made, index), "{made}");
        }
        for not_made in ["false", "-app-*,+*", "other*", "+app-logs", "-*,+app-logs-*"] {
            assert!(!makes(not_made, index), "{not_made}");
        }
    }

    #[test]
    fn an_old_index_without_writes_is_told_and_is_no_obstacle() {
        let open = json!({ "settings": { "index.uuid": "u" } });
        let closed = json!({ "settings": { "index.uuid": "u", "index.blocks.write": "true" } });
        let today = "app-logs-2026.11.25";
        let judge = |old: &Value, new: &Value| {
            judge_indices(&json!({ "app-logs-2026.11.20": old, "app-logs-2026.11.24": new }), today)
        };
        assert_eq!(judge(&open, &open), Finding::Proven);
        assert_eq!(judge_indices(&Value::Null, today), Finding::Proven);
        assert!(matches!(judge(&closed, &open), Finding::Unproven(why) if why.contains("2026.11.20")));
        assert!(matches!(judge(&open, &closed), Finding::Blocked(why) if why.contains("2026.11.24")));
    }

    #[test]
    fn a_setting_that_passes_counts_before_one_that_stays() {
        let settings = json!({
            "transient": { "action.auto_create_index": "true" },
            "persistent": { "action.auto_create_index": "false" }, "defaults": {}
        });
        assert_eq!(judge_cluster(&settings, "app-logs-2026.11.25"), Finding::Proven);
    }

    #[test]
    fn an_index_that_is_not_made_for_a_line_counts_before_one_that_is_not_made_by_asking() {
        let settings = |auto_create: &str| json!({ "persistent": { "cluster.blocks.create_index": "true", "action.auto_create_index": auto_create } });
        let judge = |auto_create| judge_cluster(&settings(auto_create), "app-logs-2026.11.25");
        assert!(matches!(judge("true"), Finding::Unproven(why) if why.contains(CREATE_BLOCK)));
        assert!(matches!(judge("false"), Finding::Blocked(why) if why.contains(AUTO_CREATE)));
    }
}
