//! `/health` and `/metrics`.

use std::time::Duration;

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
struct Healthy {
    /// The status. Always `ok`: any other state is answered with a problem.
    status: HealthStatus,
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

const HEALTHY: Json<Healthy> = Json(Healthy {
    status: HealthStatus::Ok,
});

#[OpenApi(tag = "Tag::Health")]
impl Health {
    /// Check liveness
    ///
    /// Succeeds as long as the process answers at all. If this fails, restart the process.
    #[oai(path = "/health/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Json<Healthy> {
        HEALTHY
    }

    /// Check readiness
    ///
    /// Succeeds if the engine can read from its store and is not about to stop. Where engines share
    /// the store, its last sign of life there, which is a write, must have been accepted too. If this
    /// fails, send the engine no requests until it succeeds again.
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
            Ok(result) => result.map(|_| HEALTHY).map_err(Into::into),
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
