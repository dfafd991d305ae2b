//! `/api/v1/nodes`.

use hotswap_core::{Environment, Fence, NodeId};
use hotswap_fleet::Registry;
use hotswap_protocol::{Heartbeat, HeartbeatAnswer, Registered, Registration};
use hotswap_runner::Engine;
use hotswap_runner::reconciler::Placements;
use poem::web::{Data, RemoteAddr};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, JsonBody, NodeToken, Parsed, Viewer};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, Failure, Kind, NOT_FOUND, PAYLOAD_TOO_LARGE, Problem, UNAVAILABLE,
    UNPROCESSABLE, UNSUPPORTED_MEDIA_TYPE,
};
use crate::view;

/// Operations on nodes, and those that nodes call themselves.
pub(super) struct Nodes;

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Success. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Nodes")]
impl Nodes {
    /// List nodes
    ///
    /// Returns every registered node with its health, and with the modules that it should run.
    #[oai(path = "/nodes", method = "get", operation_id = "listNodes")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Nodes>, Failure<AUTH>> {
        let engine = &context.engine;
        let environments = engine.registry.environments();
        let placements = placements(engine, &environments).await;
        let nodes = engine.registry.members().into_iter();
        let nodes = nodes.map(|member| view::Node::new(member, placements.as_ref()));
        let nodes = nodes.collect();
        Ok(Json(view::Nodes { nodes }))
    }

    /// Get a node
    ///
    /// Returns a node with its addresses, its health, and the modules that it should run.
    #[oai(path = "/nodes/:id", method = "get", operation_id = "getNode")]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
    ) -> Result<Json<view::Node>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND }>> {
        let engine = &context.engine;
        let member = engine.registry.member(&id.0.0);
        let member = member.ok_or_else(|| unknown_node(&id.0.0))?;
        let environment = member.record.environment.clone();
        let placements = placements(engine, &[environment]).await;
        Ok(Json(view::Node::new(member, placements.as_ref())))
    }

    /// Delete a node
    ///
    /// Removes the registration of a machine that is gone for good. A node that still runs
    /// registers again by itself.
    #[oai(path = "/nodes/:id", method = "delete", operation_id = "deleteNode")]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
    ) -> Result<EmptyResponse, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>> {
        if context.engine.registry.deregister(&id.0.0).await? {
            Ok(EmptyResponse::NoContent)
        } else {
            Err(unknown_node(&id.0.0).into())
        }
    }

    /// Register a node
    ///
    /// A node calls this when it starts. It also counts as a heartbeat. A 409 means that another
    /// node with this id reports in: a node that was restarted says so with the `instance` that
    /// it registered with before. Needs the node token.
    #[oai(path = "/nodes/:id", method = "put", operation_id = "registerNode")]
    async fn register(
        &self,
        _node: NodeToken,
        context: Data<&Context>,
        peer: &RemoteAddr,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: JsonBody<Registration>,
    ) -> Result<
        Json<Registered>,
        Failure<
            {
                BAD_REQUEST
                    | AUTH
                    | CONFLICT
                    | PAYLOAD_TOO_LARGE
                    | UNSUPPORTED_MEDIA_TYPE
                    | UNPROCESSABLE
                    | UNAVAILABLE
            },
        >,
    > {
        if let Some(peer) = peer.as_socket_addr() {
            Registry::check_peer(&body.0, peer.ip())?;
        }
        observe_fence(&context, body.0.highest_fence).await?;
        let registered = context.engine.registry.register(id.0.0, body.0).await?;
        Ok(Json(registered))
    }

    /// Send a heartbeat
    ///
    /// A node calls this at the interval that its registration returned. A 404 means that the
    /// engine does not know the node at this address, a 409 that another node has its id:
    /// register again. Needs the node token.
    #[oai(
        path = "/nodes/:id/heartbeat",
        method = "post",
        operation_id = "sendHeartbeat"
    )]
    async fn heartbeat(
        &self,
        _node: NodeToken,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: JsonBody<Heartbeat>,
    ) -> Result<
        Json<HeartbeatAnswer>,
        Failure<
            {
                BAD_REQUEST
                    | AUTH
                    | NOT_FOUND
                    | CONFLICT
                    | PAYLOAD_TOO_LARGE
                    | UNSUPPORTED_MEDIA_TYPE
                    | UNPROCESSABLE
                    | UNAVAILABLE
            },
        >,
    > {
        let highest_fence = body.0.highest_fence;
        // Counts also where the store fails: the node is alive.
        let answer = context.engine.registry.heartbeat(&id.0.0, body.0)?;
        observe_fence(&context, highest_fence).await?;
        Ok(Json(answer.ok_or_else(|| unknown_node(&id.0.0))?))
    }
}

/// What the nodes of these environments should run. `None` where the store fails: what is known
/// of the nodes is shown all the same.
async fn placements(engine: &Engine, environments: &[Environment]) -> Option<Placements> {
    let mut all = Placements::new();
    for environment in environments {
        match engine.reconciler.placements(environment).await {
            Ok(mut placements) => all.append(&mut placements),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot read what the nodes should run");
                return None;
            }
        }
    }
    Some(all)
}

/// A store that is new or restored must go on above the fences that its nodes have seen.
async fn observe_fence(context: &Context, fence: u64) -> Result<(), Problem> {
    Ok(context.engine.observe_fence(Fence(fence)).await?)
}

fn unknown_node(id: &NodeId) -> Problem {
    let detail = format!("node '{id}' is not registered; list nodes with GET /api/v1/nodes");
    Problem::new(Kind::UnknownNode, detail)
}
