//! Puts an engine's ingest pipeline and index template in place, or checks them.
//!
//! Both carry a version and the mark [`MANAGED_BY`]. Anything without the mark belongs to someone else and is never
//! overwritten; newer versions are left unchanged. Both include the user-named [`fields`]. What the credentials may not
//! read is skipped and reported as unproven.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapOutcome, BootstrapReport};
use crate::disposition::{Cause, CauseKind};
use crate::engine::bulk_response::store_refusal_kind;
use crate::engine::client::Response;
use crate::engine::mark::{MANAGED_BY, is_marked};
use crate::engine::{Engine, fields};
use crate::query::NamedFields;

const PIPELINE: &str = include_str!("../../../../infra/elasticsearch/ingest-pipeline.json");
const TEMPLATE: &str = include_str!("../../../../infra/elasticsearch/index-template.json");

impl Engine {
    pub(crate) async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        let template = self.template(mode).await?;
        // The pipeline comes first: it must move aside what an index of the new template would reject.
        let pipeline = match &self.settings.pipeline {
            Some(name) => self.put_pipeline(name, template.as_ref().map(|plan| &plan.fields), mode).await?,
            None => BootstrapOutcome::NotUsed,
        };
        let template = match template {
            Some(plan) => self.put(&self.template_path(), &plan.wanted, plan.outcome).await?,
            None => BootstrapOutcome::Unproven,
        };
        self.template_in_force().await?;
        Ok(BootstrapReport { pipeline, template })
    }

    async fn put_pipeline(
        &self,
        name: &str,
        fields: Option<&NamedFields>,
        mode: BootstrapMode,
    ) -> Result<BootstrapOutcome, BootstrapError> {
        let path = format!("_ingest/pipeline/{name}");
        let mut wanted: Value = parse(PIPELINE)?;
        let existing = match self.get(&path).await? {
            Existing::Forbidden => return Ok(BootstrapOutcome::Unproven),
            Existing::Missing => None,
            Existing::Present(response) => Some(response[name].clone()),
        };
        let known = existing.as_ref().map(fields::script_fields).unwrap_or_default();
        let names = fields::merged_script_fields(fields, &known);
        fields::set_script_fields(&mut wanted, &names);
        let what = format!("the ingest pipeline {name:?}");
        // The description is the only place in a pipeline for a mark that all engines support.
        let is_own = |existing: &Value| existing["description"].as_str().is_some_and(|text| text.contains(MANAGED_BY));
        let part = Part { what: &what, option: "--pipeline NAME", fields_differ: known != names };
        let plan = plan(existing.as_ref(), &wanted, is_own, mode, &part)?;
        self.put(&path, &wanted, plan).await
    }

    fn template_path(&self) -> String {
        format!("_index_template/{}", self.settings.index_prefix)
    }

    /// Plans the change of the template. Returns `None` if the credentials do not allow reading it.
    async fn template(&self, mode: BootstrapMode) -> Result<Option<TemplatePlan>, BootstrapError> {
        let mut wanted: Value = parse(TEMPLATE)?;
        wanted["index_patterns"] = json!([self.indices()]);
        if self.settings.pipeline.is_none() {
            // Only the pipeline turns `event` into an object and sets other values aside. Without it, the engine would
            // reject lines with a plain `event`, which many loggers write.
            let fields = wanted["template"]["mappings"]["properties"].as_object_mut();
            fields.and_then(|fields| fields.remove("event"));
        }
        let existing = match self.get(&self.template_path()).await? {
            Existing::Forbidden => return Ok(None),
            Existing::Missing => None,
            Existing::Present(response) => Some(response["index_templates"][0]["index_template"].clone()),
        };
        let known = existing.as_ref().map(fields::fields_of).unwrap_or_default();
        let fields = self.settings.fields.clone().unwrap_or_else(|| known.clone());
        fields::add_to_template(&mut wanted, &fields);
        let what = format!("the index template {:?}", self.settings.index_prefix);
        let part = Part { what: &what, option: "--index-prefix NAME", fields_differ: known != fields };
        let outcome = plan(existing.as_ref(), &wanted, is_marked, mode, &part)?;
        Ok(Some(TemplatePlan { wanted, fields, outcome }))
    }

    async fn get(&self, path: &str) -> Result<Existing, BootstrapError> {
        let response = self.client.json(Method::Get, path, None).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        match response.status {
            200 => Ok(Existing::Present(response.json())),
            404 => Ok(Existing::Missing),
            _ if is_forbidden(&response) => Ok(Existing::Forbidden),
            _ => Err(response_error(&response, &format!("can't read {path}"))),
        }
    }

    async fn put(
        &self,
        path: &str,
        wanted: &Value,
        outcome: BootstrapOutcome,
    ) -> Result<BootstrapOutcome, BootstrapError> {
        if outcome == BootstrapOutcome::InPlace {
            return Ok(outcome);
        }
        let response = self.client.json(Method::Put, path, Some(wanted)).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        match response.status {
            200 => Ok(outcome),
            _ => Err(response_error(&response, &format!("can't put {path} in place"))),
        }
    }
}

/// The current state of a part on the engine.
enum Existing {
    Present(Value),
    Missing,
    /// The credentials do not allow reading it, and so not changing it either.
    Forbidden,
}

/// Whether the engine knows the credentials but denies access.
pub(super) fn is_forbidden(response: &Response) -> bool {
    response.status == 403
}

/// The planned change of the template.
struct TemplatePlan {
    wanted: Value,
    fields: NamedFields,
    outcome: BootstrapOutcome,
}

/// Describes a part in messages.
struct Part<'p> {
    what: &'p str,
    /// The option that changes its name.
    option: &'p str,
    /// Whether its user-named fields differ from the wanted ones.
    fields_differ: bool,
}

/// Plans the change of a part.
fn plan(
    existing: Option<&Value>,
    wanted: &Value,
    is_own: impl Fn(&Value) -> bool,
    mode: BootstrapMode,
    part: &Part<'_>,
) -> Result<BootstrapOutcome, BootstrapError> {
    let Part { what, option, fields_differ } = part;
    let (version, own) = (existing.and_then(|existing| existing["version"].as_i64()), wanted["version"].as_i64());
    let outcome = match existing {
        None => BootstrapOutcome::Created,
        Some(existing) if !is_own(existing) => {
            return Err(refused(format!(
                "{what} exists and does not belong to this program, so it is left unchanged: choose another name with {option}"
            )));
        }
        Some(_) if version < own => BootstrapOutcome::Updated,
        Some(_) if version > own && *fields_differ => {
            return Err(refused(format!(
                "{what} is from a newer version of this program and has other named fields: set the fields with that \
                 version, or none here"
            )));
        }
        Some(_) if *fields_differ => BootstrapOutcome::Updated,
        // It is the same, or from a newer program, which supports older ones.
        Some(_) => BootstrapOutcome::InPlace,
    };
    if mode == BootstrapMode::Check && outcome != BootstrapOutcome::InPlace {
        let state = match outcome {
            BootstrapOutcome::Created => "is missing",
            _ if version < own => "is an older version",
            _ => "has other named fields",
        };
        return Err(refused(format!("{what} {state}: run `shipper bootstrap`, or allow it with --bootstrap apply")));
    }
    Ok(outcome)
}

fn parse(text: &str) -> Result<Value, BootstrapError> {
    serde_json::from_str(text).map_err(|error| refused(format!("a built-in file is not JSON: {error}")))
}

pub(super) fn refused(reason: String) -> BootstrapError {
    BootstrapError::Refused(Cause::new(0, reason).with_kind(CauseKind::NotInPlace))
}

/// Converts an engine's error response, with advice where the problem is known.
pub(super) fn response_error(response: &Response, what: &str) -> BootstrapError {
    let cause = response.cause();
    if response.is_transient() {
        return BootstrapError::Unavailable(cause);
    }
    if let Some((_, rest)) = cause.reason.split_once("No processor type exists with name [") {
        let processor = rest.split(']').next().unwrap_or_default();
        return refused(format!(
            "the engine lacks the ingest processor {processor:?} (its ingest-common module is not installed): install it, \
             or set --pipeline none"
        ));
    }
    let (kind, reason) = response.error();
    let kind = store_refusal_kind(&kind, &reason).unwrap_or(cause.kind);
    BootstrapError::Refused(Cause::new(cause.status, format!("{what}: {}", cause.reason)).with_kind(kind))
}
