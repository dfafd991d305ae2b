//! The queries of a store, and the records that it returns.

use hotswap_core::{
    Damage, DeploymentId, Environment, Event, Fence, Lifecycle, ModuleName, Status, Timestamp,
};

/// The right to drive a deployment, until it is acquired again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Pass it with every append and every order to a node.
    pub fence: Fence,
    /// The fence of the lease before, of whichever engine. `None` for the first one.
    pub previous: Option<Fence>,
    /// Where the journal ended when the lease was acquired.
    pub head: Head,
    /// The store has lost writes up to this position, or may have. 0 if it never did.
    pub lost_at: u64,
}

/// Where a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the next event.
    pub next_seq: u64,
    /// The state of the deployment, folded over its events.
    pub lifecycle: Lifecycle,
}

/// What the store knows of a deployment without reading its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// The module that is rolled out.
    pub module: ModuleName,
    /// The environment to which it is rolled out.
    pub environment: Environment,
    /// When the deployment was requested.
    pub created_at: Timestamp,
    /// Where its journal ends.
    pub head: Head,
}

/// A part of a stored snapshot: a state or its summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The format of `body`, as its writer counts formats.
    pub format: u32,
    /// The events below this number are folded into it.
    pub next_seq: u64,
    /// What the writer stored.
    pub body: Vec<u8>,
}

/// A snapshot to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The deployment whose events it was folded from.
    pub deployment: DeploymentId,
    /// The format of both bodies.
    pub format: u32,
    /// The events below this number are folded into it.
    pub next_seq: u64,
    /// Whether the deployment has ended at that point, so that the snapshot stays as it is.
    pub ended: bool,
    /// For lists: small, whatever the size of the state.
    pub summary: Vec<u8>,
    /// The whole state.
    pub state: Vec<u8>,
}

/// An event with its deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The deployment whose journal holds the event.
    pub deployment: DeploymentId,
    /// The position of the event among those of all deployments.
    pub position: u64,
    /// The event, or why it cannot be read.
    pub event: Result<Event, Damage>,
}

/// What a store takes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Deployments that have not ended.
    pub open_deployments: u64,
    /// Deployments that have ended.
    pub ended_deployments: u64,
    /// Bytes of the database and its write-ahead log.
    pub database_bytes: u64,
    /// Bytes within the database that are free to be used again.
    pub reusable_bytes: u64,
    /// Bytes that are kept in reserve for a full disk.
    pub reserve_bytes: u64,
    /// Bytes that are free on the disk.
    pub free_bytes: u64,
}

/// Notification of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The deployment whose journal grew.
    pub deployment: DeploymentId,
    /// Where the journal ends after this append.
    pub head: Head,
    /// The position of the append's last event, counted over all deployments.
    pub position: u64,
    /// True if the engine that drives the deployment appended, false if a person did.
    pub fenced: bool,
}

/// Which deployments to list. Conditions that are `None` match every deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Deployments of this module.
    pub module: Option<ModuleName>,
    /// Deployments in this environment.
    pub environment: Option<Environment>,
    /// Deployments with this status.
    pub status: Option<Status>,
    /// Deployments older than this one.
    pub before: Option<DeploymentId>,
    /// Maximum number of deployments to return. 0 counts as 1.
    pub limit: usize,
}

/// A part of the deployments that match a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub deployments: Vec<DeploymentId>,
    /// Whether more deployments match. For the next page, set [`Query::before`] to the last
    /// deployment of this one.
    pub more: bool,
}
