//! Puts an engine's ingest pipeline and index template in place, or checks them.
//!
//! Both carry a version and the mark [`MANAGED_BY`]. Anything without the mark belongs to someone else and is never
//! overwritten; newer versions are left unchanged. Both include the user-named [`fields`]. What the credentials may not
//! read is left alone and reported as unproven.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport, Outcome};
use crate::disposition::{Cause, CauseKind};
use crate::engine::bulk_answer::about_the_engine;
use crate::engine::client::Answer;
use crate::engine::{Engine, fields};
use crate::query::NamedFields;

/// The mark of everything that this program puts in place.
const MANAGED_BY: &str = "actix-observability";

const PIPELINE: &str = include_str!("../../../../infra/elasticsearch/ingest-pipeline.json");
const TEMPLATE: &str = include_str!("../../../../infra/elasticsearch/index-template.json");

impl Engine {
    pub(crate) async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        let template = self.template(mode).await?;
        // The pipeline comes first: it must move aside what an index of the new template would reject.
        let pipeline = match &self.settings.pipeline {
            Some(name) => self.put_pipeline(name, template.as_ref().map(|step| &step.fields), mode).await?,
            None => Outcome::NotUsed,
        };
        let template = match template {
            Some(step) => self.put(&self.template_path(), &step.wanted, step.outcome).await?,
            None => Outcome::Unproven,
        };
        self.template_in_force().await?;
        Ok(BootstrapReport { pipeline, template })
    }

    async fn put_pipeline(
        &self,
        name: &str,
        fields: Option<&NamedFields>,
        mode: BootstrapMode,
    ) -> Result<Outcome, BootstrapError> {
        let path = format!("_ingest/pipeline/{name}");
        let mut wanted: Value = parse(PIPELINE)?;
        let there = match self.get(&path).await? {
            Found::NotAllowed => return Ok(Outcome::Unproven),
            Found::Missing => None,
            Found::There(answer) => Some(answer[name].clone()),
        };
        let known = there.as_ref().map(fields::told_script).unwrap_or_default();
        let names = fields::script_names(fields, &known);
        fields::tell_script(&mut wanted, &names);
        let what = format!("the ingest pipeline {name:?}");
        // The description is the only place in a pipeline for a mark that all engines support.
        let is_ours = |there: &Value| there["description"].as_str().is_some_and(|text| text.contains(MANAGED_BY));
        let part = Part { what: &what, option: "--pipeline NAME", fields_differ: known != names };
        let step = step(there.as_ref(), &wanted, is_ours, mode, &part)?;
        self.put(&path, &wanted, step).await
    }

    fn template_path(&self) -> String {
        format!("_index_template/{}", self.settings.index_prefix)
    }

    /// Plans the change of the template. Returns `None` if the credentials do not allow reading it.
    async fn template(&self, mode: BootstrapMode) -> Result<Option<TemplateStep>, BootstrapError> {
        let mut wanted: Value = parse(TEMPLATE)?;
        wanted["index_patterns"] = json!([self.indices()]);
        if self.settings.pipeline.is_none() {
            // Only the pipeline turns `event` into an object and sets other values aside. Without it, the engine would
            // reject lines with a plain `event`, which many loggers write.
            let fields = wanted["template"]["mappings"]["properties"].as_object_mut();
            fields.and_then(|fields| fields.remove("event"));
        }
        let there = match self.get(&self.template_path()).await? {
            Found::NotAllowed => return Ok(None),
            Found::Missing => None,
            Found::There(answer) => Some(answer["index_templates"][0]["index_template"].clone()),
        };
        let known = there.as_ref().map(fields::fields_of).unwrap_or_default();
        let fields = self.settings.fields.clone().unwrap_or_else(|| known.clone());
        fields::put_into(&mut wanted, &fields);
        let what = format!("the index template {:?}", self.settings.index_prefix);
        let part = Part { what: &what, option: "--index-prefix NAME", fields_differ: known != fields };
        let outcome = step(there.as_ref(), &wanted, is_marked, mode, &part)?;
        Ok(Some(TemplateStep { wanted, fields, outcome }))
    }

    async fn get(&self, path: &str) -> Result<Found, BootstrapError> {
        let answer = self.client.json(Method::Get, path, None).await;
        let answer = answer.map_err(|no_answer| BootstrapError::Unavailable(no_answer.into_cause()))?;
        match answer.status {
            200 => Ok(Found::There(answer.json())),
            404 => Ok(Found::Missing),
            _ if may_not_ask(&answer) => Ok(Found::NotAllowed),
            _ => Err(said_no(&answer, &format!("can't read {path}"))),
        }
    }

    async fn put(&self, path: &str, wanted: &Value, outcome: Outcome) -> Result<Outcome, BootstrapError> {
        if outcome == Outcome::InPlace {
            return Ok(outcome);
        }
        let answer = self.client.json(Method::Put, path, Some(wanted)).await;
        let answer = answer.map_err(|no_answer| BootstrapError::Unavailable(no_answer.into_cause()))?;
        match answer.status {
            200 => Ok(outcome),
            _ => Err(said_no(&answer, &format!("can't put {path} in place"))),
        }
    }
}

/// The current state of a part on the engine.
enum Found {
    There(Value),
    Missing,
    /// The credentials do not allow reading it, and so not changing it either.
    NotAllowed,
}

/// Whether the engine knows the credentials but denies access.
pub(super) fn may_not_ask(answer: &Answer) -> bool {
    answer.status == 403
}

/// The planned change of the template.
struct TemplateStep {
    wanted: Value,
    fields: NamedFields,
    outcome: Outcome,
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
fn step(
    there: Option<&Value>,
    wanted: &Value,
    is_ours: impl Fn(&Value) -> bool,
    mode: BootstrapMode,
    part: &Part<'_>,
) -> Result<Outcome, BootstrapError> {
    let Part { what, option, fields_differ } = part;
    let (version, own) = (there.and_then(|there| there["version"].as_i64()), wanted["version"].as_i64());
    let outcome = match there {
        None => Outcome::Created,
        Some(there) if !is_ours(there) => {
            return Err(refused(format!(
                "{what} exists and does not belong to this program, so it is left unchanged: choose another name with {option}"
            )));
        }
        Some(_) if version < own => Outcome::Updated,
        Some(_) if version > own && *fields_differ => {
            return Err(refused(format!(
                "{what} is from a newer version of this program and has other named fields: set the fields with that \
                 version, or none here"
            )));
        }
        Some(_) if *fields_differ => Outcome::Updated,
        // It is the same, or from a newer program, which supports older ones.
        Some(_) => Outcome::InPlace,
    };
    if mode == BootstrapMode::Check && outcome != Outcome::InPlace {
        let state = match outcome {
            Outcome::Created => "is missing",
            _ if version < own => "is an older version",
            _ => "has other named fields",
        };
        return Err(refused(format!("{what} {state}: run `shipper bootstrap`, or allow it with --bootstrap apply")));
    }
    Ok(outcome)
}

pub(super) fn is_marked(there: &Value) -> bool {
    there["_meta"]["managed_by"] == MANAGED_BY
}

fn parse(text: &str) -> Result<Value, BootstrapError> {
    serde_json::from_str(text).map_err(|error| refused(format!("a built-in file is not JSON: {error}")))
}

pub(super) fn refused(reason: String) -> BootstrapError {
    BootstrapError::Refused(Cause::new(0, reason).of_kind(CauseKind::NotInPlace))
}

/// Converts an engine's error response, with advice where the problem is known.
pub(super) fn said_no(answer: &Answer, what: &str) -> BootstrapError {
    let cause = answer.cause();
    if answer.is_passing() {
        return BootstrapError::Unavailable(cause);
    }
    if let Some((_, rest)) = cause.reason.split_once("No processor type exists with name [") {
        let processor = rest.split(']').next().unwrap_or_default();
        return refused(format!(
            "the engine lacks the ingest processor {processor:?} (its ingest-common module is not installed): install it, \
             or set --pipeline none"
        ));
    }
    let (kind, reason) = answer.error();
    let kind = about_the_engine(&kind, &reason).unwrap_or(cause.kind);
    BootstrapError::Refused(Cause::new(cause.status, format!("{what}: {}", cause.reason)).of_kind(kind))
}
