//! The fleet over the nodes' HTTP control API.

mod addressee;
mod client;
mod operation;
mod poll;
mod probe;
mod prober;
mod reading_cache;
mod response;
mod staging;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use hotswap_common::tls::ClientTls;
use hotswap_common::{CurrentSecret, Secret};
use hotswap_core::{
    Action, Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order, SteadyTime,
};
use hotswap_protocol::{
    ModuleStatus, NodeReport, OrderProgress, OrderRequest, Slot, SyntheticRequest,
};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use self::client::{NodeClient, Request, SendError, to_json};
use self::operation::Operation;
use self::probe::Probe;
use self::reading_cache::ReadingCache;
use self::staging::Staging;
use self::wire::{parse_reading, parse_version, to_wire_action};
use crate::registry::truncate_reason;
use crate::wire::to_wire_version;
use crate::{Error, Fleet, HealthReport, Member, Options, Registry, SyntheticTraffic};

pub use client::{SetupError, SetupStep};
pub use poll::{PollClient, PollError, ProvenNode};
pub use prober::NodeProber;

/// The shortest time between two requests for the progress of an order, should a node not wait
/// before it answers.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long a node may take to give its report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The nodes of a [`Registry`], over their HTTP control API. Connections are kept and shared.
/// The node token is sent in a header, and appears nowhere else.
pub struct HttpFleet {
    registry: Registry,
    client: NodeClient,
    options: Options,
    readings: ReadingCache,
    /// Dates readings: the spans between them are measured.
    time: SteadyTime,
}

/// A node's report on the active version of a module.
#[derive(Default)]
struct ActiveSlot {
    version: Option<ModuleVersion>,
    /// Why the node cannot load it.
    fault: Option<String>,
}

impl HttpFleet {
    /// Creates a fleet that authenticates to the nodes of `registry` with the node token
    /// `token`.
    ///
    /// # Errors
    /// [`SetupError`] if the token cannot be a header, or the HTTP client cannot be created.
    pub fn new(
        registry: Registry,
        token: impl AsRef<str>,
        options: Options,
    ) -> Result<Self, SetupError> {
        let token = CurrentSecret::from(Secret::new(token.as_ref()));
        Self::with_tls(registry, token, options, &ClientTls::default())
    }

    /// As [`Self::new`], with a token that may be replaced, and this TLS towards nodes that have it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(
        registry: Registry,
        token: CurrentSecret,
        options: Options,
        tls: &ClientTls,
    ) -> Result<Self, SetupError> {
        let client = NodeClient::new(registry.clone(), token, &options, tls)?;
        Ok(Self {
            time: SteadyTime::start(registry.clock()),
            registry,
            client,
            readings: ReadingCache::new(options.reading_max_age),
            options,
        })
    }

    /// A node's status of a module. `None` if the node holds no version of it.
    async fn status(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
        retry_for: Duration,
    ) -> Result<Option<ModuleStatus>, NodeError> {
        let request = Request {
            method: Method::GET,
            path: &["v1", "modules", module.as_str()],
            environment: Some(environment),
            body: None,
            timeout: self.options.request_timeout,
            retry_for,
        };
        let response = self.client.send(node, request).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        response.parse().map(Some)
    }

    async fn active_slot(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<ActiveSlot, SendError> {
        let request = Request {
            method: Method::GET,
            path: &["v1", "modules", module.as_str()],
            environment: Some(environment),
            body: None,
            timeout: self.options.request_timeout,
            retry_for: Duration::ZERO,
        };
        let mut response = self.client.send_once(node, &request).await;
        if let Err(SendError::Node(NodeError::Unreachable(_))) = &response {
            // A connection that breaks, or an answer that is late, does not show that the node is
            // gone. No more retries: lists and plans wait for this.
            response = self.client.send_once(node, &request).await;
        }
        if let Err(SendError::Node(NodeError::Unreachable(_))) = &response {
            self.registry.did_not_answer(node);
        }
        let response = response?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(ActiveSlot::default());
        }
        let status = response.parse::<ModuleStatus>()?;
        let version = status.active.map(|version| parse_version(module, &version));
        let mut faults = status.faults.into_iter();
        let fault = faults.find(|fault| fault.slot == Slot::Active);
        Ok(ActiveSlot {
            version: version.transpose()?,
            fault: fault.map(|fault| truncate_reason(fault.reason)),
        })
    }

    /// A node and what it runs.
    ///
    /// # Errors
    /// Why this machine cannot ask it.
    async fn node(
        &self,
        environment: &Environment,
        member: Member,
        module: &ModuleName,
    ) -> Result<Node, String> {
        let record = &member.record;
        // A node that is gone must not cost every list and every plan a time-out.
        let answer = if self.registry.may_answer(&record.id) {
            self.active_slot(environment, &record.id, module).await
        } else {
            let reason = "it has just not answered".to_owned();
            Err(NodeError::Unreachable(reason).into())
        };
        let (health, slot) = match answer {
            Ok(slot) => (self.health_of_answering_node(&member), slot),
            Err(SendError::Local(reason)) => return Err(reason),
            Err(error @ (SendError::Node(_) | SendError::Moved(_))) => {
                let error = NodeError::from(error);
                tracing::debug!(node = %record.id, %error, "node does not report its active version");
                (Health::Critical, ActiveSlot::default())
            }
        };
        Ok(Node {
            id: record.id.clone(),
            zone: record.zone.clone(),
            labels: record.labels.clone(),
            health,
            active: slot.version,
            fault: slot.fault,
        })
    }

    /// A node that has just answered is alive: at worst it reports a problem.
    fn health_of_answering_node(&self, member: &Member) -> Health {
        let now = self.registry.member(&member.record.id);
        match now.as_ref().unwrap_or(member).health {
            Health::Passing | Health::Unknown => Health::Passing,
            Health::Warning => Health::Warning,
            Health::Critical => Health::Critical,
        }
    }

    async fn read_uncached(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        let retry_for = self.options.patience.min(self.options.reading_max_age);
        let status = self.status(environment, node, module, retry_for).await?;
        let at = self.time.now(self.registry.clock());
        let status = status.ok_or_else(|| {
            NodeError::Refused(format!("it holds no version of module '{module}'"))
        })?;
        parse_reading(node, at, status)
    }

    fn begin(&self, span_name: &'static str, method: &Method, node: &NodeId) -> Operation {
        Operation::begin(span_name, method, node, || {
            let address = self.registry.control_address(node);
            address.map(|address| address.url)
        })
    }

    async fn send_order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        // Half of the time-out is left for the way there and back.
        let wait = self.options.request_timeout / 2;
        let body = to_json(&OrderRequest {
            fence: order.fence.0,
            deployment: order.deployment.to_string(),
            action: to_wire_action(&order.action),
            wait_millis: Some(to_millis(wait)),
            stall_millis: Some(to_millis(self.options.stall_timeout)),
        })?;
        let (module, operation) = (order.module.as_str(), order.operation.as_str());
        let path = ["v1", "modules", module, "operations", operation];
        let mut staging = Staging::new(node, &self.options);
        loop {
            let request = Request {
                method: Method::PUT,
                path: &path,
                environment: Some(&order.environment),
                body: Some(body.clone()),
                timeout: self.options.request_timeout,
                retry_for: self.options.patience,
            };
            let next_poll = Instant::now() + MIN_POLL_INTERVAL;
            let response = self.client.send(node, request).await?;
            if response.status != StatusCode::ACCEPTED {
                return response.check_status();
            }
            staging.check(response.parse::<OrderProgress>()?)?;
            tokio::time::sleep_until(next_poll).await;
        }
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
        let requests = members
            .into_iter()
            .map(|member| self.node(environment, member, module))
            .collect::<Vec<_>>();
        let concurrency = self.options.max_concurrent_requests.max(1);
        let nodes = stream::iter(requests).buffered(concurrency).try_collect();
        nodes.await.map_err(Error::LocalFault)
    }

    async fn active(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        Ok(self.active_slot(environment, node, module).await?.version)
    }

    async fn report(&self, node: &NodeId) -> Result<NodeReport, NodeError> {
        let request = Request {
            method: Method::GET,
            path: &["v1", "debug"],
            environment: None,
            body: None,
            timeout: self.options.request_timeout.min(REPORT_TIMEOUT),
            retry_for: Duration::ZERO,
        };
        self.client.send(node, request).await?.parse()
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let mut operation = self.begin(span_name(&order.action), &Method::PUT, node);
        let span = &mut operation.span;
        span.set_text("hotswap.module.name", &order.module);
        span.set_text("hotswap.operation.id", &order.operation);
        operation.run(self.send_order(node, order)).await
    }

    async fn probe(
        &self,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        let probe = Probe {
            client: &self.client,
            environment,
            node,
            version,
            expected: probe,
            request_timeout: self.options.request_timeout,
        };
        let mut operation = self.begin("node.probe", &Method::POST, node);
        let span = &mut operation.span;
        span.set_text("hotswap.module.name", &version.name);
        span.set_text("hotswap.module.version", &version.version);
        operation.run(probe.run()).await
    }

    async fn read(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        let key = (environment.clone(), node.clone(), module.clone());
        let read = self.read_uncached(environment, node, module);
        self.readings.get_or_read(key, read).await
    }

    async fn send_synthetic(
        &self,
        environment: &Environment,
        node: &NodeId,
        traffic: &SyntheticTraffic<'_>,
    ) -> Result<(), NodeError> {
        let body = SyntheticRequest {
            version: to_wire_version(traffic.version),
            to_version: traffic.to_version,
            to_others: traffic.to_others,
            path: traffic.path.to_owned(),
            rate_per_second: traffic.rate_per_second,
            lasting_millis: to_millis(traffic.lasting),
        };
        let request = Request {
            method: Method::POST,
            path: &["v1", "modules", traffic.version.name.as_str(), "synthetic"],
            environment: Some(environment),
            body: Some(to_json(&body)?),
            timeout: self.options.request_timeout,
            // The next reading asks again.
            retry_for: Duration::ZERO,
        };
        self.client.send(node, request).await?.check_status()
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        let member = self.registry.member(node);
        let unknown = HealthReport {
            health: Health::Unknown,
            reason: None,
        };
        member.map_or(unknown, |member| HealthReport {
            health: member.health,
            reason: member.reason,
        })
    }

    fn is_unheard(&self, node: &NodeId) -> bool {
        self.registry.is_unheard(node)
    }

    fn is_awaited(&self, node: &NodeId) -> bool {
        self.registry.is_awaited(node)
    }

    fn serves_nothing(&self, node: &NodeId, module: &ModuleName) -> bool {
        self.registry.serves_nothing(node, module)
    }

    fn moved_to(&self, node: &NodeId, environment: &Environment) -> Option<Environment> {
        let now = self.registry.control_address(node)?.environment;
        (now != *environment).then_some(now)
    }

    /// One request may begin just before the patience is over.
    fn patience(&self) -> Duration {
        self.options.patience + self.options.request_timeout
    }

    fn has_stopped(&self, node: &NodeId) -> bool {
        self.registry.has_stopped(node)
    }
}

fn span_name(action: &Action) -> &'static str {
    match action {
        Action::Stage(_) => "node.stage",
        Action::Shift { .. } => "node.shift",
        Action::Promote(_) => "node.promote",
        Action::Revert(_) => "node.revert",
        Action::Restart(_) => "node.restart",
        Action::Settle => "node.settle",
    }
}

fn to_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
