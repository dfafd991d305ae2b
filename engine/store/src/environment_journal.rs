//! The [`EnvironmentJournal`] trait: what happens in an environment outside of deployments.

use async_trait::async_trait;
use hotswap_core::{
    DecodeError, DeploymentId, Environment, EnvironmentEvent, EnvironmentEventBody, Fence,
    ModuleName, NodeId, Timestamp,
};
use tokio::sync::broadcast;

use crate::{LeaseError, ReadError};

/// The error of the store below. Boxed because every store has its own error type.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The journals of all environments.
///
/// Their events share positions with those of the deployments: a position orders all of them.
///
/// # Guarantees
/// Durability, atomicity, isolation and cancel safety are those of [`Journal`](crate::Journal).
#[async_trait]
pub trait EnvironmentJournal: Send + Sync + 'static {
    /// Acquires the right to change nodes of an environment outside of deployments: raises the
    /// store's fence by one and binds it to the environment. From then on appends under an
    /// older fence are rejected.
    ///
    /// Where several engines share the store, the lease is bound to this engine's
    /// [`session`](crate::Journal::session).
    ///
    /// # Errors
    /// - [`LeaseError::Held`] if another engine holds it, whose session lives, or if nobody does and
    ///   it is left to an engine that works in fewer environments: for a second at most, or for six
    ///   after [`give_back_environment`](crate::Session::give_back_environment).
    /// - [`LeaseError::Store`] if the store failed.
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError>;

    /// Appends events, all or none, and returns the position of the last one. An event that says
    /// that a node is gone also deletes its record. An append of no events only compares, and
    /// returns the position of the store's last event.
    ///
    /// # Errors
    /// Nothing is appended:
    /// - [`AppendToEnvironmentError::Fenced`] if the fence is not the environment's.
    /// - [`AppendToEnvironmentError::Busy`] if a module is to be retired, but a deployment of
    ///   it is open in the environment.
    /// - [`AppendToEnvironmentError::PolicyReplaced`] if an event changes the policy that another
    ///   one has replaced, or that there is not.
    /// - [`AppendToEnvironmentError::CordonsChanged`] if another cordon is the newest than the one
    ///   that is expected.
    /// - [`AppendToEnvironmentError::Full`] if the disk is full: what is left is for
    ///   deployments.
    ///
    /// [`AppendToEnvironmentError::Store`] if the store failed: whether the events were
    /// appended is unknown.
    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError>;

    /// Returns at most `limit` events of an environment, or of all, ordered by position,
    /// beginning with the first one after `position`.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError>;

    /// Returns the last `limit` events of an environment before `position`, newest first.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError>;

    /// The environments in which something was ever decided or deployed, sorted.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError>;

    /// What was decided for each module of an environment, sorted by module, the newest first.
    ///
    /// For each node, the first decision about it counts. A module has several where deployments
    /// had a selector: the last one of each selector, back to the last one that was for all
    /// nodes, or to the retirement. Where there is neither, those that did not succeed follow.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn decisions(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ModuleName, Decision)>, ReadError>;

    /// The events that cordon nodes now, of all environments, ordered by position: the last one
    /// of each node that is cordoned or drained. The node is known even where its event cannot be
    /// read.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError>;

    /// The events with which nodes came from another environment, of all environments, ordered
    /// by position: the last one of each node that was not forgotten since.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError>;

    /// The events with which people gave environments their policies, ordered by position: the
    /// last one of each environment that has a policy of people now.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError>;

    /// What was decided for a module in an environment so far, newest first: deployments that
    /// succeeded and retirements. At most `limit`, and only what was decided before `before`.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<Vec<PastDecision>, ReadError>;

    /// Deletes the events from before a date that decide nothing, and returns how many.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError>;

    /// Subscribes to every append from now on, of every engine. A notification is sent once the
    /// events are readable, and as durable as what is read. A receiver that falls behind loses the
    /// oldest notifications and is told so.
    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended>;
}

/// What was decided for a module in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A deployment that succeeded: its version should run on the nodes that it is for.
    Succeeded(DeploymentId),
    /// The module was retired at this time: no version should run, but where a deployment has
    /// succeeded since.
    Retired(Timestamp),
    /// A deployment that ended without success: what its nodes ran before should run on them,
    /// where no deployment has ever succeeded for them.
    Unsuccessful(DeploymentId),
}

/// A place among what was decided for a module in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastPlace {
    /// The number of the oldest deployment that comes before this place, counted in the order
    /// of their creation.
    pub number: u64,
    /// The position of the oldest event of the environment that comes before this place.
    pub position: u64,
}

impl PastPlace {
    /// Before everything.
    pub const NEWEST: Self = Self {
        number: u64::MAX,
        position: u64::MAX,
    };
}

/// Something that was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct PastDecision {
    /// The place behind it.
    pub place: PastPlace,
    /// What was decided.
    pub decided: Decided,
}

/// What was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub enum Decided {
    /// A deployment succeeded.
    Succeeded(DeploymentId),
    /// A person retired the module.
    Retired {
        /// When.
        at: Timestamp,
        /// The person. `None` if the event cannot be read.
        by: Option<String>,
        /// The person's reason.
        reason: Option<String>,
    },
}

/// Events to append together: all of them durably, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentAppend {
    /// The environment whose journal they belong to.
    pub environment: Environment,
    /// The fence of the engine's lease; `None` for requests of people.
    pub fence: Option<Fence>,
    /// The position of the newest event that cordons a node of the environment now, as it was when
    /// this was decided; 0 where no node was cordoned. `None` where cordons do not matter.
    ///
    /// As long as it stays the same, every node that is cordoned now was cordoned then.
    pub newest_cordon: Option<u64>,
    /// When they are appended, by the appender's clock.
    pub at: Timestamp,
    /// The events.
    pub bodies: Vec<EnvironmentEventBody>,
}

/// An event with its environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentEntry {
    /// The environment whose journal holds the event.
    pub environment: Environment,
    /// The position of the event in the store.
    pub position: u64,
    /// When it was appended, by the appender's clock.
    pub at: Timestamp,
    /// The event, or why it cannot be read.
    pub event: Result<EnvironmentEvent, DecodeError>,
}

/// Notification of an append to an environment's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentAppended {
    /// The environment.
    pub environment: Environment,
    /// The position of the append's last event.
    pub position: u64,
    /// Whether one of the events decides something: all do but those of repairs.
    pub decides: bool,
}

/// Why [`EnvironmentJournal::append_to_environment`] failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendToEnvironmentError {
    /// Another engine has acquired the lease, with this fence. 0 if none has.
    #[error("the lease has passed to another engine, with fence {}", .0.0)]
    Fenced(Fence),
    /// A deployment of the module is open.
    #[error("deployment {0} of the module in the environment has not ended")]
    Busy(DeploymentId),
    /// The policy of the environment is not the one that an event replaces. It comes from the event
    /// at this position; `None` if people have set none.
    #[error("another change of the policy came first")]
    PolicyReplaced(Option<u64>),
    /// The newest cordon of the environment is not the one that was expected, but that of the event
    /// at this position; 0 where no node is cordoned.
    #[error("another node was cordoned, or uncordoned, first")]
    CordonsChanged(u64),
    /// The disk is full. What is left is for the deployments that are under way.
    #[error("the disk is full")]
    Full,
    /// The store failed. Whether the events were appended is unknown.
    #[error("the store could not append to the journal")]
    Store(#[source] Source),
}
