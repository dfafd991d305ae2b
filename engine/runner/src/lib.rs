//! Runs deployments so that none is lost: leases, replay, the answers to a strategy's calls,
//! waits, reverts.
//!
//! [`Engine::start`] takes the crates below (store, plugins, fleet) and resumes every
//! deployment that has not ended. A running engine has these services, which the API calls:
//!
//! - [`Deployments`]: creates, reads, pauses, resumes, promotes, aborts, retries and rolls back
//!   deployments;
//! - [`History`]: reads what was decided for modules so far;
//! - [`Modules`]: uploads and lists the versions that can be rolled out;
//! - [`Strategies`]: uploads and lists the strategies that can roll them out;
//! - [`DiscoveryBackends`]: uploads and lists the components that find nodes in registries;
//! - [`Environments`]: the policy of each environment, which [`Policies`] changes;
//! - [`Nodes`]: cordons, drains and forgets nodes, and removes those that are gone;
//! - [`Retention`]: deletes what is no longer kept;
//! - [`Reconciler`]: keeps the nodes at what was decided.
//!
//! [`metric_providers`] asks other servers for numbers that soaks judge.
//!
//! [`discovery`] connects the components of discovery with the sources of the fleet.
//!
//! They read the states of deployments through `projections`: from the snapshots that the
//! `projector` writes, and the events after them.
//!
//! Below them, the `supervisor` keeps one `driver` task for each deployment that has not
//! ended. A driver reads the journal, does the next step that the journal does not hold yet,
//! and appends the result. A crash at any point is the same as dropping the task: the next
//! driver continues from the journal.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod arrived_nodes;
mod background_tasks;
mod cordoned_nodes;
mod damaged_deployments;
pub mod deployments;
pub mod discovery;
pub mod discovery_backends;
mod driver;
mod driver_threads;
mod due_repairs;
mod engine;
mod environment_decisions;
mod environment_leases;
mod environments;
mod forecast_queue;
mod history;
mod known_fence;
mod limits;
mod live_soaks;
pub mod metric_providers;
pub mod metrics;
pub mod modules;
pub mod nodes;
pub mod policies;
mod projections;
mod projector;
pub mod reconciler;
mod references;
mod repair_orders;
mod retention;
mod retries;
mod soak_options;
mod soak_probes;
mod soak_queries;
mod soak_warnings;
mod store_clock;
pub mod strategies;
mod success_history;
mod supervisor;

pub use deployments::{
    Deployments, NewDeployment, NewRetry, NewRollback, NewUndo, RequestDiff, RetriedDeployment,
    Rollback, UndoTarget,
};
pub use discovery_backends::{BackendInUse, DiscoveryBackends, DiscoveryBackendsConfig};
pub use engine::{Engine, EngineConfig, Error, FenceError};
pub use environments::{ChangedPolicy, Environments, PolicySource, UnreadablePolicy};
pub use history::{History, HistoryDecision, HistoryEntry};
pub use limits::{ExpiryLimits, Limits, RetentionLimits};
pub use live_soaks::{SoakChanges, SoakProgress};
pub use modules::Modules;
pub use nodes::Nodes;
pub use policies::{Policies, PolicyChange};
pub use projections::EventPage;
pub use reconciler::Reconciler;
pub use retention::{DiskUsage, Files, Retention, Swept};
pub use retries::Retry;
pub use strategies::Strategies;
