//! `/api/v1/store`.

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::tag::Tag;
use crate::context::Context;
use crate::extract::Viewer;
use crate::problem::{AUTH, Failure, UNAVAILABLE};
use crate::view;

/// Operations on the engine's store.
pub(super) struct Store;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Health")]
impl Store {
    /// Get the disk usage
    ///
    /// Returns what takes room on the engine's disk, and how much is free. When the disk is full,
    /// running deployments continue, and new deployments and uploads are refused with 507.
    #[oai(path = "/store/usage", method = "get", operation_id = "getStoreUsage")]
    async fn usage(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::StoreUsage>, Failure<{ AUTH | UNAVAILABLE }>> {
        let usage = context.engine.retention.usage().await?;
        Ok(Json(usage.into()))
    }
}
