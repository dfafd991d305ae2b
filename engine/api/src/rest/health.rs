//! `/health` and `/metrics`.

use std::time::Duration;

use hotswap_core::Timestamp;
use poem::web::Data;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use super::tag::Tag;
use crate::context::Context;
use crate::problem::{Failure, Kind, Problem, UNAVAILABLE};

/// A store that needs longer to read one row cannot serve requests.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Operations on the state of the engine.
pub(super) struct Health;

/// The state of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
struct Healthy {
    /// The status. Always `ok`: any other state is answered with a problem.
    status: HealthStatus,
    /// What a person should look at although the engine works: what happened, and what to do, each
    /// in a sentence. Of readiness alone, and absent if there is nothing.
    warnings: Option<Vec<String>>,
}

/// The status of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
enum HealthStatus {
    /// The engine works.
    Ok,
}

#[derive(ApiResponse)]
enum MetricsResponse {
    /// All metrics, as OpenMetrics text.
    #[oai(
        status = 200,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )]
    Text(PlainText<String>),
}

impl Healthy {
    fn with_warnings(warnings: Vec<String>) -> Json<Self> {
        Json(Self {
            status: HealthStatus::Ok,
            warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        })
    }
}

#[OpenApi(tag = "Tag::Health")]
impl Health {
    /// Check liveness
    ///
    /// Succeeds as long as the process answers at all. If this fails, restart the process.
    #[oai(path = "/health/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Json<Healthy> {
        Healthy::with_warnings(Vec::new())
    }

    /// Check readiness
    ///
    /// Succeeds if the engine can read from its store and is not about to stop. Where engines share
    /// the store, its last sign of life there, which is a write, must have been accepted too. If this
    /// fails, send the engine no requests until it succeeds again. For seven days after a shared store
    /// was found to have lost acknowledged writes, `warnings` says so. It also says what the server of
    /// the store may lose from now on and did not before, and names settings that should be the same
    /// for all engines and are not.
    #[oai(path = "/health/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, context: Data<&Context>) -> Result<Json<Healthy>, Failure<UNAVAILABLE>> {
        if context.stopping.has_begun() {
            return Err(Problem::new(Kind::Unavailable, "the engine is about to stop").into());
        }
        let deployments = &context.engine.deployments;
        if let Some(reason) = deployments.write_failure() {
            return Err(Problem::new(Kind::Unavailable, reason).into());
        }
        let read = deployments.position();
        match tokio::time::timeout(STORE_TIMEOUT, read).await {
            Ok(result) => {
                result?;
                let loss = deployments.recent_loss().map(describe_loss);
                let weaker = deployments.lost_durability();
                let weaker = weaker.map(describe_lost_durability);
                let differing = deployments.contradictions().into_iter();
                let differing = differing.map(describe_contradiction);
                Ok(Healthy::with_warnings(
                    loss.into_iter().chain(weaker).chain(differing).collect(),
                ))
            }
            Err(_) => {
                let seconds = STORE_TIMEOUT.as_secs();
                let detail = format!("the store did not answer within {seconds} s");
                Err(Problem::new(Kind::Unavailable, detail).into())
            }
        }
    }

    /// Get metrics
    ///
    /// Returns the engine's metrics for Prometheus and compatible scrapers. Alert on
    /// `hotswap_deployments_damaged` above 0 (journals that this engine cannot read: nothing drives
    /// their deployments) and on `hotswap_disk_full`.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    async fn metrics(&self, context: Data<&Context>) -> MetricsResponse {
        MetricsResponse::Text(PlainText(context.metrics.encode()))
    }
}

fn describe_loss(noticed_at: Timestamp) -> String {
    format!(
        "the store has lost writes that it had acknowledged, which was noticed at {noticed_at}: look \
         at the deployments whose events say writesLost, repeat requests that were accepted shortly \
         before and have no effect, and let the server keep what it acknowledges \
         (docs/SCALING.md, When the store has lost writes)"
    )
}

fn describe_lost_durability(reason: String) -> String {
    format!(
        "the server of the store promises less than is required, or than when this engine started: \
         {reason} (docs/RUNBOOK.md, HotSwapStoreNotDurable)"
    )
}

fn describe_contradiction(contradiction: String) -> String {
    format!(
        "{contradiction}, and should be the same: change the configuration of one of them \
         (docs/SCALING.md, What is in each engine's own file)"
    )
}
