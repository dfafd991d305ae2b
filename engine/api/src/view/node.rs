use std::collections::BTreeMap;

use hotswap_core as core;
use hotswap_fleet::{Member, Registry};
use hotswap_runner::reconciler::Placements;
use poem_openapi::{Enum, Object};

use super::{Cordon, NodeModule};

/// All nodes, sorted by id.
#[derive(Debug, Clone, Object)]
pub(crate) struct Nodes {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// A machine that runs `hotswap node`.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Node {
    /// The id of the node.
    pub id: String,
    /// The environment that the node belongs to.
    pub environment: String,
    /// The zone that the node reports, if any.
    pub zone: Option<String>,
    /// Labels that the node's operator chose.
    pub labels: BTreeMap<String, String>,
    /// The health, from the node's last heartbeat and the time since it was last heard of.
    pub health: Health,
    /// Why the health is not `passing`, in one sentence.
    pub reason: Option<String>,
    /// The URL where the node takes orders from the engine.
    pub control_url: String,
    /// The URL where the node serves requests to its modules.
    pub data_url: String,
    /// The source through which the engine knows the node: `built-in` for one that reports in to
    /// the engine itself. Absent: it was not heard of since the engine started.
    pub source: Option<String>,
    /// When the node first registered.
    pub registered_at: u64,
    /// When the node last reported in. Absent: not since the engine started.
    pub last_seen: Option<u64>,
    /// Who has cordoned or drained the node, and why. Absent: nobody has.
    pub cordon: Option<Cordon>,
    /// Whether clients may be sent to the node, as its last heartbeat said. Absent: it does not
    /// report in, or has not said.
    pub ready: Option<bool>,
    /// Why it is not ready, in one sentence.
    pub unready_reason: Option<String>,
    /// The requests that it was working on at its last heartbeat, as far as it can tell.
    pub in_flight: Option<u64>,
    /// The requests of clients since it started, and those that failed because of the clients, as
    /// of its last heartbeat. Absent: it does not report in, or has not said.
    pub traffic: Option<NodeTraffic>,
    /// The modules for which the engine has decided what the node should run, sorted by name.
    /// Absent: the store failed, so the decisions are not known now.
    pub modules: Option<Vec<NodeModule>>,
}

/// Requests to a node since it started. Soaks ignore requests that failed because of their clients:
/// no version of a module is at fault for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct NodeTraffic {
    /// Requests that were routed to a version of a module.
    pub received: u64,
    /// Requests that were not valid HTTP, or had no valid host.
    pub malformed: u64,
    /// Requests for modules that do not run on the node.
    pub unroutable: u64,
    /// Clients that left before they had the whole answer.
    pub clients_left: u64,
    /// Clients that sent their request too slowly.
    pub slow_uploads: u64,
    /// Clients that read the answer too slowly.
    pub slow_readers: u64,
}

impl From<hotswap_protocol::Traffic> for NodeTraffic {
    fn from(traffic: hotswap_protocol::Traffic) -> Self {
        Self {
            received: traffic.received,
            malformed: traffic.malformed,
            unroutable: traffic.unroutable,
            clients_left: traffic.client.left,
            slow_uploads: traffic.client.slow_uploads,
            slow_readers: traffic.client.slow_readers,
        }
    }
}

/// The health of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Health")]
pub(crate) enum Health {
    /// The node reports in on time and without complaints.
    Passing,
    /// The node reports in, but late or with a complaint.
    Warning,
    /// The node has not reported in for so long that it counts as lost.
    Critical,
    /// The node has not reported in since the engine started.
    Unknown,
}

/// The number of nodes by health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Object)]
pub(crate) struct HealthCounts {
    /// Nodes that report in on time and without complaints.
    pub passing: u32,
    /// Nodes that report in, but late or with a complaint.
    pub warning: u32,
    /// Nodes that count as lost.
    pub critical: u32,
    /// Nodes that have not reported in since the engine started.
    pub unknown: u32,
}

impl HealthCounts {
    /// Counts these nodes.
    pub fn count<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut counts = Self::default();
        for member in members {
            match member.health {
                core::Health::Passing => counts.passing += 1,
                core::Health::Warning => counts.warning += 1,
                core::Health::Critical => counts.critical += 1,
                core::Health::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}

impl Node {
    /// A node with its cordon, and what is known of its modules.
    pub fn new(
        member: Member,
        cordon: Option<core::Cordon>,
        placements: Option<&Placements>,
    ) -> Self {
        let is_heard = match member.health {
            core::Health::Passing | core::Health::Warning => true,
            core::Health::Critical | core::Health::Unknown => false,
        };
        let readiness = member.readiness.filter(|_| is_heard);
        let ready = readiness.as_ref().map(|readiness| readiness.ready);
        let in_flight = readiness.as_ref().map(|readiness| readiness.in_flight);
        let modules = placements.map(|placements| {
            let modules = placements.get(&member.record.id).into_iter().flatten();
            let modules = modules.map(|(module, placement)| NodeModule::new(module, placement));
            modules.collect()
        });
        let source = match member.found_in {
            Some(source) => Some(source.to_string()),
            None => member.last_seen.map(|_| Registry::SOURCE.to_owned()),
        };
        let record = member.record.as_ref().clone();
        Self {
            id: record.id.into(),
            environment: record.environment.into(),
            zone: record.zone,
            labels: record.labels,
            health: member.health.into(),
            reason: member.reason,
            control_url: record.control_url,
            data_url: record.data_url,
            source,
            registered_at: record.registered_at.millis(),
            last_seen: member.last_seen.map(core::Timestamp::millis),
            cordon: cordon.map(Into::into),
            ready,
            unready_reason: readiness.and_then(|readiness| readiness.reason),
            in_flight,
            traffic: member.traffic.filter(|_| is_heard).map(Into::into),
            modules,
        }
    }
}
