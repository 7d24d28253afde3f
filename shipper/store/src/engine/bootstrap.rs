//! Puts an engine's ingest pipeline and index template in place, or checks that they are.
//!
//! Each carries a version and the mark [`MANAGED_BY`]. What is there without the mark is somebody else's and is never
//! written over; what is newer is left as it is. The [`fields`] that the user named are put into both. What the credentials may not read is left alone, unproven.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport, Outcome};
use crate::disposition::{Cause, CauseKind};
use crate::engine::bulk_answer::about_the_engine;
use crate::engine::client::Answer;
use crate::engine::{Engine, fields};
use crate::query::NamedFields;

/// The mark of what this program put in place.
const MANAGED_BY: &str = "actix-observability";

const PIPELINE: &str = include_str!("../../../../infra/elasticsearch/ingest-pipeline.json");
const TEMPLATE: &str = include_str!("../../../../infra/elasticsearch/index-template.json");

impl Engine {
    pub(crate) async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        let template = self.template(mode).await?;
        // The pipeline first: what an index of the new template would refuse is moved aside by then.
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
        // Pipelines have no place for marks that all engines know, but for their description.
        let is_ours = |there: &Value| there["description"].as_str().is_some_and(|text| text.contains(MANAGED_BY));
        let part = Part { what: &what, option: "--pipeline NAME", fields_differ: known != names };
        let step = step(there.as_ref(), &wanted, is_ours, mode, &part)?;
        self.put(&path, &wanted, step).await
    }

    fn template_path(&self) -> String {
        format!("_index_template/{}", self.settings.index_prefix)
    }

    /// What has to be done about the template; none where the credentials may not read it.
    async fn template(&self, mode: BootstrapMode) -> Result<Option<TemplateStep>, BootstrapError> {
        let mut wanted: Value = parse(TEMPLATE)?;
        wanted["index_patterns"] = json!([self.indices()]);
        if self.settings.pipeline.is_none() {
            // Only the pipeline makes `event` an object, and keeps aside what else stands there; without it, many a
            // logger's plain `event` would make the engine refuse the line.
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

/// A part, as the engine has it.
enum Found {
    There(Value),
    Missing,
    /// The credentials may not read it. Whoever may not read it does not put it in place either.
    NotAllowed,
}

/// Whether the engine knows who is asking, and does not tell them.
pub(super) fn may_not_ask(answer: &Answer) -> bool {
    answer.status == 403
}

/// What has to be done about the template.
struct TemplateStep {
    wanted: Value,
    fields: NamedFields,
    outcome: Outcome,
}

/// A part, for messages.
struct Part<'p> {
    what: &'p str,
    /// How to have it by another name.
    option: &'p str,
    /// Whether other fields are named in it than are wanted.
    fields_differ: bool,
}

/// What has to be done about a part.
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
                "{what} is there and is not this program's: it is left as it is; choose another name with {option}"
            )));
        }
        Some(_) if version < own => Outcome::Updated,
        Some(_) if version > own && *fields_differ => {
            return Err(refused(format!(
                "{what} is of a newer version of this program and has other named fields: name the fields by that \
                 version, or none here"
            )));
        }
        Some(_) if *fields_differ => Outcome::Updated,
        // The same, or put there by a newer program, which knows what the older one needs.
        Some(_) => Outcome::InPlace,
    };
    if mode == BootstrapMode::Check && outcome != Outcome::InPlace {
        let state = match outcome {
            Outcome::Created => "is missing",
            _ if version < own => "is an older one",
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

/// An engine's no, with what to do about it where that is known.
pub(super) fn said_no(answer: &Answer, what: &str) -> BootstrapError {
    let cause = answer.cause();
    if answer.is_passing() {
        return BootstrapError::Unavailable(cause);
    }
    if let Some((_, rest)) = cause.reason.split_once("No processor type exists with name [") {
        let processor = rest.split(']').next().unwrap_or_default();
        return refused(format!(
            "the engine lacks the ingest processor {processor:?} (its ingest-common module is not installed): install it, \
             or ship without a pipeline by --pipeline none"
        ));
    }
    let (kind, reason) = answer.error();
    let kind = about_the_engine(&kind, &reason).unwrap_or(cause.kind);
    BootstrapError::Refused(Cause::new(cause.status, format!("{what}: {}", cause.reason)).of_kind(kind))
}
