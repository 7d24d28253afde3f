//! Checks whether lines would be stored correctly: the template that a new index gets, the pipeline's result for sample
//! lines, and the permissions of the credentials.
//!
//! Checks that the credentials do not allow, or the engine does not support, are unproven, not errors.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::bootstrap::{BootstrapError, BootstrapMode};
use crate::disposition::Cause;
use crate::engine::Engine;
use crate::engine::bootstrap::{is_forbidden, refused, response_error};
use crate::engine::fields::fields_of;
use crate::engine::mark::is_marked;
use crate::level::Level;
use crate::preflight::{Finding, PreflightReport};

/// A sample line and the expected result.
struct Sample {
    shape: &'static str,
    line: Value,
    service: &'static str,
    level: Level,
    message: &'static str,
}

impl Engine {
    /// Runs all checks. Changes nothing.
    pub(crate) async fn preflight(&self) -> Result<PreflightReport, BootstrapError> {
        let in_place = self.bootstrap(BootstrapMode::Check).await?;
        Ok(PreflightReport {
            in_place,
            template_in_force: self.template_in_force().await?,
            sample_lines: self.sample_lines().await?,
            rights: self.rights().await?,
            index_blocks: self.index_blocks().await?,
            cluster_blocks: self.cluster_blocks().await?,
        })
    }

    /// Checks the template that a new index would get, since one with a higher priority takes precedence silently.
    pub(super) async fn template_in_force(&self) -> Result<Finding, BootstrapError> {
        let path = format!("_index_template/_simulate_index/{}-2000.01.01", self.settings.index_prefix);
        let response = self.client.json(Method::Post, &path, None).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        let expected_fields = self.settings.fields.as_ref();
        match response.status {
            200 if is_marked(&response.json()["template"]["mappings"]) => {
                let existing = fields_of(&response.json()["template"]["mappings"]);
                if expected_fields.is_none_or(|expected_fields| *expected_fields == existing) {
                    return Ok(Finding::Proven);
                }
                Err(refused(format!(
                    "indices {} would get the named fields of another template of this program: choose an --index-prefix \
                     that does not begin with another one",
                    self.indices()
                )))
            }
            200 => Err(refused(format!(
                "indices {} would get an index template of another program: remove it, lower its priority below that of \
                 {:?}, or choose another --index-prefix",
                self.indices(),
                self.settings.index_prefix
            ))),
            _ if is_forbidden(&response) => Ok(Finding::Unproven("the credentials do not allow this check".to_owned())),
            _ => Err(response_error(&response, "can't check which template a new index gets")),
        }
    }

    /// Runs a sample line of each known format through the pipeline, without storing it.
    async fn sample_lines(&self) -> Result<Finding, BootstrapError> {
        let Some(pipeline) = &self.settings.pipeline else { return Ok(Finding::NotUsed) };
        let samples = samples();
        let index = format!("{}-2000.01.01", self.settings.index_prefix);
        let document = |sample: &Sample| json!({ "_index": index, "_id": sample.shape, "_source": sample.line });
        let body = json!({ "docs": samples.iter().map(document).collect::<Vec<_>>() });
        let response =
            self.client.json(Method::Post, &format!("_ingest/pipeline/{pipeline}/_simulate"), Some(&body)).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        match response.status {
            200 => {}
            _ if is_forbidden(&response) => {
                return Ok(Finding::Unproven("the credentials do not allow simulating the pipeline".to_owned()));
            }
            _ => return Err(response_error(&response, "can't simulate the ingest pipeline")),
        }
        let documents = &response.json()["docs"];
        for (index, sample) in samples.iter().enumerate() {
            sample.check(&documents[index]).map_err(|reason| {
                refused(format!(
                    "the ingest pipeline {pipeline:?} does not turn a line of {} into a record: {reason}; remove the \
                     pipeline and run `shipper bootstrap`, or choose another name with --pipeline NAME",
                    sample.shape
                ))
            })?;
        }
        Ok(Finding::Proven)
    }

    /// Checks the permissions of the credentials. Only Elasticsearch with security has an API for this.
    async fn rights(&self) -> Result<Finding, BootstrapError> {
        let indices = self.indices();
        let body = json!({ "index": [{ "names": [indices], "privileges": ["create_doc", "auto_configure"] }] });
        let response = self.client.json(Method::Post, "_security/user/_has_privileges", Some(&body)).await;
        let response = response.map_err(|error| BootstrapError::Unavailable(error.into_cause()))?;
        if response.status == 401 {
            return Err(response_error(&response, "the engine rejects the credentials"));
        }
        if response.status != 200 {
            return Ok(Finding::Unproven("the engine can't report it; the first write will show".to_owned()));
        }
        let granted = &response.json()["index"][&indices];
        let may = |privilege: &str| granted[privilege] == true;
        match (may("create_doc"), may("auto_configure")) {
            (true, true) => Ok(Finding::Proven),
            (true, false) => Ok(Finding::Unproven(format!("{indices} can be written, but not created"))),
            (false, _) => {
                let reason = format!(
                    "the credentials do not allow writing to {indices}: grant the privileges create_doc and auto_configure \
                     there"
                );
                Err(BootstrapError::Refused(Cause::new(403, reason)))
            }
        }
    }
}

impl Sample {
    /// Describes what is wrong with the result.
    fn check(&self, out: &Value) -> Result<(), String> {
        if let Some(reason) = out["error"]["reason"].as_str() {
            return Err(reason.to_owned());
        }
        let record = &out["doc"]["_source"];
        let expected = [
            ("timestamp", "2026-01-02T03:04:05.678Z"),
            ("service", self.service),
            ("level", self.level.as_str()),
            ("message", self.message),
            ("request_id", "preflight-1"),
        ];
        for (field, expected) in expected {
            if record[field] != expected {
                return Err(format!("{field} is {} and not {expected:?}", record[field]));
            }
        }
        match record.get("project_id") {
            Some(_) => Ok(()),
            None => Err("project_id is missing".to_owned()),
        }
    }
}

/// Returns a line of each format that the pipeline supports.
fn samples() -> [Sample; 4] {
    const AT: &str = "2026-01-02T03:04:05.678Z";
    let sample = |shape, line, level| Sample { shape, line, service: "billing", level, message: "paid" };
    [
        sample(
            "this project's library",
            json!({
                "timestamp": AT, "service": "billing", "level": "info", "message": "paid", "request_id": "preflight-1",
                "project_id": null
            }),
            Level::Info,
        ),
        sample(
            "bunyan",
            json!({
                "v": 0, "name": "billing", "level": 40, "msg": "paid", "time": AT, "hostname": "h", "pid": 1,
                "request_id": "preflight-1"
            }),
            Level::Warn,
        ),
        sample(
            "tracing-subscriber",
            json!({
                "timestamp": AT, "level": "ERROR", "service": "billing", "target": "billing",
                "fields": { "message": "paid", "request_id": "preflight-1" }
            }),
            Level::Error,
        ),
        sample(
            "an ECS logger",
            json!({
                "@timestamp": AT, "log.level": "info", "message": "paid", "service.name": "billing",
                "ecs.version": "1.6.0", "request_id": "preflight-1"
            }),
            Level::Info,
        ),
    ]
}
