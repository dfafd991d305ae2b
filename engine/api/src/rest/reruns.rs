//! Deployments that follow from earlier ones.

use hotswap_core::{DeploymentId, Environment, IdempotencyKey, ModuleName};
use poem::Request;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};

use super::deployments::{CHANGE, CreateResponse, RetryRequest, RollbackRequest, UndoRequest};
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Operator, OptionalJsonBody, Parsed, require_one_ascii_header};
use crate::problem::{DISK_FULL, Failure, NOT_FOUND};
use crate::view;

/// Operations that create a deployment from an earlier one.
pub(super) struct Reruns;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Deployments")]
impl Reruns {
    /// Roll a finished deployment back
    ///
    /// Creates a new deployment of the version that ran before this one. If its nodes ran
    /// different versions, takes the version of the last successful deployment before. The request
    /// can name another version. The answer says which version it is, and why. The rollback
    /// changes all nodes at once, unless the request names a strategy. To stop a deployment that
    /// has not ended, abort it instead.
    #[oai(
        path = "/deployments/:id/rollback",
        method = "post",
        operation_id = "rollbackDeployment"
    )]
    async fn rollback(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        /// Makes a retry safe: of all requests with the same key and body, one creates a
        /// deployment, and each gets its id.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<Parsed<IdempotencyKey>>>,
        request: &Request,
        body: OptionalJsonBody<RollbackRequest>,
    ) -> Result<CreateResponse, Failure<{ CHANGE | DISK_FULL }>> {
        require_one_ascii_header(request, "Idempotency-Key")?;
        let key = idempotency_key.0.map(|key| key.0);
        let rollback = body.0.validate(&operator.0, key)?;
        let deployments = &context.engine.deployments;
        let rollback = deployments.rollback(id.0.0, rollback).await?;
        let id = rollback.id;
        Ok(CreateResponse::accepted(
            id,
            view::Accepted::rollback(rollback),
        ))
    }

    /// Try a deployment again
    ///
    /// Creates a deployment that asks for the same as one that ended without success: the
    /// version, the environment, the strategy by its name, its configuration, and all else. The
    /// answer says which component of the strategy it is now. Its policy is the present one of
    /// the environment.
    #[oai(
        path = "/deployments/:id/retry",
        method = "post",
        operation_id = "retryDeployment"
    )]
    async fn retry(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        /// Makes a retry safe: of all requests with the same key and body, one creates a
        /// deployment, and each gets its id.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<Parsed<IdempotencyKey>>>,
        request: &Request,
        body: OptionalJsonBody<RetryRequest>,
    ) -> Result<CreateResponse, Failure<{ CHANGE | DISK_FULL }>> {
        require_one_ascii_header(request, "Idempotency-Key")?;
        let key = idempotency_key.0.map(|key| key.0);
        let retry = body.0.validate(&operator.0, key)?;
        let retried = context
            .engine
            .deployments
            .create_retry(id.0.0, retry)
            .await?;
        let id = retried.id;
        Ok(CreateResponse::accepted(id, view::Accepted::retry(retried)))
    }

    /// Undo the last change of a module
    ///
    /// Goes back to an earlier success of the module in the environment: creates a deployment of
    /// its version, with its strategy and its configuration. By default that is the last success
    /// of another version than the present one; a second undo therefore returns. If the present
    /// one has a selector, only its nodes go back, to what was for them or for all. The answer
    /// says which version it is, and why.
    #[oai(
        path = "/clusters/:environment/modules/:name/undo",
        method = "post",
        operation_id = "undoModule"
    )]
    async fn undo(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The name of the environment.
        environment: Path<Parsed<Environment>>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        /// Makes a retry safe: of all requests with the same key and body, one creates a
        /// deployment, and each gets its id.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<Parsed<IdempotencyKey>>>,
        request: &Request,
        body: OptionalJsonBody<UndoRequest>,
    ) -> Result<CreateResponse, Failure<{ CHANGE & !NOT_FOUND | DISK_FULL }>> {
        require_one_ascii_header(request, "Idempotency-Key")?;
        let key = idempotency_key.0.map(|key| key.0);
        let place = (environment.0.0, name.0.0);
        let undo = body.0.validate(place, &operator.0, key)?;
        let undone = context.engine.deployments.undo(undo).await?;
        let id = undone.id;
        Ok(CreateResponse::accepted(
            id,
            view::Accepted::rollback(undone),
        ))
    }
}
