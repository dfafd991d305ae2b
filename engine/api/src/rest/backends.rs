//! `/api/v1/backends`.

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

/// Operations on discovery backends.
pub(super) struct Backends;

#[derive(ApiResponse)]
enum UploadResponse {
    /// Sources can use the backend, under the name that it declares or by its digest.
    #[oai(status = 201)]
    Created(
        Json<view::Backend>,
        /// The path of the backend.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum DeleteResponse {
    /// The backend was deleted.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Discovery")]
impl Backends {
    /// List discovery backends
    ///
    /// Returns the backends that were uploaded. Those of the engine, such as `consul`, are not among
    /// them.
    #[oai(
        path = "/backends",
        method = "get",
        operation_id = "listDiscoveryBackends"
    )]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Backends>, Failure<{ AUTH | UNAVAILABLE }>> {
        let records = context.engine.discovery_backends.list().await?;
        let backends = records.into_iter().map(Into::into).collect();
        Ok(Json(view::Backends { backends }))
    }

    /// Get a discovery backend
    ///
    /// Returns a backend that was uploaded, with the schema of its settings and its secrets.
    #[oai(
        path = "/backends/:name",
        method = "get",
        operation_id = "getDiscoveryBackend"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the backend.
        name: Path<Parsed<StrategyName>>,
    ) -> Result<Json<view::Backend>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>>
    {
        let name = name.0.0;
        let record = context.engine.discovery_backends.get(&name).await?;
        Ok(Json(record.ok_or_else(|| unknown_backend(&name))?.into()))
    }

    /// Upload a discovery backend
    ///
    /// The body is a component of the world `hotswap:discovery/discovery`, of at most 16 MiB. The
    /// backend declares its own name, and replaces an uploaded backend of the same name. A source
    /// of the configuration uses it by its name or its digest once the engine starts again.
    #[oai(
        path = "/backends",
        method = "post",
        operation_id = "uploadDiscoveryBackend"
    )]
    async fn upload(
        &self,
        admin: Admin,
        context: Data<&Context>,
        body: WasmBody,
    ) -> Result<UploadResponse, Failure<UPLOAD>> {
        let component = body.read_all(context.limits.strategy_bytes).await?;
        let backends = &context.engine.discovery_backends;
        let record = backends.upload(component, &admin.0.subject).await?;
        let location = format!("/api/v1/backends/{}", record.name);
        Ok(UploadResponse::Created(Json(record.into()), location))
    }

    /// Delete a discovery backend
    ///
    /// A backend that a source of the configuration runs cannot be deleted.
    #[oai(
        path = "/backends/:name",
        method = "delete",
        operation_id = "deleteDiscoveryBackend"
    )]
    async fn delete(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The name of the backend.
        name: Path<Parsed<StrategyName>>,
    ) -> Result<DeleteResponse, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | CONFLICT | UNAVAILABLE }>>
    {
        let name = name.0.0;
        let backends = &context.engine.discovery_backends;
        if backends.delete(&name, &admin.0.subject).await? {
            Ok(DeleteResponse::Deleted)
        } else {
            Err(unknown_backend(&name).into())
        }
    }
}

fn unknown_backend(name: &StrategyName) -> Problem {
    let detail = format!(
        "no discovery backend '{name}' was uploaded; list those that were with GET \
         /api/v1/backends"
    );
    Problem::new(Kind::UnknownBackend, detail)
}
