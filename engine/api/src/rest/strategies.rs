//! `/api/v1/strategies`.

use hotswap_core::StrategyName;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, Parsed, Viewer, WasmBody};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, Failure, Kind, NOT_FOUND, Problem, UNAVAILABLE, UPLOAD,
};
use crate::view;

/// Operations on strategies.
pub(super) struct Strategies;

#[derive(ApiResponse)]
enum UploadResponse {
    /// The strategy can be used under the name that it declares.
    #[oai(status = 201)]
    Created(
        Json<view::Strategy>,
        /// The path of the strategy.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum DeleteResponse {
    /// The strategy was deleted.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Strategies")]
impl Strategies {
    /// List strategies
    ///
    /// Returns the built-in and the uploaded strategies.
    #[oai(path = "/strategies", method = "get", operation_id = "listStrategies")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Strategies>, Failure<{ AUTH | UNAVAILABLE }>> {
        let records = context.engine.strategies.list().await?;
        let strategies = records.into_iter().map(Into::into).collect();
        Ok(Json(view::Strategies { strategies }))
    }

    /// Get a strategy
    ///
    /// Returns a strategy with the schema of its configuration.
    #[oai(
        path = "/strategies/:name",
        method = "get",
        operation_id = "getStrategy"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the strategy.
        name: Path<Parsed<StrategyName>>,
    ) -> Result<Json<view::Strategy>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>>
    {
        let name = name.0.0;
        let record = context.engine.strategies.get(&name).await?;
        Ok(Json(record.ok_or_else(|| unknown_strategy(&name))?.into()))
    }

    /// Upload a strategy
    ///
    /// The body is a component of the world `hotswap:strategy/strategy`, of at most 16 MiB.
    /// The strategy declares its own name, and replaces an uploaded strategy of the same
    /// name. Running deployments keep the code that they started with.
    #[oai(path = "/strategies", method = "post", operation_id = "uploadStrategy")]
    async fn upload(
        &self,
        admin: Admin,
        context: Data<&Context>,
        body: WasmBody,
    ) -> Result<UploadResponse, Failure<UPLOAD>> {
        let component = body.read_all(context.limits.strategy_bytes).await?;
        let record = context
            .engine
            .strategies
            .upload(component, &admin.0.subject)
            .await?;
        let location = format!("/api/v1/strategies/{}", record.name);
        Ok(UploadResponse::Created(Json(record.into()), location))
    }

    /// Delete a strategy
    ///
    /// New deployments can no longer use the strategy; running deployments continue. A
    /// built-in strategy cannot be deleted.
    #[oai(
        path = "/strategies/:name",
        method = "delete",
        operation_id = "deleteStrategy"
    )]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The name of the strategy.
        name: Path<Parsed<StrategyName>>,
    ) -> Result<DeleteResponse, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | CONFLICT | UNAVAILABLE }>>
    {
        let name = name.0.0;
        if context.engine.strategies.delete(&name).await? {
            Ok(DeleteResponse::Deleted)
        } else {
            Err(unknown_strategy(&name).into())
        }
    }
}

fn unknown_strategy(name: &StrategyName) -> Problem {
    let detail =
        format!("strategy '{name}' does not exist; list strategies with GET /api/v1/strategies");
    Problem::new(Kind::UnknownStrategy, detail)
}
