//! `/api/v1/nodes`.

use hotswap_core::NodeId;
use hotswap_protocol::{Heartbeat, Registered, Registration};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use crate::auth::{Admin, Node, Viewer};
use crate::body::Body;
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{
    AUTH, Failure, INVALID, Kind, MEDIA, MISSING, Problem, TOO_LARGE, UNAVAILABLE, UNPROCESSABLE,
};
use crate::text::Text;
use crate::view;

/// Operations on nodes, and those that nodes themselves call.
pub(crate) struct Nodes;

/// It is done, and there is nothing to say.
#[derive(ApiResponse)]
enum Done {
    /// Done.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Nodes")]
impl Nodes {
    /// List nodes
    ///
    /// Every node that has registered, and how it is.
    #[oai(path = "/nodes", method = "get", operation_id = "listNodes")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Nodes>, Failure<AUTH>> {
        let members = context.engine.registry.members();
        let nodes = members.into_iter().map(Into::into).collect();
        Ok(Json(view::Nodes { nodes }))
    }

    /// Get a node
    ///
    /// Where it is, and how it is.
    #[oai(path = "/nodes/:id", method = "get", operation_id = "getNode")]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The node's name.
        id: Path<Text<NodeId>>,
    ) -> Result<Json<view::Node>, Failure<{ INVALID | AUTH | MISSING }>> {
        let member = context.engine.registry.member(&id.0.0);
        Ok(Json(member.ok_or_else(|| unknown(&id.0.0))?.into()))
    }

    /// Forget a node
    ///
    /// For a machine that is gone for good. One that runs registers again by itself.
    #[oai(path = "/nodes/:id", method = "delete", operation_id = "deleteNode")]
    async fn delete(
        &self,
        _admin: Admin,
        context: Data<&Context>,
        /// The node's name.
        id: Path<Text<NodeId>>,
    ) -> Result<Done, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>> {
        if context.engine.registry.deregister(&id.0.0).await? {
            Ok(Done::Done)
        } else {
            Err(unknown(&id.0.0).into())
        }
    }

    /// Register a node
    ///
    /// What a node says of itself when it starts; counts as a heartbeat. With the node token.
    #[oai(path = "/nodes/:id", method = "put", operation_id = "registerNode")]
    async fn register(
        &self,
        _node: Node,
        context: Data<&Context>,
        /// The node's name.
        id: Path<Text<NodeId>>,
        body: Body<Registration>,
    ) -> Result<
        Json<Registered>,
        Failure<{ INVALID | AUTH | TOO_LARGE | MEDIA | UNPROCESSABLE | UNAVAILABLE }>,
    > {
        let registered = context.engine.registry.register(id.0.0, body.0).await?;
        Ok(Json(registered))
    }

    /// Report in
    ///
    /// A node's heartbeat. Where it is answered 404, the engine has forgotten the node: it
    /// registers again. With the node token.
    #[oai(
        path = "/nodes/:id/heartbeat",
        method = "post",
        operation_id = "sendHeartbeat"
    )]
    async fn heartbeat(
        &self,
        _node: Node,
        context: Data<&Context>,
        /// The node's name.
        id: Path<Text<NodeId>>,
        body: Body<Heartbeat>,
    ) -> Result<Done, Failure<{ INVALID | AUTH | MISSING | TOO_LARGE | MEDIA }>> {
        if context.engine.registry.heartbeat(&id.0.0, body.0) {
            Ok(Done::Done)
        } else {
            Err(unknown(&id.0.0).into())
        }
    }
}

fn unknown(id: &NodeId) -> Problem {
    let detail = format!("no node '{id}' has registered; list them with GET /api/v1/nodes");
    Problem::new(Kind::UnknownNode, detail)
}
