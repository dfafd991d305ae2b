mod probe;

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use hotswap_core::{
    Action, Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order,
};
use hotswap_protocol as protocol;
use hotswap_protocol::{ModuleStatus, OrderRequest};
use reqwest::{Method, StatusCode};

use crate::client::{Client, Request, SetupError, json};
use crate::reads::Reads;
use crate::{Error, Fleet, Member, Options, Registry, answer};

/// The fleet of a [`Registry`], over the nodes' control API. Connections are kept and
/// shared; the node token goes into a header and nowhere else.
pub struct HttpFleet {
    registry: Registry,
    client: Client,
    options: Options,
    reads: Reads,
}

impl HttpFleet {
    /// A fleet that orders the nodes of `registry` with the node token `token`.
    ///
    /// # Errors
    /// Where the token cannot be a header, or no HTTP client can be made.
    pub fn new(
        registry: Registry,
        token: impl AsRef<str>,
        options: Options,
    ) -> Result<Self, SetupError> {
        let client = Client::new(token.as_ref(), &options)?;
        Ok(Self {
            registry,
            client,
            reads: Reads::new(options.freshness),
            options,
        })
    }

    /// What a node holds of a module; none where it holds nothing of it.
    async fn status(
        &self,
        node: &NodeId,
        module: &ModuleName,
        patience: Duration,
    ) -> Result<Option<ModuleStatus>, NodeError> {
        let request = Request {
            method: Method::GET,
            path: &["v1", "modules", module.as_str()],
            body: None,
            timeout: self.options.request,
            patience,
        };
        let reply = self.client.send(&self.registry, node, request).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        reply.parse().map(Some)
    }

    async fn active(
        &self,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        // A list is for people and plans, who can ask again: no patience.
        let status = self.status(node, module, Duration::ZERO).await?;
        let active = status.and_then(|status| status.active);
        active
            .map(|told| answer::version(module, &told))
            .transpose()
    }

    async fn node(&self, member: Member, module: &ModuleName) -> Node {
        let record = &member.record;
        let (health, active) = match self.active(&record.id, module).await {
            Ok(active) => (answering(member.health), active),
            Err(error) => {
                tracing::debug!(node = %record.id, %error, "node does not tell what it runs");
                (Health::Critical, None)
            }
        };
        Node {
            id: record.id.clone(),
            zone: record.zone.clone(),
            labels: record.labels.clone(),
            health,
            active,
        }
    }

    async fn read_now(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        let patience = self.options.patience.min(self.options.freshness);
        let status = self.status(node, module, patience).await?;
        let at = self.registry.clock().now();
        let status = status.ok_or_else(|| {
            NodeError::Refused(format!("it holds no version of module '{module}'"))
        })?;
        answer::reading(node, at, status)
    }
}

#[async_trait]
impl Fleet for HttpFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        let members = self.registry.members_of(environment);
        if members.is_empty() {
            return Err(Error::NoNodes(environment.clone()));
        }
        let asked = members
            .into_iter()
            .map(|member| self.node(member, module))
            .collect::<Vec<_>>();
        let at_once = self.options.at_once.max(1);
        Ok(stream::iter(asked).buffered(at_once).collect().await)
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let action = wire(&order.action);
        let timeout = match &action {
            protocol::Action::Stage(_) => self.options.stage,
            _ => self.options.request,
        };
        let body = OrderRequest {
            fence: order.fence.0,
            deployment: order.deployment.to_string(),
            action,
        };
        let (module, operation) = (order.module.as_str(), order.operation.as_str());
        let request = Request {
            method: Method::PUT,
            path: &["v1", "modules", module, "operations", operation],
            body: Some(json(&body)?),
            timeout,
            patience: self.options.patience,
        };
        let reply = self.client.send(&self.registry, node, request).await?;
        reply.accept()
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        probe::until_good(self, node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        let key = (node.clone(), module.clone());
        self.reads.get(key, self.read_now(node, module)).await
    }
}

/// A node that answers has been heard of.
fn answering(health: Health) -> Health {
    match health {
        Health::Unknown | Health::Passing => Health::Passing,
        Health::Warning => Health::Warning,
        Health::Critical => Health::Critical,
    }
}

fn wire(action: &Action) -> protocol::Action {
    match action {
        Action::Stage(version) => protocol::Action::Stage(protocol::Stage {
            version: answer::wire(version),
        }),
        Action::Shift { version, percent } => protocol::Action::Shift(protocol::Shift {
            version: answer::wire(version),
            percent: *percent,
        }),
        Action::Promote(version) => protocol::Action::Promote(protocol::Promote {
            version: answer::wire(version),
        }),
        Action::Revert(to) => protocol::Action::Revert(protocol::Revert {
            to: to.as_ref().map(answer::wire),
        }),
        Action::Settle => protocol::Action::Settle(protocol::Settle {}),
    }
}
