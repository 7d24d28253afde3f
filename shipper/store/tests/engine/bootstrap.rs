//! Pipeline and template: put in place, checked, and never replaced if they are foreign.

use reqwest::Method;
use serde_json::{Value, json};
use store::{BootstrapError, BootstrapMode, BootstrapOutcome, CauseKind, Disposition, Finding};

use crate::lines::{batch, generation, record};
use crate::rig::Rig;

#[tokio::test]
async fn both_are_put_in_place_once() {
    let rig = Rig::full("inplace");
    let store = rig.store().await;
    let missing = store.bootstrap(BootstrapMode::Check).await;
    assert!(matches!(&missing, Err(BootstrapError::Refused(cause)) if cause.reason.contains("missing")), "{missing:?}");
    let report = store.bootstrap(BootstrapMode::Apply).await.unwrap();
    assert_eq!((report.pipeline, report.template), (BootstrapOutcome::Created, BootstrapOutcome::Created));
    for mode in [BootstrapMode::Apply, BootstrapMode::Check] {
        let report = store.bootstrap(mode).await.unwrap();
        assert_eq!((report.pipeline, report.template), (BootstrapOutcome::InPlace, BootstrapOutcome::InPlace));
    }
    rig.clean().await;
}

#[tokio::test]
async fn newer_versions_are_kept_and_older_ones_replaced() {
    let rig = Rig::full("versions");
    let store = rig.ready_store().await;
    let path = format!("_index_template/{}", rig.settings.index_prefix);
    let (_, there) = rig.request(Method::GET, &path, None).await;
    let template = there["index_templates"][0]["index_template"].clone();
    for (version, expected) in [(1_000, BootstrapOutcome::InPlace), (0, BootstrapOutcome::Updated)] {
        let mut other = template.clone();
        other["version"] = json!(version);
        rig.request(Method::PUT, &path, Some(other)).await;
        assert_eq!(store.bootstrap(BootstrapMode::Apply).await.unwrap().template, expected);
    }
    rig.clean().await;
}

#[tokio::test]
async fn foreign_parts_are_unchanged() {
    let rig = Rig::full("foreign");
    let store = rig.store().await;
    let prefix = &rig.settings.index_prefix;
    let path = format!("_index_template/{prefix}");
    let foreign = json!({ "index_patterns": [format!("{prefix}-*")], "priority": 300 });
    rig.request(Method::PUT, &path, Some(foreign.clone())).await;
    let refused = store.bootstrap(BootstrapMode::Apply).await;
    assert!(matches!(&refused, Err(BootstrapError::Refused(_))), "{refused:?}");
    let (_, there) = rig.request(Method::GET, &path, None).await;
    assert_eq!(there["index_templates"][0]["index_template"]["priority"], 300);
    // Under another name, it would take precedence over this program's.
    rig.request(Method::DELETE, &path, None).await;
    rig.request(Method::PUT, &format!("{path}-other"), Some(foreign)).await;
    let refused = store.bootstrap(BootstrapMode::Apply).await;
    assert!(
        matches!(&refused, Err(BootstrapError::Refused(cause)) if cause.reason.contains("priority")),
        "{refused:?}"
    );
    rig.request(Method::DELETE, &format!("{path}-other"), None).await;
    rig.clean().await;
}

#[tokio::test]
async fn an_engine_without_processors_is_reported_in_one_message() {
    let mut rig = Rig::bare("processors");
    rig.settings.pipeline = Some(rig.settings.index_prefix.clone());
    let refused = rig.store().await.bootstrap(BootstrapMode::Apply).await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("--pipeline none"), "{cause}");
    rig.settings.pipeline = None;
    let report = rig.store().await.bootstrap(BootstrapMode::Apply).await.unwrap();
    assert_eq!((report.pipeline, report.template), (BootstrapOutcome::NotUsed, BootstrapOutcome::Created));
    rig.clean().await;
}

async fn fields_have_their_types(rig: Rig) {
    let store = rig.ready_store().await;
    let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", Some("r-1"))]);
    store.write(&lines).await.unwrap();
    let (_, mapping) = rig.request(Method::GET, &format!("{}/_mapping", lines.index_name(0)), None).await;
    let mapping = &mapping[lines.index_name(0)]["mappings"];
    assert_eq!(mapping["dynamic"], "false");
    let properties = &mapping["properties"];
    let kind = |field: &str| -> Value {
        field.split('.').fold(properties.clone(), |at, name| {
            let inner = if at[name].is_null() { &at["properties"][name] } else { &at[name] };
            inner.clone()
        })["type"]
            .clone()
    };
    for (field, expected) in [
        ("request_id", "keyword"),
        ("service", "keyword"),
        ("project_id", "keyword"),
        ("level", "keyword"),
        ("endpoint", "keyword"),
        ("method", "keyword"),
        ("message", "text"),
        ("status", "integer"),
        ("duration_ms", "double"),
        ("timestamp", "date_nanos"),
        ("origin.generation", "keyword"),
        ("origin.offset", "long"),
    ] {
        assert_eq!(kind(field), expected, "{field}");
    }
    let (_, settings) = rig.request(Method::GET, &format!("{}/_settings", lines.index_name(0)), None).await;
    assert_eq!(settings[lines.index_name(0)]["settings"]["index"]["translog"]["durability"], "request");
    rig.clean().await;
}

#[tokio::test]
async fn the_template_gives_fields_their_types() {
    fields_have_their_types(Rig::full("types")).await;
}

#[tokio::test]
async fn the_template_gives_fields_their_types_without_processors() {
    fields_have_their_types(Rig::bare("types")).await;
}

#[tokio::test]
async fn preflight_proves_template_and_sample_lines() {
    let rig = Rig::full("preflight");
    let store = rig.store().await;
    let missing = store.preflight().await;
    assert!(matches!(&missing, Err(BootstrapError::Refused(cause)) if cause.reason.contains("missing")), "{missing:?}");
    store.bootstrap(BootstrapMode::Apply).await.unwrap();
    let report = store.preflight().await.unwrap();
    assert_eq!((&report.template_in_force, &report.sample_lines), (&Finding::Proven, &Finding::Proven));
    rig.clean().await;
    // Without security, permissions are unknown; without processors, no sample line is tried.
    let rig = Rig::bare("preflight");
    let report = rig.ready_store().await.preflight().await.unwrap();
    assert_eq!((&report.template_in_force, &report.sample_lines), (&Finding::Proven, &Finding::NotUsed));
    assert!(matches!(report.rights, Finding::Unproven(_)), "{report}");
    rig.clean().await;
}

/// Preflight reports an index that is blocked by an operator or a full disk.
async fn blocked_indices_are_reported(rig: Rig) {
    let store = rig.ready_store().await;
    assert_eq!(store.preflight().await.unwrap().index_blocks, Finding::Proven, "there is no index yet");
    let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", None)]);
    store.write(&lines).await.unwrap();
    let report = store.preflight().await.unwrap();
    assert_eq!((&report.index_blocks, report.is_blocked()), (&Finding::Proven, false), "{report}");
    for block in ["index.blocks.read_only_allow_delete", "index.blocks.write", "index.blocks.read_only"] {
        let path = format!("{}/_settings", lines.index_name(0));
        assert_eq!(rig.request(Method::PUT, &path, Some(json!({ block: true }))).await.0, 200);
        let report = store.preflight().await.unwrap();
        let Finding::Blocked(why) = &report.index_blocks else { panic!("{report}") };
        assert!(why.contains(lines.index_name(0)) && why.contains(block) && why.contains("null"), "{why}");
        assert!(report.is_blocked() && report.to_string().contains("index blocks: blocked, "), "{report}");
        // Writes are indeed refused.
        let refused = store.write(&batch(&rig.settings.index_prefix, generation(2), &[record(0, "b", None)])).await;
        let refused = refused.unwrap();
        assert!(matches!(&refused[..], [Disposition::Retry(cause)] if cause.kind == CauseKind::Block), "{refused:?}");
        assert_eq!(rig.request(Method::PUT, &path, Some(json!({ block: null }))).await.0, 200);
    }
    assert_eq!(store.preflight().await.unwrap().index_blocks, Finding::Proven);
    rig.clean().await;
}

#[tokio::test]
async fn blocked_indices_are_reported_with_processors() {
    blocked_indices_are_reported(Rig::full("blocks")).await;
}

#[tokio::test]
async fn blocked_indices_are_reported_without_processors() {
    blocked_indices_are_reported(Rig::bare("blocks")).await;
}

/// Preflight reports a cluster that does not create indices for lines. The setting does not affect the indices of other
/// tests.
async fn an_index_that_is_not_created_is_reported(rig: Rig) {
    let store = rig.ready_store().await;
    assert_eq!(store.preflight().await.unwrap().cluster_blocks, Finding::Proven);
    let settings = rig.cluster_settings().await;
    let set = |value: Value| json!({ "transient": { "action.auto_create_index": value } });
    let patterns = format!("-{}-*,+*", rig.settings.index_prefix);
    assert_eq!(rig.request(Method::PUT, "_cluster/settings", Some(set(json!(patterns)))).await.0, 200);
    let report = store.preflight().await;
    let refused = store.write(&batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", None)])).await;
    assert_eq!(rig.request(Method::PUT, "_cluster/settings", Some(set(Value::Null))).await.0, 200);
    drop(settings);
    let report = report.unwrap();
    let Finding::Blocked(why) = &report.cluster_blocks else { panic!("{report}") };
    assert!(why.contains("action.auto_create_index") && why.contains(&patterns), "{why}");
    assert!(matches!(&refused.unwrap()[..], [Disposition::Retry(cause)] if cause.kind == CauseKind::MissingIndex));
    assert_eq!(store.preflight().await.unwrap().cluster_blocks, Finding::Proven);
    rig.clean().await;
}

#[tokio::test]
async fn an_index_that_is_not_created_is_reported_with_processors() {
    an_index_that_is_not_created_is_reported(Rig::full("autocreate")).await;
}

#[tokio::test]
async fn an_index_that_is_not_created_is_reported_without_processors() {
    an_index_that_is_not_created_is_reported(Rig::bare("autocreate")).await;
}

#[tokio::test]
async fn a_pipeline_that_produces_no_records_is_refused() {
    let rig = Rig::full("spoiltpipeline");
    let store = rig.ready_store().await;
    let path = format!("_ingest/pipeline/{}", rig.settings.index_prefix);
    let (_, there) = rig.request(Method::GET, &path, None).await;
    let mut pipeline = there[&rig.settings.index_prefix].clone();
    // Someone changed this program's pipeline and left its mark.
    pipeline["processors"] = json!([{ "set": { "field": "message", "value": "changed" } }]);
    rig.request(Method::PUT, &path, Some(pipeline)).await;
    let refused = store.preflight().await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("does not turn a line of") && cause.reason.contains("message"), "{cause}");
    rig.clean().await;
}
