//! `POST /api/alerts`: receives Alertmanager's webhook, version 4, and logs each alert, so that alerts can be searched
//! along with the lines of their time.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::access::AlertSender;
use crate::problem::{Details, Problem};

/// Maximum alerts of one notification; more are rejected with 413.
pub const ALERTS_MAX: usize = 1_000;

/// The parts of a notification that are used.
#[derive(Debug, Deserialize)]
pub struct Notification {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: Status,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: String,
    #[serde(default)]
    fingerprint: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// Logs one line per alert, at level `warn` while it fires.
///
/// # Errors
/// 401 without the token for alerts, 413 for more than [`ALERTS_MAX`] alerts.
#[utoipa::path(
    post, path = "/api/alerts", tag = "service", request_body(content = Object, description = "Alertmanager's webhook, version 4"),
    responses(
        (status = 200, body = Object, description = "How many alerts were written as lines"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn receive(sender: AlertSender, notification: web::Json<Notification>) -> Result<HttpResponse, Problem> {
    sender.check()?;
    let alerts = &notification.alerts;
    if alerts.len() > ALERTS_MAX {
        let detail = format!("too many alerts: expected at most {ALERTS_MAX} in one notification");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    alerts.iter().for_each(write);
    Ok(HttpResponse::Ok().json(json!({ "alerts": alerts.len() })))
}

fn write(alert: &Alert) {
    let label = |name: &str| alert.labels.get(name).map_or("", String::as_str);
    let summary = alert.annotations.get("summary").map_or("", String::as_str);
    let (name, severity) = (label("alertname"), label("severity"));
    let labels = json!(alert.labels).to_string();
    let (starts_at, fingerprint) = (alert.starts_at.as_str(), alert.fingerprint.as_str());
    match alert.status {
        Status::Firing => tracing::warn!(
            target: "alert",
            alert_name = name, alert_status = "firing", severity, summary, labels, starts_at, fingerprint,
            "alert firing: {name}"
        ),
        Status::Resolved => tracing::info!(
            target: "alert",
            alert_name = name, alert_status = "resolved", severity, summary, labels, starts_at, fingerprint,
            "alert resolved: {name}"
        ),
    }
}
