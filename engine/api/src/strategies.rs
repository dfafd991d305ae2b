//! `/api/v1/strategies`.

use hotswap_core::StrategyName;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use crate::auth::{Admin, Viewer};
use crate::body::Wasm;
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{
    AUTH, CONFLICT, Failure, INVALID, Kind, MEDIA, MISSING, Problem, SLOW, TOO_LARGE, UNAVAILABLE,
    UNPROCESSABLE,
};
use crate::text::Text;
use crate::view;

/// Operations on strategies.
pub(crate) struct Strategies;

/// A strategy is there.
#[derive(ApiResponse)]
enum Uploaded {
    /// The strategy is there under the name that it gives itself.
    #[oai(status = 201)]
    Created(
        Json<view::Strategy>,
        /// The strategy.
        #[oai(header = "Location")]
        String,
    ),
}

/// A strategy is gone.
#[derive(ApiResponse)]
enum Deleted {
    /// The name stands for nothing any more.
    #[oai(status = 204)]
    Gone,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Strategies")]
impl Strategies {
    /// List strategies
    ///
    /// Those that came with the engine, and those that were uploaded.
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
    /// With the schema of its configuration.
    #[oai(
        path = "/strategies/:name",
        method = "get",
        operation_id = "getStrategy"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The strategy's name.
        name: Path<Text<StrategyName>>,
    ) -> Result<Json<view::Strategy>, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>> {
        let name = name.0.0;
        let record = context.engine.strategies.get(&name).await?;
        Ok(Json(record.ok_or_else(|| unknown(&name))?.into()))
    }

    /// Upload a strategy
    ///
    /// The body is a component of the world `hotswap:strategy/strategy`, of at most 16 MiB.
    /// It is used by the name that it gives itself, and takes the place of an uploaded
    /// strategy of that name. Deployments that run go on with the code they began with.
    #[oai(path = "/strategies", method = "post", operation_id = "uploadStrategy")]
    async fn upload(
        &self,
        admin: Admin,
        context: Data<&Context>,
        body: Wasm,
    ) -> Result<
        Uploaded,
        Failure<
            { INVALID | AUTH | SLOW | CONFLICT | TOO_LARGE | MEDIA | UNPROCESSABLE | UNAVAILABLE },
        >,
    > {
        let component = body.whole(context.limits.strategy).await?;
        let record = context
            .engine
            .strategies
            .upload(component, &admin.0.subject)
            .await?;
        let location = format!("/api/v1/strategies/{}", record.name);
        Ok(Uploaded::Created(Json(record.into()), location))
    }

    /// Delete a strategy
    ///
    /// New deployments cannot name it any more; those that run go on. One that came with
    /// the engine cannot be deleted.
    #[oai(
        path = "/strategies/:name",
        method = "delete",
        operation_id = "deleteStrategy"
    )]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The strategy's name.
        name: Path<Text<StrategyName>>,
    ) -> Result<Deleted, Failure<{ INVALID | AUTH | MISSING | CONFLICT | UNAVAILABLE }>> {
        let name = name.0.0;
        if context.engine.strategies.delete(&name).await? {
            Ok(Deleted::Gone)
        } else {
            Err(unknown(&name).into())
        }
    }
}

fn unknown(name: &StrategyName) -> Problem {
    let detail = format!("there is no strategy '{name}'; list them with GET /api/v1/strategies");
    Problem::new(Kind::UnknownStrategy, detail)
}
