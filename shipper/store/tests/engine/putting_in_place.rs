//! Pipeline and template: put in place, checked, and never over somebody else's.

use reqwest::Method;
use serde_json::{Value, json};
use store::{BootstrapError, BootstrapMode, Finding, Outcome};

use crate::lines::{batch, generation, record};
use crate::rig::Rig;

#[tokio::test]
async fn both_are_put_in_place_once() {
    let rig = Rig::full("inplace");
    let store = rig.store().await;
    let missing = store.bootstrap(BootstrapMode::Check).await;
    assert!(matches!(&missing, Err(BootstrapError::Refused(cause)) if cause.reason.contains("missing")), "{missing:?}");
    let report = store.bootstrap(BootstrapMode::Apply).await.unwrap();
    assert_eq!((report.pipeline, report.template), (Outcome::Created, Outcome::Created));
    for mode in [BootstrapMode::Apply, BootstrapMode::Check] {
        let report = store.bootstrap(mode).await.unwrap();
        assert_eq!((report.pipeline, report.template), (Outcome::InPlace, Outcome::InPlace));
    }
    rig.clean().await;
}

#[tokio::test]
async fn a_newer_one_stays_and_an_older_one_is_replaced() {
    let rig = Rig::full("versions");
    let store = rig.ready_store().await;
    let path = format!("_index_template/{}", rig.settings.index_prefix);
    let (_, there) = rig.ask(Method::GET, &path, None).await;
    let template = there["index_templates"][0]["index_template"].clone();
    for (version, expected) in [(1_000, Outcome::InPlace), (0, Outcome::Updated)] {
        let mut other = template.clone();
        other["version"] = json!(version);
        rig.ask(Method::PUT, &path, Some(other)).await;
        assert_eq!(store.bootstrap(BootstrapMode::Apply).await.unwrap().template, expected);
    }
    rig.clean().await;
}

#[tokio::test]
async fn somebody_elses_is_left_alone() {
    let rig = Rig::full("foreign");
    let store = rig.store().await;
    let prefix = &rig.settings.index_prefix;
    let path = format!("_index_template/{prefix}");
    let foreign = json!({ "index_patterns": [format!("{prefix}-*")], "priority": 300 });
    rig.ask(Method::PUT, &path, Some(foreign.clone())).await;
    let refused = store.bootstrap(BootstrapMode::Apply).await;
    assert!(matches!(&refused, Err(BootstrapError::Refused(_))), "{refused:?}");
    let (_, there) = rig.ask(Method::GET, &path, None).await;
    assert_eq!(there["index_templates"][0]["index_template"]["priority"], 300);
    // Under another name it would win over ours.
    rig.ask(Method::DELETE, &path, None).await;
    rig.ask(Method::PUT, &format!("{path}-other"), Some(foreign)).await;
    let refused = store.bootstrap(BootstrapMode::Apply).await;
    assert!(
        matches!(&refused, Err(BootstrapError::Refused(cause)) if cause.reason.contains("priority")),
        "{refused:?}"
    );
    rig.ask(Method::DELETE, &format!("{path}-other"), None).await;
    rig.clean().await;
}

#[tokio::test]
async fn an_engine_without_processors_is_told_so_in_one_message() {
    let mut rig = Rig::bare("processors");
    rig.settings.pipeline = Some(rig.settings.index_prefix.clone());
    let refused = rig.store().await.bootstrap(BootstrapMode::Apply).await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("--pipeline none"), "{cause}");
    rig.settings.pipeline = None;
    let report = rig.store().await.bootstrap(BootstrapMode::Apply).await.unwrap();
    assert_eq!((report.pipeline, report.template), (Outcome::NotUsed, Outcome::Created));
    rig.clean().await;
}

async fn fields_have_their_types(rig: Rig) {
    let store = rig.ready_store().await;
    let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", Some("r-1"))]);
    store.write(&lines).await.unwrap();
    let (_, mapping) = rig.ask(Method::GET, &format!("{}/_mapping", lines.index_name(0)), None).await;
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
    let (_, settings) = rig.ask(Method::GET, &format!("{}/_settings", lines.index_name(0)), None).await;
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
    // Without security nobody tells of rights, without processors nothing is tried.
    let rig = Rig::bare("preflight");
    let report = rig.ready_store().await.preflight().await.unwrap();
    assert_eq!((&report.template_in_force, &report.sample_lines), (&Finding::Proven, &Finding::NotUsed));
    assert!(matches!(report.rights, Finding::Unproven(_)), "{report}");
    rig.clean().await;
}

#[tokio::test]
async fn a_pipeline_that_makes_no_records_is_refused() {
    let rig = Rig::full("spoiltpipeline");
    let store = rig.ready_store().await;
    let path = format!("_ingest/pipeline/{}", rig.settings.index_prefix);
    let (_, there) = rig.ask(Method::GET, &path, None).await;
    let mut pipeline = there[&rig.settings.index_prefix].clone();
    // Somebody changed ours, and left its mark.
    pipeline["processors"] = json!([{ "set": { "field": "message", "value": "changed" } }]);
    rig.ask(Method::PUT, &path, Some(pipeline)).await;
    let refused = store.preflight().await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("makes no record") && cause.reason.contains("message"), "{cause}");
    rig.clean().await;
}
