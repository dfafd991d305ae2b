//! The records of an archive.

use hotswap_core::{DeploymentId, Digest, Environment, Lifecycle, ModuleName, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{BackendRecord, ModuleRecord, NodeRecord, StrategyRecord};

/// A record of an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Record {
    /// A version of a module.
    Module(ModuleRecord),
    /// A strategy.
    Strategy(StrategyRecord),
    /// A discovery backend.
    Backend(BackendRecord),
    /// A node.
    Node(NodeRecord),
    /// The fence of the engine that changes nodes of an environment outside of deployments.
    Environment {
        /// Its name.
        name: Environment,
        /// The fence.
        fence: u64,
    },
    /// The last retirement of a module in an environment.
    Retirement {
        /// Where.
        environment: Environment,
        /// Which module.
        module: ModuleName,
        /// The deployments up to this number decide nothing any more.
        number: u64,
        /// When.
        at: Timestamp,
    },
    /// The event that cordons a node.
    Cordon {
        /// Where.
        environment: Environment,
        /// Which node.
        node: NodeId,
        /// The position of the event.
        position: u64,
    },
    /// The event with which a node came from another environment.
    Arrival {
        /// Which node.
        node: NodeId,
        /// The position of the event.
        position: u64,
    },
    /// The event with which people gave an environment its policy.
    Policy {
        /// Where.
        environment: Environment,
        /// The position of the event.
        position: u64,
    },
    /// A deployment without its events.
    Deployment(StoredDeployment),
    /// An event of a deployment. Its body follows.
    Event {
        /// Its place among all events.
        position: u64,
        /// Whose it is.
        deployment: DeploymentId,
        /// Its number in the journal.
        seq: u64,
        /// When it was appended.
        at: Timestamp,
    },
    /// An event of an environment. Its body follows.
    EnvironmentEvent {
        /// Its place among all events.
        position: u64,
        /// Where.
        environment: Environment,
        /// When it was appended.
        at: Timestamp,
        /// Whether it decides what should run, so that it is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        decides: bool,
        /// The module that it retires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<ModuleName>,
    },
    /// What the store counts.
    Store {
        /// Of the last event.
        position: u64,
        /// The highest position of an event that was deleted.
        deleted: u64,
        /// The last fence that was handed out.
        fence: u64,
    },
    /// An artifact or a component. Its bytes follow.
    Blob {
        /// Its digest.
        digest: Digest,
    },
}

/// A deployment without its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredDeployment {
    /// Its place in the order of creation.
    pub number: u64,
    /// Its id.
    pub id: DeploymentId,
    /// Its module.
    pub module: ModuleName,
    /// Its environment.
    pub environment: Environment,
    /// The fence of the engine that drives it, 0 for none yet.
    pub fence: u64,
    /// What its events add up to.
    pub lifecycle: Lifecycle,
    /// When it was requested.
    pub created_at: Timestamp,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKey>,
    /// The part of its environment that it is for, as its selector is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Whether it waits for the end of another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// The number of its next event.
    pub next_seq: u64,
}

/// Who may repeat a request, and by which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// The subject of the token.
    pub requester: String,
    /// The idempotency key.
    pub key: String,
}

/// A record with the bytes that follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// The bytes, of an event or a blob.
    pub bytes: Option<Vec<u8>>,
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self {
            record,
            bytes: None,
        }
    }
}

impl Record {
    /// The position of an event, 0 for other records.
    pub(crate) fn position(&self) -> u64 {
        match self {
            Self::Event { position, .. } | Self::EnvironmentEvent { position, .. } => *position,
            _ => 0,
        }
    }
}
