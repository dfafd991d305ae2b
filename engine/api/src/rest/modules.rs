//! `/api/v1/modules`.

use std::pin::pin;

use futures_util::StreamExt;
use hotswap_core::ModuleName;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use semver::Version;

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, Operator, Parsed, Viewer, WasmBody};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, Failure, Kind, NOT_FOUND, Problem, UNAVAILABLE, UPLOAD,
};
use crate::view;

/// Operations on modules.
pub(super) struct Modules;

#[derive(ApiResponse)]
enum UploadResponse {
    /// The version was uploaded.
    #[oai(status = 201)]
    Created(
        Json<view::ModuleVersion>,
        /// The path of the version.
        #[oai(header = "Location")]
        String,
    ),
    /// The version already exists with the same artifact.
    #[oai(status = 200)]
    Unchanged(Json<view::ModuleVersion>),
}

#[derive(ApiResponse)]
enum DeleteResponse {
    /// The version was deleted.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Modules")]
impl Modules {
    /// Upload a module version
    ///
    /// The body is a WebAssembly component that exports `wasi:http/incoming-handler@0.2`. The
    /// engine checks it and stores it: a version never changes. Uploading the
    /// same artifact again returns 200; uploading another artifact under the same version
    /// returns 409.
    #[oai(
        path = "/modules/:name/versions/:version",
        method = "put",
        operation_id = "uploadModuleVersion"
    )]
    async fn upload(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        /// The semantic version.
        version: Path<Parsed<Version>>,
        body: WasmBody,
    ) -> Result<UploadResponse, Failure<UPLOAD>> {
        let (name, version) = (name.0.0, version.0.0);
        let modules = &context.engine.modules;
        let existing = modules.get(&name, &version).await?;
        let mut upload = modules.upload().await?;
        let mut chunks = pin!(body.chunks());
        while let Some(chunk) = chunks.next().await {
            upload.write(&chunk?).await?;
        }
        let location = format!("/api/v1/modules/{name}/versions/{version}");
        let record = upload.finish(name, version, &operator.0.subject).await?;
        let version = Json(record.into());
        Ok(match existing {
            Some(_) => UploadResponse::Unchanged(version),
            None => UploadResponse::Created(version, location),
        })
    }

    /// Delete a module version
    ///
    /// Deletes a version and its artifact. A version that a node runs, that should run in an
    /// environment, or that a deployment or its rollback needs is not deleted. Its name can be
    /// uploaded again.
    #[oai(
        path = "/modules/:name/versions/:version",
        method = "delete",
        operation_id = "deleteModuleVersion"
    )]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        /// The semantic version.
        version: Path<Parsed<Version>>,
    ) -> Result<DeleteResponse, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | CONFLICT | UNAVAILABLE }>>
    {
        let (name, version) = (name.0.0, version.0.0);
        if context.engine.modules.delete(&name, &version).await? {
            Ok(DeleteResponse::Deleted)
        } else {
            Err(unknown_version(&name, &version).into())
        }
    }

    /// List modules
    ///
    /// Returns all modules with their versions.
    #[oai(path = "/modules", method = "get", operation_id = "listModules")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Modules>, Failure<{ AUTH | UNAVAILABLE }>> {
        let records = context.engine.modules.list(None).await?;
        Ok(Json(view::Modules::new(records)))
    }

    /// Get a module
    ///
    /// Returns a module with its versions.
    #[oai(path = "/modules/:name", method = "get", operation_id = "getModule")]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
    ) -> Result<Json<view::Module>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>> {
        let name = name.0.0;
        let records = context.engine.modules.list(Some(&name)).await?;
        let module = view::Modules::new(records).modules.pop();
        Ok(Json(module.ok_or_else(|| unknown_module(&name))?))
    }

    /// Get a module version
    ///
    /// Returns the digest and the size of the version's artifact, who uploaded it, and when.
    #[oai(
        path = "/modules/:name/versions/:version",
        method = "get",
        operation_id = "getModuleVersion"
    )]
    async fn get_version(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        /// The semantic version.
        version: Path<Parsed<Version>>,
    ) -> Result<Json<view::ModuleVersion>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>>
    {
        let (name, version) = (name.0.0, version.0.0);
        let record = context.engine.modules.get(&name, &version).await?;
        let record = record.ok_or_else(|| unknown_version(&name, &version))?;
        Ok(Json(record.into()))
    }
}

fn unknown_module(name: &ModuleName) -> Problem {
    let detail = format!("module '{name}' does not exist; list modules with GET /api/v1/modules");
    Problem::new(Kind::UnknownModule, detail)
}

fn unknown_version(name: &ModuleName, version: &Version) -> Problem {
    let detail = format!(
        "module '{name}' has no version {version}; list its versions with GET /api/v1/modules/{name}, or upload this one with PUT to this path"
    );
    Problem::new(Kind::UnknownModule, detail)
}
