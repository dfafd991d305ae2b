//! `/api/v1/deployments`.

mod action;
mod create;
mod page;
mod validation;

use hotswap_core::{Deployment, DeploymentId, Environment, IdempotencyKey, ModuleName};
use hotswap_runner::deployments::Error;
use hotswap_store::Query as ListQuery;
use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{
    Admin, JsonBody, Operator, OptionalJsonBody, Parsed, Viewer, require_one_ascii_header,
};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, DISK_FULL, Failure, JSON_BODY, NOT_FOUND, UNAVAILABLE,
};
use crate::view;

use action::{ApprovalRequest, PauseRequest, PromoteRequest};
pub(super) use action::{
    ReasonRequest, RetryRequest, RollbackRequest, UndoRequest, name_and_reason,
};
use create::CreateDeployment;

/// The failures of every operation that reads deployments.
pub(super) const READ: u16 = BAD_REQUEST | AUTH | UNAVAILABLE;
/// The failures of every operation that changes a deployment.
pub(super) const CHANGE: u16 = READ | NOT_FOUND | CONFLICT | JSON_BODY;

/// Operations on deployments.
pub(super) struct Deployments;

#[derive(ApiResponse)]
pub(super) enum CreateResponse {
    /// The deployment was created and will run; it has not ended yet.
    #[oai(status = 202)]
    Accepted(
        Json<view::Accepted>,
        /// The path of the deployment.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum DeleteResponse {
    /// The deployment was deleted.
    #[oai(status = 204)]
    Deleted,
}

#[derive(ApiResponse)]
enum ListResponse {
    /// A page of deployments, newest first.
    #[oai(status = 200)]
    Page(
        Json<view::Deployments>,
        /// The URL of the next page, with `rel="next"`. Absent on the last page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Deployments")]
impl Deployments {
    /// Create a deployment
    ///
    /// Rolls a version of a module out to the nodes of an environment. Returns as soon as the
    /// deployment is stored durably; watch it at the path in `Location`. Only one deployment
    /// of a module can run in an environment: another request gets a 409 that names the
    /// running one, unless it says `supersede`.
    #[oai(
        path = "/deployments",
        method = "post",
        operation_id = "createDeployment"
    )]
    async fn create(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The W3C trace context of the caller. The deployment continues its trace.
        #[oai(name = "traceparent")]
        _trace_parent: Header<Option<String>>,
        /// Makes a retry safe: of all requests with the same key and body, one creates a
        /// deployment, and each gets its id. A key belongs to the token's subject, and is kept
        /// as long as the deployment.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<Parsed<IdempotencyKey>>>,
        request: &Request,
        body: JsonBody<CreateDeployment>,
    ) -> Result<CreateResponse, Failure<{ CHANGE & !NOT_FOUND | DISK_FULL }>> {
        require_one_ascii_header(request, "Idempotency-Key")?;
        let key = idempotency_key.0.map(|key| key.0);
        let deployment = body.0.validate(&operator.0, key)?;
        let id = context.engine.deployments.create(deployment).await?;
        Ok(CreateResponse::accepted(id, view::Accepted::new(id)))
    }

    /// Plan a deployment
    ///
    /// Says what a deployment would do if it were created now: the nodes that it would change and
    /// those that it would leave out, its configuration and policy, and the steps of its strategy
    /// where all goes well, from a rehearsal in virtual time. `problems` says why the deployment
    /// would be refused or would fail. Changes nothing, and is written to no journal.
    #[oai(
        path = "/deployments/plan",
        method = "post",
        operation_id = "planDeployment"
    )]
    async fn plan(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        body: JsonBody<CreateDeployment>,
    ) -> Result<Json<view::DeploymentPlan>, Failure<{ CHANGE & !NOT_FOUND }>> {
        let deployment = body.0.validate(&viewer.0, None)?;
        let preview = context.engine.deployments.preview(deployment).await?;
        Ok(Json(preview.into()))
    }

    /// List deployments
    ///
    /// Returns deployments of every status, newest first, unless a filter excludes them.
    #[oai(
        path = "/deployments",
        method = "get",
        operation_id = "listDeployments"
    )]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// Returns only deployments to this environment.
        environment: Query<Option<Parsed<Environment>>>,
        /// Returns only deployments of this module.
        module: Query<Option<Parsed<ModuleName>>>,
        /// Returns only deployments with this status.
        status: Query<Option<view::Status>>,
        /// The maximum number of deployments to return.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "200"))
        )]
        limit: Query<u16>,
        /// Continues a list: `nextCursor` of the previous response.
        cursor: Query<Option<String>>,
    ) -> Result<ListResponse, Failure<READ>> {
        let query = ListQuery {
            module: module.0.map(|name| name.0),
            environment: environment.0.map(|name| name.0),
            status: status.0.map(Into::into),
            before: cursor.0.as_deref().map(page::parse_cursor).transpose()?,
            limit: limit.0.into(),
        };
        let (deployments, has_more) = context.engine.deployments.list(&query).await?;
        let last = deployments.last().filter(|_| has_more);
        let next_cursor = last.map(|last| page::cursor_after(last.id));
        let link = next_cursor
            .as_deref()
            .map(|cursor| page::next_link(&query, cursor));
        let deployments = deployments.into_iter().map(Into::into).collect();
        let page = view::Deployments {
            deployments,
            next_cursor,
        };
        Ok(ListResponse::Page(Json(page), link))
    }

    /// Get a deployment
    ///
    /// Returns the current state of a deployment: its status, stages, nodes, and the results
    /// of the last checks of the new version.
    #[oai(
        path = "/deployments/:id",
        method = "get",
        operation_id = "getDeployment"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
    ) -> Result<Json<view::Deployment>, Failure<{ READ | NOT_FOUND }>> {
        let deployment = context.engine.deployments.get(id.0.0).await?;
        Ok(present(&context, deployment).await?)
    }

    /// Delete a deployment
    ///
    /// Deletes a deployment that has ended, with its events. What it rolled out stays. The last
    /// successful deployment of a module in an environment is not deleted: it says what should
    /// run there, and a rollback needs it.
    #[oai(
        path = "/deployments/:id",
        method = "delete",
        operation_id = "deleteDeployment"
    )]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
    ) -> Result<DeleteResponse, Failure<{ READ | NOT_FOUND | CONFLICT }>> {
        context.engine.deployments.delete(id.0.0).await?;
        Ok(DeleteResponse::Deleted)
    }

    /// Abort a deployment
    ///
    /// Ends a deployment and reverts every node that it changed. Returns as soon as the abort
    /// is recorded; watch the deployment to see when it has ended.
    #[oai(
        path = "/deployments/:id/abort",
        method = "post",
        operation_id = "abortDeployment"
    )]
    async fn abort(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let (by, reason) = body.0.validate(&operator.0)?;
        let deployment = context
            .engine
            .deployments
            .abort(id.0.0, &by, reason)
            .await?;
        Ok(present(&context, deployment).await?)
    }

    /// Terminate a deployment
    ///
    /// Ends a deployment that has `damage`: its journal cannot be read, so nothing drives it
    /// and an abort is not possible. The engine reverts every node of the plan to the version
    /// that it ran before, as far as the journal still tells, and ends the deployment. Then
    /// the module can be deployed to the environment again. Returns as soon as the request is
    /// recorded. If the deployment `needsUpgrade`, consider to start the newer engine instead.
    #[oai(
        path = "/deployments/:id/terminate",
        method = "post",
        operation_id = "terminateDeployment"
    )]
    async fn terminate(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let (by, reason) = body.0.validate(&admin.0)?;
        let deployments = &context.engine.deployments;
        let deployment = deployments.terminate(id.0.0, &by, reason).await?;
        Ok(present(&context, deployment).await?)
    }

    /// Pause a deployment
    ///
    /// Holds the strategy's next call until the deployment is resumed. A wait in progress
    /// continues. The answer says when the environment's deadline falls (`deadline`), or what
    /// is left of it once the deployment is resumed (`deadlineLeft`), where the policy stops
    /// it during a pause.
    #[oai(
        path = "/deployments/:id/pause",
        method = "post",
        operation_id = "pauseDeployment"
    )]
    async fn pause(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: OptionalJsonBody<PauseRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let by = body.0.validate(&operator.0)?;
        let deployment = context.engine.deployments.pause(id.0.0, &by).await?;
        Ok(present(&context, deployment).await?)
    }

    /// Resume a deployment
    ///
    /// Lets a paused deployment continue.
    #[oai(
        path = "/deployments/:id/resume",
        method = "post",
        operation_id = "resumeDeployment"
    )]
    async fn resume(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: OptionalJsonBody<PauseRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let by = body.0.validate(&operator.0)?;
        let deployment = context.engine.deployments.resume(id.0.0, &by).await?;
        Ok(present(&context, deployment).await?)
    }

    /// Promote a deployment
    ///
    /// Ends the wait of the strategy that is under way at once: a sleep or a soak; with `full`,
    /// every later one too. A soak then judges what it has measured until then: a check that has
    /// failed has failed, and one that could not be judged yet does not hold the deployment up.
    /// The questions to people stay: approve them. The deadline stays as it is.
    #[oai(
        path = "/deployments/:id/promote",
        method = "post",
        operation_id = "promoteDeployment"
    )]
    async fn promote(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: OptionalJsonBody<PromoteRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let mut request = body.0;
        let wait = request.wait.take();
        let (by, reason, full) = request.validate(&operator.0)?;
        let deployments = &context.engine.deployments;
        let promoted = deployments.promote_wait(id.0.0, &by, reason, full, wait.as_deref());
        let deployment = promoted.await?;
        Ok(present(&context, deployment).await?)
    }

    /// Approve or reject a deployment
    ///
    /// Answers the `question` of a deployment with the status `awaitingApproval`.
    #[oai(
        path = "/deployments/:id/approval",
        method = "post",
        operation_id = "decideDeployment"
    )]
    async fn decide(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        body: JsonBody<ApprovalRequest>,
    ) -> Result<Json<view::Deployment>, Failure<CHANGE>> {
        let mut request = body.0;
        let wait = request.wait.take();
        let decision = request.validate(&operator.0)?;
        let deployments = &context.engine.deployments;
        let decided = deployments.decide_wait(id.0.0, decision, wait.as_deref());
        let deployment = decided.await?;
        Ok(present(&context, deployment).await?)
    }
}

async fn present(context: &Context, state: Deployment) -> Result<Json<view::Deployment>, Error> {
    let deployments = &context.engine.deployments;
    let retry = deployments.retry(&state);
    let progress = deployments.soak_progress(&state);
    let warnings = deployments.soak_warnings(&state);
    let waits_for = deployments.waits_for(&state).await?;
    let deployment = view::Deployment::new(state, retry, waits_for);
    let deployment = deployment.with_soak_progress(progress.as_deref());
    Ok(Json(deployment.with_warnings(warnings)))
}

impl CreateResponse {
    /// The response for this deployment.
    pub(super) fn accepted(id: DeploymentId, accepted: view::Accepted) -> Self {
        let location = format!("/api/v1/deployments/{id}");
        Self::Accepted(Json(accepted), location)
    }
}

fn default_limit() -> u16 {
    50
}
