//! `/api/v1/environments`.

mod policy_request;

use hotswap_core::{Environment, Policy, Selector};
use hotswap_runner::PolicyChange;
use poem::Request;
use poem::http::header::IF_MATCH;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use self::policy_request::EnvironmentRequest;
use super::deployments::ReasonRequest;
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, JsonBody, OptionalJsonBody, Parsed, Viewer, require_one_ascii_header};
use crate::problem::{
    AUTH, BAD_REQUEST, DISK_FULL, Failure, JSON_BODY, Kind, PRECONDITION_FAILED, Problem,
    UNAVAILABLE,
};
use crate::view;

/// The failures of every operation that changes a policy.
const CHANGE: u16 = AUTH | PRECONDITION_FAILED | JSON_BODY | UNAVAILABLE | DISK_FULL;

/// Operations on the policies and selectors of environments.
pub(super) struct Environments;

#[derive(ApiResponse)]
enum EnvironmentResponse {
    /// What counts for the environment.
    #[oai(status = 200)]
    Found(
        Json<view::EnvironmentSettings>,
        /// The version of the policy, in quotes. `"0"`: none was set through the API.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Clusters")]
impl Environments {
    /// Get an environment's policy
    ///
    /// Returns the policy and the selector, and where they come from. An environment need not have nodes yet.
    #[oai(
        path = "/environments/:name",
        method = "get",
        operation_id = "getEnvironment"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the environment.
        name: Path<Parsed<Environment>>,
    ) -> Result<EnvironmentResponse, Failure<{ BAD_REQUEST | AUTH }>> {
        Ok(respond(&context, &name.0.0))
    }

    /// Set an environment's policy
    ///
    /// The policy and the selector replace those before as a whole, and count on every engine of the
    /// store before those of their configurations. Deployments that were requested before keep their
    /// policy. If the selector changes, engines ask the nodes to register again with their next
    /// heartbeats, so nodes may move from one environment to another. What is so already is not
    /// changed, and gets no new version.
    #[oai(
        path = "/environments/:name",
        method = "put",
        operation_id = "setEnvironment"
    )]
    async fn set(
        &self,
        admin: Admin,
        context: Data<&Context>,
        request: &Request,
        /// The name of the environment.
        name: Path<Parsed<Environment>>,
        /// The `ETag` of the policy to replace, so that a change by somebody else is not
        /// overwritten. Absent or `*`: whatever it is.
        #[oai(name = "if-match")]
        if_match: Header<Option<String>>,
        body: JsonBody<EnvironmentRequest>,
    ) -> Result<EnvironmentResponse, Failure<CHANGE>> {
        require_one_ascii_header(request, IF_MATCH.as_str())?;
        let EnvironmentRequest {
            policy,
            selector,
            reason,
            requester_email,
        } = body.0;
        let reason = ReasonRequest {
            reason,
            requester_email,
        };
        let settings = policy.validate(&name.0.0, selector.as_deref())?;
        let change = change(
            name.0.0,
            Some(settings),
            if_match.0.as_deref(),
            reason,
            &admin,
        )?;
        Ok(carry_out(&context, change).await?)
    }

    /// Give up an environment's policy
    ///
    /// Also gives up its selector. From here on the policy and the selector in the configuration of
    /// each engine count, or the default for the environment's name, and no selector.
    #[oai(
        path = "/environments/:name",
        method = "delete",
        operation_id = "resetEnvironment"
    )]
    async fn reset(
        &self,
        admin: Admin,
        context: Data<&Context>,
        request: &Request,
        /// The name of the environment.
        name: Path<Parsed<Environment>>,
        /// The `ETag` of the policy to remove. Absent or `*`: any policy.
        #[oai(name = "if-match")]
        if_match: Header<Option<String>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<EnvironmentResponse, Failure<CHANGE>> {
        require_one_ascii_header(request, IF_MATCH.as_str())?;
        let change = change(name.0.0, None, if_match.0.as_deref(), body.0, &admin)?;
        Ok(carry_out(&context, change).await?)
    }
}

fn change(
    environment: Environment,
    settings: Option<(Policy, Option<Selector>)>,
    if_match: Option<&str>,
    reason: ReasonRequest,
    admin: &Admin,
) -> Result<PolicyChange, Problem> {
    let (by, reason) = reason.validate(&admin.0)?;
    let (policy, selector) = settings.unzip();
    Ok(PolicyChange {
        environment,
        policy,
        selector: selector.flatten(),
        expected: parse_version(if_match)?,
        by,
        reason,
    })
}

/// The version that `If-Match` names; `None` for any.
fn parse_version(if_match: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(text) = if_match.map(str::trim).filter(|text| *text != "*") else {
        return Ok(None);
    };
    let version = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match version.and_then(|version| version.parse().ok()) {
        Some(version) => Ok(Some(version)),
        None => Err(Problem::new(
            Kind::BadRequest,
            "the header If-Match is no version of a policy; send the ETag of GET \
             /api/v1/environments/{name} as it is, such as \"17\"",
        )),
    }
}

async fn carry_out(
    context: &Context,
    change: PolicyChange,
) -> Result<EnvironmentResponse, Problem> {
    let environment = change.environment.clone();
    context.engine.policies.change(change).await?;
    Ok(respond(context, &environment))
}

fn respond(context: &Context, environment: &Environment) -> EnvironmentResponse {
    let settings = view::EnvironmentSettings::new(environment, &context.engine.environments);
    let etag = format!("\"{}\"", settings.version);
    EnvironmentResponse::Found(Json(settings), etag)
}
