//! `/health` and `/metrics`.

use std::time::Duration;

use hotswap_store::Query;
use poem::web::Data;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{Failure, Kind, Problem, UNAVAILABLE};

/// A store that takes longer to read one row does not serve anybody.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Operations on how the engine is.
pub(crate) struct Health;

/// How the engine is.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
struct Healthy {
    /// The word for it.
    status: Word,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "HealthStatus", rename_all = "camelCase")]
enum Word {
    /// All is well.
    Ok,
}

/// What is counted.
#[derive(ApiResponse)]
enum Metrics {
    /// All metrics, as OpenMetrics text.
    #[oai(
        status = 200,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )]
    Text(PlainText<String>),
}

const HEALTHY: Json<Healthy> = Json(Healthy { status: Word::Ok });

#[OpenApi(tag = "Tag::Health")]
impl Health {
    /// Is the process alive
    ///
    /// Answers as long as the process answers anything: restart it where this fails.
    #[oai(path = "/health/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Json<Healthy> {
        HEALTHY
    }

    /// Can the engine serve
    ///
    /// Reads from the store. Send it no requests where this fails; it may come back.
    #[oai(path = "/health/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, context: Data<&Context>) -> Result<Json<Healthy>, Failure<UNAVAILABLE>> {
        if context.closing.is_cancelled() {
            return Err(Problem::new(Kind::Unavailable, "the engine is shutting down").into());
        }
        let one = Query {
            limit: 1,
            ..Query::default()
        };
        match tokio::time::timeout(STORE_PATIENCE, context.engine.deployments.list(&one)).await {
            Ok(read) => read.map(|_| HEALTHY).map_err(Into::into),
            Err(_) => {
                let detail = "the store takes too long to answer";
                Err(Problem::new(Kind::Unavailable, detail).into())
            }
        }
    }

    /// Get metrics
    ///
    /// For Prometheus and what reads its formats.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    async fn metrics(&self, context: Data<&Context>) -> Metrics {
        Metrics::Text(PlainText(context.metrics.text()))
    }
}
