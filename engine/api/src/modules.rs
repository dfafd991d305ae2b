//! `/api/v1/modules`.

use std::pin::pin;

use futures_util::StreamExt;
use hotswap_core::ModuleName;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use semver::Version;

use crate::auth::{Operator, Viewer};
use crate::body::Wasm;
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{
    AUTH, CONFLICT, Failure, INVALID, Kind, MEDIA, MISSING, Problem, SLOW, TOO_LARGE, UNAVAILABLE,
    UNPROCESSABLE,
};
use crate::text::Text;
use crate::view;

/// Operations on modules.
pub(crate) struct Modules;

/// A version is there.
#[derive(ApiResponse)]
enum Uploaded {
    /// The version was uploaded.
    #[oai(status = 201)]
    Created(
        Json<view::ModuleVersion>,
        /// The version.
        #[oai(header = "Location")]
        String,
    ),
    /// The same artifact was uploaded under this version before.
    #[oai(status = 200)]
    Known(Json<view::ModuleVersion>),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Modules")]
impl Modules {
    /// Upload a version of a module
    ///
    /// The body is a WebAssembly component that exports `wasi:http/incoming-handler@0.2`.
    /// It is taken in as it comes, checked, and kept for good: a version never changes.
    /// Uploading the same artifact again is answered 200, another one 409.
    #[oai(
        path = "/modules/:name/versions/:version",
        method = "put",
        operation_id = "uploadModuleVersion"
    )]
    async fn upload(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The module's name.
        name: Path<Text<ModuleName>>,
        /// The semantic version.
        version: Path<Text<Version>>,
        body: Wasm,
    ) -> Result<
        Uploaded,
        Failure<
            { INVALID | AUTH | SLOW | CONFLICT | TOO_LARGE | MEDIA | UNPROCESSABLE | UNAVAILABLE },
        >,
    > {
        let (name, version) = (name.0.0, version.0.0);
        let modules = &context.engine.modules;
        let standing = modules.get(&name, &version).await?;
        let mut upload = modules.upload().await?;
        let mut pieces = pin!(body.pieces());
        while let Some(piece) = pieces.next().await {
            upload.write(&piece?).await?;
        }
        let location = format!("/api/v1/modules/{name}/versions/{version}");
        let record = upload.finish(name, version, &operator.0.subject).await?;
        let version = Json(record.into());
        Ok(match standing {
            Some(_) => Uploaded::Known(version),
            None => Uploaded::Created(version, location),
        })
    }

    /// List modules
    ///
    /// All modules, each with its versions.
    #[oai(path = "/modules", method = "get", operation_id = "listModules")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Modules>, Failure<{ AUTH | UNAVAILABLE }>> {
        let records = context.engine.modules.list(None).await?;
        Ok(Json(view::Modules::of(records)))
    }

    /// Get a module
    ///
    /// With its versions.
    #[oai(path = "/modules/:name", method = "get", operation_id = "getModule")]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The module's name.
        name: Path<Text<ModuleName>>,
    ) -> Result<Json<view::Module>, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>> {
        let name = name.0.0;
        let records = context.engine.modules.list(Some(&name)).await?;
        let module = view::Modules::of(records).modules.pop();
        Ok(Json(module.ok_or_else(|| unknown(&name, None))?))
    }

    /// Get a version of a module
    ///
    /// What was uploaded under it, when and by whom.
    #[oai(
        path = "/modules/:name/versions/:version",
        method = "get",
        operation_id = "getModuleVersion"
    )]
    async fn version(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The module's name.
        name: Path<Text<ModuleName>>,
        /// The semantic version.
        version: Path<Text<Version>>,
    ) -> Result<Json<view::ModuleVersion>, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>>
    {
        let (name, version) = (name.0.0, version.0.0);
        let record = context.engine.modules.get(&name, &version).await?;
        let record = record.ok_or_else(|| unknown(&name, Some(&version)))?;
        Ok(Json(record.into()))
    }
}

fn unknown(name: &ModuleName, version: Option<&Version>) -> Problem {
    let detail = match version {
        Some(version) => format!(
            "module '{name}' has no version {version}; see GET /api/v1/modules/{name}, or upload it: PUT to this path"
        ),
        None => format!(
            "no version of module '{name}' was uploaded; list what there is with GET /api/v1/modules"
        ),
    };
    Problem::new(Kind::UnknownModule, detail)
}
