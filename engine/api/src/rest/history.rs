//! What was decided before, and how it differs.

use hotswap_core::{DeploymentId, Environment, ModuleName};
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use super::cursor::{cursor_before_place, parse_place};
use super::deployments::READ;
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Parsed, Viewer};
use crate::problem::{CONFLICT, Failure, NOT_FOUND};
use crate::view;

/// Operations on what was decided before.
pub(super) struct History;

/// Entries of a page, where the request does not say.
const DEFAULT_ENTRIES: u16 = 50;

#[OpenApi(prefix_path = "/api/v1")]
impl History {
    /// List the history of a module
    ///
    /// Returns what was decided for the module in the environment, newest first: the deployments
    /// that succeeded, and when the module was retired. Deployments that were deleted are
    /// missing.
    #[oai(
        path = "/clusters/:environment/modules/:name/history",
        method = "get",
        operation_id = "listModuleHistory",
        tag = "Tag::Clusters"
    )]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the environment.
        environment: Path<Parsed<Environment>>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        /// Continues a list: `nextCursor` of the previous response.
        cursor: Query<Option<String>>,
        /// At most this many entries. 50 if absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u16>>,
    ) -> Result<Json<view::ModuleHistory>, Failure<READ>> {
        let limit = usize::from(limit.0.unwrap_or(DEFAULT_ENTRIES));
        let before = cursor.0.as_deref().map(parse_place).transpose()?;
        let history = &context.engine.history;
        let page = history.list(&name.0.0, &environment.0.0, before, limit);
        let (entries, has_more) = page.await?;
        let last = entries.last().filter(|_| has_more);
        Ok(Json(view::ModuleHistory {
            next_cursor: last.map(|last| cursor_before_place(last.place)),
            entries: entries.into_iter().map(Into::into).collect(),
        }))
    }

    /// Compare a deployment
    ///
    /// Returns how the request for a deployment differs from another one: in the version, the
    /// strategy and its component, the configuration and the policy. By default the other one is
    /// the last success of the module in the environment before it.
    #[oai(
        path = "/deployments/:id/diff",
        method = "get",
        operation_id = "diffDeployment",
        tag = "Tag::Deployments"
    )]
    async fn diff(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        /// The execution id of the deployment to compare it with.
        with: Query<Option<Parsed<DeploymentId>>>,
    ) -> Result<Json<view::RequestDiff>, Failure<{ READ | NOT_FOUND | CONFLICT }>> {
        let with = with.0.map(|with| with.0);
        let diff = context.engine.deployments.diff(id.0.0, with).await?;
        Ok(Json(view::RequestDiff::new(id.0.0, diff)))
    }
}
