//! `/api/v1/nodes`.

mod drain;

use hotswap_core::{Environment, Fence, NodeId};
use hotswap_fleet::{Member, Move, Registry};
use hotswap_protocol::{Heartbeat, HeartbeatAnswer, NodeReport, Registered, Registration};
use hotswap_runner::reconciler::Placements;
use hotswap_runner::{Engine, nodes};
use poem::web::{Data, RemoteAddr};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::deployments::ReasonRequest;
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, JsonBody, NodeToken, Operator, OptionalJsonBody, Parsed, Viewer};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, DISK_FULL, Failure, JSON_BODY, Kind, NOT_FOUND, Problem,
    UNAVAILABLE,
};
use crate::view;

use drain::DrainRequest;

/// The failures of every operation by which people change a node.
const CHANGE: u16 = AUTH | NOT_FOUND | JSON_BODY | UNAVAILABLE | DISK_FULL;

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
        let nodes = view_nodes(engine, engine.registry.members(), placements.as_ref());
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
        Ok(Json(view_node(&context.engine, &id.0.0).await?))
    }

    /// Get what a report of a fault needs of a node
    ///
    /// Asks the node for the end of its log. A 503 means that the node does not give it: `detail`
    /// says why.
    #[oai(
        path = "/nodes/:id/debug",
        method = "get",
        operation_id = "getNodeDebugReport"
    )]
    async fn report(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
    ) -> Result<Json<NodeReport>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>> {
        let (engine, id) = (&context.engine, &id.0.0);
        engine.registry.member(id).ok_or_else(|| unknown_node(id))?;
        let report = engine.fleet.report(id).await;
        let report = report.map_err(|error| {
            let detail = format!("node '{id}' does not give its log: {error}");
            Problem::new(Kind::Unavailable, detail)
        });
        Ok(Json(report?))
    }

    /// Cordon a node
    ///
    /// Takes a node out of deployments and repairs, until it is uncordoned: every new plan leaves
    /// it out, and the engine does not bring it to what it should run. The node keeps serving
    /// what it runs, and counts neither as missing nor as unavailable. A deployment whose plan
    /// has the node already goes on with it. A node that is cordoned or drained stays as it is.
    #[oai(
        path = "/nodes/:id/cordon",
        method = "post",
        operation_id = "cordonNode"
    )]
    async fn cordon(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<Json<view::Node>, Failure<CHANGE>> {
        let (by, reason) = body.0.validate(&operator.0)?;
        let cordoned = context.engine.nodes.cordon(&id.0.0, by, reason);
        changed(&context, &id.0.0, cordoned).await
    }

    /// Drain a node
    ///
    /// Cordons a node, and takes its traffic away: the node reports that it is not ready, on its
    /// control port and to load balancers, and goes on serving what arrives. It counts as
    /// unavailable. A 409 means that the policy of its environment does not allow one more
    /// unavailable node: `detail` says how many there are. Just after the engine's start, the
    /// answer waits for nodes that have not reported in yet. The node learns of it with the
    /// answer to its next heartbeat; its `ready` and `inFlight` then show the effect.
    #[oai(path = "/nodes/:id/drain", method = "post", operation_id = "drainNode")]
    async fn drain(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: OptionalJsonBody<DrainRequest>,
    ) -> Result<Json<view::Node>, Failure<{ CHANGE | CONFLICT }>> {
        let force = body.0.force;
        let (by, reason) = body.0.validate(&operator.0)?;
        let drained = context.engine.nodes.drain(&id.0.0, by, reason, force);
        changed(&context, &id.0.0, drained).await
    }

    /// Uncordon a node
    ///
    /// Ends a cordon or a drain. The engine brings the node to what it should run. A node that
    /// has no cordon stays as it is.
    #[oai(
        path = "/nodes/:id/uncordon",
        method = "post",
        operation_id = "uncordonNode"
    )]
    async fn uncordon(
        &self,
        operator: Operator,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<Json<view::Node>, Failure<CHANGE>> {
        let (by, reason) = body.0.validate(&operator.0)?;
        let uncordoned = context.engine.nodes.uncordon(&id.0.0, by, reason);
        changed(&context, &id.0.0, uncordoned).await
    }

    /// Delete a node
    ///
    /// Forgets a machine that is gone for good, and its cordon. A node that still runs registers
    /// again by itself, as a new one.
    #[oai(path = "/nodes/:id", method = "delete", operation_id = "deleteNode")]
    async fn delete(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The id of the node.
        id: Path<Parsed<NodeId>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<EmptyResponse, Failure<CHANGE>> {
        let (by, reason) = body.0.validate(&admin.0)?;
        context.engine.nodes.forget(&id.0.0, by, reason).await?;
        Ok(EmptyResponse::NoContent)
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
    ) -> Result<Json<Registered>, Failure<{ AUTH | CONFLICT | JSON_BODY | UNAVAILABLE }>> {
        if let Some(peer) = peer.as_socket_addr() {
            Registry::check_peer(&body.0, peer.ip())?;
        }
        observe_fence(&context, body.0.highest_fence).await?;
        let Engine {
            nodes, registry, ..
        } = &context.engine;
        let record = async |moved: Move| -> Result<(), Problem> {
            nodes.record_move(moved).await?;
            Ok(())
        };
        let registered = registry.register_recording(id.0.0, body.0, record).await?;
        Ok(Json(registered))
    }

    /// Send a heartbeat
    ///
    /// A node calls this at the interval that its registration returned. A 404 means that the
    /// engine does not know the node at this address, a 409 that another node has its id:
    /// register again. A 503 with `Connection: close` means that the engine is cut off from its
    /// store: connect again, because another engine may answer there. Needs the node token.
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
        Failure<{ AUTH | NOT_FOUND | CONFLICT | JSON_BODY | UNAVAILABLE }>,
    > {
        let highest_fence = body.0.highest_fence;
        // Counts also where the store fails: the node is alive.
        let answer = context.engine.registry.heartbeat(&id.0.0, body.0)?;
        if context.engine.deployments.write_failure().is_some() {
            // The engine that works on does not hear of the node from here. The text stays the
            // same, because the node logs each new one.
            let detail = "the engine is cut off from its store, or that refuses writes; connect \
                          again, because another engine may answer";
            return Err(Problem::new(Kind::Unavailable, detail).with_close().into());
        }
        observe_fence(&context, highest_fence).await?;
        Ok(Json(answer.ok_or_else(|| unknown_node(&id.0.0))?))
    }
}

/// These nodes with their cordons and their modules.
pub(super) fn view_nodes(
    engine: &Engine,
    members: Vec<Member>,
    placements: Option<&Placements>,
) -> Vec<view::Node> {
    let view = |member: Member| {
        let record = &member.record;
        let cordon = engine.nodes.cordon_of(&record.environment, &record.id);
        view::Node::new(member, cordon, placements)
    };
    members.into_iter().map(view).collect()
}

/// The node after a change.
async fn changed<const FAILURES: u16>(
    context: &Context,
    id: &NodeId,
    change: impl Future<Output = Result<(), nodes::Error>>,
) -> Result<Json<view::Node>, Failure<FAILURES>> {
    change.await?;
    Ok(Json(view_node(&context.engine, id).await?))
}

async fn view_node(engine: &Engine, id: &NodeId) -> Result<view::Node, Problem> {
    let member = engine.registry.member(id);
    let member = member.ok_or_else(|| unknown_node(id))?;
    let environment = member.record.environment.clone();
    let cordon = engine.nodes.cordon_of(&environment, id);
    let placements = placements(engine, &[environment]).await;
    Ok(view::Node::new(member, cordon, placements.as_ref()))
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
