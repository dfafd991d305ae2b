//! `/api/v1/deployments`.

use hotswap_core::{DeploymentId, Environment, ModuleName};
use hotswap_store::Query as Wanted;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use crate::auth::{Operator, Viewer};
use crate::body::{Body, OptionalBody};
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{
    AUTH, CONFLICT, Failure, FieldError, INVALID, Kind, MEDIA, MISSING, Problem, TOO_LARGE,
    UNAVAILABLE, UNPROCESSABLE,
};
use crate::text::Text;
use crate::view;

/// What reading can answer.
const READ: u16 = INVALID | AUTH | UNAVAILABLE;
/// What asking something of a deployment can answer.
const ASK: u16 = READ | MISSING | CONFLICT | TOO_LARGE | MEDIA | UNPROCESSABLE;

/// Operations on deployments.
pub(crate) struct Deployments;

/// A deployment was begun.
#[derive(ApiResponse)]
enum Begun {
    /// The deployment is accepted and cannot be lost; it has not ended.
    #[oai(status = 202)]
    Accepted(
        Json<view::Accepted>,
        /// The deployment.
        #[oai(header = "Location")]
        String,
    ),
}

/// Some deployments.
#[derive(ApiResponse)]
enum Listed {
    /// Deployments, newest first.
    #[oai(status = 200)]
    Page(
        Json<view::Deployments>,
        /// `rel="next"`: those that come after.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Deployments")]
impl Deployments {
    /// Begin a deployment
    ///
    /// Rolls a version of a module out to the nodes of an environment. Answers as soon as
    /// the deployment is durable; `Location` says where to watch it. At most one deployment
    /// of a module runs in an environment: a second is answered 409, which names the first.
    #[oai(
        path = "/deployments",
        method = "post",
        operation_id = "createDeployment"
    )]
    async fn create(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// W3C trace context; kept with the deployment.
        #[oai(name = "traceparent")]
        trace: Header<Option<String>>,
        body: Body<view::CreateDeployment>,
    ) -> Result<Begun, Failure<{ ASK & !MISSING }>> {
        let trace = trace.0.filter(|trace| is_traceparent(trace));
        let new = body.0.check(&operator.0, trace)?;
        Ok(begun(context.engine.deployments.create(new).await?))
    }

    /// List deployments
    ///
    /// Newest first. What is not filtered for is listed, whatever its status.
    #[oai(
        path = "/deployments",
        method = "get",
        operation_id = "listDeployments"
    )]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// Only in this environment.
        environment: Query<Option<Text<Environment>>>,
        /// Only of this module.
        module: Query<Option<Text<ModuleName>>>,
        /// Only with this status.
        status: Query<Option<view::Status>>,
        /// At most that many.
        #[oai(
            default = "default_page",
            validator(minimum(value = "1"), maximum(value = "200"))
        )]
        limit: Query<u16>,
        /// Where to go on: `nextCursor` of the answer before.
        cursor: Query<Option<String>>,
    ) -> Result<Listed, Failure<READ>> {
        let query = Wanted {
            module: module.0.map(|text| text.0),
            environment: environment.0.map(|text| text.0),
            status: status.0.map(Into::into),
            before: cursor.0.as_deref().map(read_cursor).transpose()?,
            limit: limit.0.into(),
        };
        let (deployments, more) = context.engine.deployments.list(&query).await?;
        let last = deployments.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor_after(last.header.id));
        let link = next_cursor
            .as_deref()
            .map(|cursor| next_link(&query, cursor));
        let deployments = deployments.into_iter().map(Into::into).collect();
        let page = view::Deployments {
            deployments,
            next_cursor,
        };
        Ok(Listed::Page(Json(page), link))
    }

    /// Get a deployment
    ///
    /// Where it is, with its stages, its nodes, and what was found of the new version.
    #[oai(
        path = "/deployments/:id",
        method = "get",
        operation_id = "getDeployment"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
    ) -> Result<Json<view::Deployment>, Failure<{ READ | MISSING }>> {
        let deployment = context.engine.deployments.get(id.0.0).await?;
        Ok(Json(deployment.into()))
    }

    /// Abort a deployment
    ///
    /// Ends it, and puts every node that it touched back. Answers once that is decided for
    /// good; watch the deployment to see it done.
    #[oai(
        path = "/deployments/:id/abort",
        method = "post",
        operation_id = "abortDeployment"
    )]
    async fn abort(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        body: OptionalBody<view::Abort>,
    ) -> Result<Json<view::Deployment>, Failure<ASK>> {
        let (by, reason) = body.0.check(&operator.0)?;
        let deployment = context
            .engine
            .deployments
            .abort(id.0.0, &by, reason)
            .await?;
        Ok(Json(deployment.into()))
    }

    /// Pause a deployment
    ///
    /// Holds the strategy's next call until the deployment is resumed. A wait that is under
    /// way goes on, and so does the environment's deadline.
    #[oai(
        path = "/deployments/:id/pause",
        method = "post",
        operation_id = "pauseDeployment"
    )]
    async fn pause(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        body: OptionalBody<view::By>,
    ) -> Result<Json<view::Deployment>, Failure<ASK>> {
        let by = body.0.check(&operator.0)?;
        let deployment = context.engine.deployments.pause(id.0.0, &by).await?;
        Ok(Json(deployment.into()))
    }

    /// Resume a deployment
    ///
    /// Lets a paused deployment go on.
    #[oai(
        path = "/deployments/:id/resume",
        method = "post",
        operation_id = "resumeDeployment"
    )]
    async fn resume(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        body: OptionalBody<view::By>,
    ) -> Result<Json<view::Deployment>, Failure<ASK>> {
        let by = body.0.check(&operator.0)?;
        let deployment = context.engine.deployments.resume(id.0.0, &by).await?;
        Ok(Json(deployment.into()))
    }

    /// Roll a finished deployment back
    ///
    /// Begins a new deployment of the version that ran before this one: at once and to all
    /// nodes, unless a strategy is named. A deployment that has not ended is aborted instead.
    #[oai(
        path = "/deployments/:id/rollback",
        method = "post",
        operation_id = "rollbackDeployment"
    )]
    async fn rollback(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        body: OptionalBody<view::Rollback>,
    ) -> Result<Begun, Failure<ASK>> {
        let (by, strategy, config) = body.0.check(&operator.0)?;
        let deployments = &context.engine.deployments;
        Ok(begun(
            deployments.rollback(id.0.0, by, strategy, config).await?,
        ))
    }

    /// Decide on what a deployment asks
    ///
    /// Where a deployment awaits approval, its `question` says on what.
    #[oai(
        path = "/deployments/:id/approval",
        method = "post",
        operation_id = "decideDeployment"
    )]
    async fn decide(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        body: Body<view::Approval>,
    ) -> Result<Json<view::Deployment>, Failure<ASK>> {
        let decision = body.0.check(&operator.0)?;
        let deployment = context.engine.deployments.decide(id.0.0, decision).await?;
        Ok(Json(deployment.into()))
    }
}

fn begun(id: DeploymentId) -> Begun {
    let location = format!("/api/v1/deployments/{id}");
    Begun::Accepted(Json(view::Accepted::new(id)), location)
}

fn default_page() -> u16 {
    50
}

/// A cursor names the last deployment that was listed. The letter tells its version: a
/// later release may know others.
fn cursor_after(id: DeploymentId) -> String {
    format!("a{}", id.to_string().replace('-', ""))
}

fn read_cursor(cursor: &str) -> Result<DeploymentId, Problem> {
    let id = cursor.strip_prefix('a').and_then(|id| id.parse().ok());
    id.ok_or_else(|| {
        let said = "it is what nextCursor of an earlier answer said";
        Problem::new(
            Kind::BadRequest,
            format!("the parameter 'cursor' is wrong: {said}"),
        )
        .with_errors(vec![FieldError::of("cursor", said)])
    })
}

/// All that stands in it are words without characters that a URL would have to escape.
fn next_link(query: &Wanted, cursor: &str) -> String {
    let mut url = format!("/api/v1/deployments?limit={}", query.limit);
    let filters = [
        (
            "environment",
            query.environment.as_ref().map(Environment::as_str),
        ),
        ("module", query.module.as_ref().map(ModuleName::as_str)),
        ("status", query.status.map(hotswap_core::Status::as_str)),
        ("cursor", Some(cursor)),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            url.push_str(&format!("&{name}={value}"));
        }
    }
    format!("<{url}>; rel=\"next\"")
}

/// Version 00 of the W3C's form. What is not one is left out: a broken trace is no reason
/// to refuse a deployment.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| {
        part.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<_> = text.split('-').collect();
    matches!(&*parts, [version, trace, parent, flags]
        if *version == "00" && trace.len() == 32 && parent.len() == 16 && flags.len() == 2
            && hex(trace) && hex(parent) && hex(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let id = DeploymentId::generate();
        assert_eq!(read_cursor(&cursor_after(id)).unwrap(), id);
        for bad in ["", "a", "b0199e1f35b5c7d5e9d526f1f3a3e8a10", "0199", "aé"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_form_of_a_trace_parent_is_kept() {
        assert!(is_traceparent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        for bad in [
            "",
            "00-4b-00-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
