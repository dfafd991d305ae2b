use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Call, Cause, CordonedNode, Decision, DeploymentId, Digest, Environment, Fence,
    IdempotencyKey, ModuleVersion, Node, NodeError, NodeFailure, NodeLabels, NodeReading, Outcome,
    Policy, Repair, Selector, StrategyLimits, StrategyName, Timestamp,
};

/// One entry of a deployment's journal.
///
/// The journal is append-only and the only truth about a deployment: its state is a fold over
/// its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its sequence number in the deployment's journal, from 0 without gaps.
    pub seq: u64,
    /// Its position among the events of all deployments in the store. Rises, with gaps.
    pub position: u64,
    /// When it was appended, by the appender's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// The content of an [`Event`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", content = "data")]
pub enum EventBody {
    /// The deployment was requested. The first event of each journal.
    Requested(Box<Header>),
    /// The engine waits for a person to approve the deployment before it begins.
    Gated {
        /// The question to the person.
        prompt: String,
        /// When the request for approval times out, which counts as rejected.
        due: Timestamp,
    },
    /// The nodes of the plan were chosen. The deployment can touch no other node.
    Planned {
        /// Sorted by id, each with the version that it ran before.
        nodes: Vec<Node>,
        /// The other nodes that the deployment is for, each with the reason why it was left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<NodeFailure>,
        /// The nodes that were left out because a person has cordoned or drained them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cordoned: Vec<CordonedNode>,
    },
    /// The strategy made a call.
    Called {
        /// The number of the call, from 0 without gaps.
        call: u32,
        /// The whole call. On replay the strategy must make the same one.
        request: Call,
        /// For a call that waits: when the wait ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
        /// For a soak: the counters of the nodes at its start.
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
        /// The answer.
        answer: Answer,
    },
    /// A person decided on an approval that the engine or the strategy asked for.
    Decided {
        /// The decision.
        decision: Decision,
    },
    /// The deployment is paused: the engine holds the next call of the strategy.
    Paused {
        /// The person; `engine` where the engine paused it.
        by: String,
        /// Why the engine paused it, and what to do. `None` if a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person resumed the deployment.
    Resumed {
        /// The person.
        by: String,
    },
    /// A person asked to abort the deployment and to roll it back.
    AbortRequested {
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person ended the wait of the strategy that is under way: a sleep or a soak.
    PromoteRequested {
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether every later sleep and soak ends at once too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        full: bool,
    },
    /// An admin gave up on a deployment whose journal cannot be read: it ends without its
    /// strategy, and the nodes of its plan are reverted.
    TerminationRequested {
        /// The admin.
        by: String,
        /// The admin's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The store has lost writes that it had acknowledged. Events of this journal may be missing
    /// before this one, and nodes may have carried out what they asked for: from here on every node
    /// of the plan counts as changed.
    WritesLost {
        /// What the engine found on the nodes, in a sentence.
        message: String,
    },
    /// The engine begins to bring a node of the plan back to what the deployment has decided for it
    /// so far. The node has lost that: its disk, for example.
    Repairing(Repair),
    /// The node runs what the deployment has decided for it so far.
    Repaired(Repair),
    /// The engine could not bring the node back, and will try again while the deployment waits.
    RepairFailed {
        /// What it tried.
        repair: Repair,
        /// Why it failed.
        error: NodeError,
        /// How many attempts have failed since the last success.
        attempts: u32,
    },
    /// The strategy succeeded. The nodes drop the previous version.
    /// Schema versions before 4 do not tell what the nodes answered before.
    Settling(Option<Verification>),
    /// The deployment did not succeed. The nodes that it changed are being reverted.
    Reverting {
        /// Why it did not succeed.
        cause: Cause,
    },
    /// The deployment ended. The last event of each journal.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// Nodes that could not be reverted, or did not drop the previous version.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failures: Vec<NodeFailure>,
        /// After a success: nodes of the plan that do not run the new version, no more than
        /// the policy tolerates.
        #[serde(default, rename = "notUpdated", skip_serializing_if = "Vec::is_empty")]
        not_updated: Vec<NodeFailure>,
    },
}

/// What the nodes of the plan answered when the engine asked them whether they run the new
/// version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// The nodes that do not, no more than the policy tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_updated: Vec<NodeFailure>,
}

/// The request for a deployment. Fixed for the life of the deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The id of the deployment; the API calls it the execution id.
    pub id: DeploymentId,
    /// The version to roll out.
    pub module: ModuleVersion,
    /// The environment to roll it out in.
    pub environment: Environment,
    /// The nodes of the environment that it is for. `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The strategy that rolls it out.
    pub strategy: StrategyRef,
    /// The strategy's configuration: valid by its schema, with defaults filled in.
    pub config: serde_json::Value,
    /// The limits of the environment at the time of the request.
    pub policy: Policy,
    /// What the strategy may use. Later changes of the engine's configuration do not affect
    /// it: a replay must decide as the first run did.
    #[serde(default)]
    pub limits: StrategyLimits,
    /// Who requested it.
    pub requester: Requester,
    /// The requester's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The requester's own keys and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve the deployment before it begins.
    #[serde(default)]
    pub require_approval: bool,
    /// The deployment that this one rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<DeploymentId>,
    /// The deployment without success that this one tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<DeploymentId>,
    /// The earlier success that this one goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_to: Option<DeploymentId>,
    /// The newest success when this one was requested, from which it goes back. The deployment is
    /// created only while that is still the newest, and while its module is not retired, unless
    /// this one [brings it back](Self::brings_back). `None` where the requester has named what to
    /// go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_from: Option<DeploymentId>,
    /// The deployment of the same module in the same environment that was open when this one
    /// was requested, and was aborted for it. This one begins once that one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<DeploymentId>,
    /// The W3C `traceparent` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Makes a retry of the request safe. `None` if the client sent no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

impl Header {
    /// A request that says no more than this: with the default policy of the environment, without a
    /// configuration, and for all nodes.
    pub fn new(
        id: DeploymentId,
        module: ModuleVersion,
        environment: Environment,
        strategy: StrategyRef,
        requester: Requester,
    ) -> Self {
        Self {
            id,
            module,
            policy: Policy::default_for(&environment),
            environment,
            selector: None,
            strategy,
            config: serde_json::Value::Null,
            limits: StrategyLimits::default(),
            requester,
            description: None,
            metadata: BTreeMap::new(),
            require_approval: false,
            rollback_of: None,
            retry_of: None,
            undo_to: None,
            undo_from: None,
            supersedes: None,
            trace: None,
            idempotency: None,
        }
    }

    /// Whether the deployment is for a node of its environment.
    pub fn selects(&self, labels: NodeLabels<'_>) -> bool {
        let selector = self.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(labels))
    }

    /// Whether it goes back to the newest success itself, because its module was retired since.
    pub fn brings_back(&self) -> bool {
        self.undo_from.is_some() && self.undo_from == self.undo_to
    }

    /// The nodes that the deployment is for, in words: `production`, or `production
    /// (zone=eu)`.
    pub fn scope(&self) -> String {
        match &self.selector {
            Some(selector) => format!("{} ({selector})", self.environment),
            None => self.environment.to_string(),
        }
    }
}

/// Tells a retry of a request from a new request. At most one deployment has the key of a
/// requester.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idempotency {
    /// The key that the client chose.
    pub key: IdempotencyKey,
    /// The digest of the request. A retry has the same one.
    pub request: Digest,
}

/// A strategy's code, pinned by digest: a newer upload does not affect running deployments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRef {
    /// Its name.
    pub name: StrategyName,
    /// The version that the component reports.
    pub version: String,
    /// The digest of the component.
    pub digest: Digest,
    /// The version of the WIT contract that it was built for.
    pub wit: Version,
}

/// Who requested a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The e-mail address in the request.
    pub email: String,
    /// The subject of the token.
    pub subject: String,
}

/// Events to append together: all of them durably, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The deployment whose journal they belong to.
    pub deployment: DeploymentId,
    /// The sequence number that the first event must get. Shows that the appender has seen
    /// all events before.
    pub expected: u64,
    /// The fence of the engine's lease; `None` for requests of people.
    pub fence: Option<Fence>,
    /// When they are appended, by the appender's clock.
    pub at: Timestamp,
    /// The events, at least one.
    pub bodies: Vec<EventBody>,
}

impl EventBody {
    /// The names of all types of events.
    pub const NAMES: [&str; 18] = [
        "requested",
        "gated",
        "planned",
        "called",
        "answered",
        "decided",
        "paused",
        "resumed",
        "abortRequested",
        "promoteRequested",
        "terminationRequested",
        "writesLost",
        "repairing",
        "repaired",
        "repairFailed",
        "settling",
        "reverting",
        "ended",
    ];

    /// The event's name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::Gated { .. } => "gated",
            Self::Planned { .. } => "planned",
            Self::Called { .. } => "called",
            Self::Answered { .. } => "answered",
            Self::Decided { .. } => "decided",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::AbortRequested { .. } => "abortRequested",
            Self::PromoteRequested { .. } => "promoteRequested",
            Self::TerminationRequested { .. } => "terminationRequested",
            Self::WritesLost { .. } => "writesLost",
            Self::Repairing(_) => "repairing",
            Self::Repaired(_) => "repaired",
            Self::RepairFailed { .. } => "repairFailed",
            Self::Settling(_) => "settling",
            Self::Reverting { .. } => "reverting",
            Self::Ended { .. } => "ended",
        }
    }
}
