use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Call, Cause, Decision, DeploymentId, Digest, Environment, Fence, ModuleVersion, Node,
    NodeFailure, NodeReading, Outcome, Policy, StrategyName, Timestamp,
};

/// One entry of a deployment's journal. Journals are append-only and the only truth
/// about a deployment: everything that is told of one is a fold over its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its place in the deployment's journal, from 0 without gaps.
    pub seq: u64,
    /// Its place among the events of all deployments of the store; rises, with gaps.
    pub position: u64,
    /// When it was appended, by the appender's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", content = "data")]
pub enum EventBody {
    /// Somebody asked for the deployment. The first event of each journal.
    Requested(Box<Header>),
    /// The engine waits for a person before it begins.
    Gated {
        /// What the person is asked.
        prompt: String,
        /// When it counts as not approved.
        due: Timestamp,
    },
    /// The nodes were found; from here on no other node can be touched.
    Planned {
        /// Sorted by id, each with the version it ran.
        nodes: Vec<Node>,
    },
    /// The strategy made a call.
    Called {
        /// Its number, from 0 without gaps.
        call: u32,
        /// What it asked, whole: on replay it must ask the same.
        request: Call,
        /// For a call that waits: when the wait is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
        /// For a soak: what the counters said when it began.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        readings: Vec<NodeReading>,
        /// For a read: the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Answer>,
    },
    /// A write was carried out.
    Answered {
        /// The number of the call.
        call: u32,
        /// What came of it.
        answer: Answer,
    },
    /// A person decided on what the gate or `control.approval` asked.
    Decided {
        /// The decision.
        decision: Decision,
    },
    /// A person asked that the next call of the strategy be held.
    Paused {
        /// Who.
        by: String,
    },
    /// A person asked that it go on.
    Resumed {
        /// Who.
        by: String,
    },
    /// A person asked that it end and be reverted.
    AbortRequested {
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The strategy succeeded; the nodes are told to drop the version before.
    Settling,
    /// The deployment did not succeed; the nodes that were touched are being put back.
    Reverting {
        /// Why.
        cause: Cause,
    },
    /// It is over. The last event of each journal.
    Ended {
        /// How.
        outcome: Outcome,
        /// Nodes that could not be put back, or that did not drop the version before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failures: Vec<NodeFailure>,
    },
}

/// What a deployment was asked to do, pinned for its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The deployment: the API's execution id.
    pub id: DeploymentId,
    /// What to roll out.
    pub module: ModuleVersion,
    /// Where.
    pub environment: Environment,
    /// By which code.
    pub strategy: StrategyRef,
    /// The strategy's configuration: valid by its schema, defaults filled in.
    pub config: serde_json::Value,
    /// What it may not exceed.
    pub policy: Policy,
    /// Who asked.
    pub requester: Requester,
    /// What they said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whatever they attached to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve it before it begins.
    #[serde(default)]
    pub require_approval: bool,
    /// The deployment that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<DeploymentId>,
    /// W3C `traceparent` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// The code of a strategy, pinned by digest: a newer upload changes nothing that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRef {
    /// Its name.
    pub name: StrategyName,
    /// The version that it says of itself.
    pub version: String,
    /// Of the component.
    pub digest: Digest,
    /// The version of the contract that it was built for.
    pub wit: Version,
}

/// Who asked for a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// Where to reach them, as the request said.
    pub email: String,
    /// Who they are, as their token said.
    pub subject: String,
}

/// Events that are to be appended together, durably or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// To which journal.
    pub deployment: DeploymentId,
    /// The sequence number that the first of them must get: the appender has seen all before.
    pub expected: u64,
    /// The right by which an engine drives the deployment; none for what people ask for.
    pub fence: Option<Fence>,
    /// When.
    pub at: Timestamp,
    /// What happened, at least one.
    pub bodies: Vec<EventBody>,
}
