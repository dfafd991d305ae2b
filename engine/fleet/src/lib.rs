//! The nodes: which ones there are, how healthy they are, and how to send them orders.
//!
//! [`Registry`] holds the nodes that have registered and sent heartbeats. [`HttpFleet`] is the
//! [`Fleet`] that deployments act on: it sends orders to the registry's nodes. [`discovery`] has
//! the other sources: what registries that the user runs say of nodes. A [`PollClient`] asks the
//! nodes that only those know for what the others report by themselves.
//!
//! ```no_run
//! # async fn start(catalogue: std::sync::Arc<dyn hotswap_store::Catalogue>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use hotswap_core::SystemClock;
//! use hotswap_fleet::{HttpFleet, Options, Registry};
//!
//! let interval = Registry::DEFAULT_INTERVAL;
//! let registry = Registry::load(catalogue, Arc::new(SystemClock), interval).await?;
//! let monitor = registry.clone();
//! tokio::spawn(async move { monitor.run().await });
//! let fleet = HttpFleet::new(registry, "the node token", Options::default())?;
//! # drop(fleet);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod desired_versions;
pub mod discovery;
mod fleet;
mod http;
pub mod metrics;
mod options;
pub mod registry;
mod wire;

#[cfg(test)]
mod fixture;

pub use desired_versions::{DesiredVersion, DesiredVersions, Undecided};
pub use fleet::{Error, Fleet, HealthReport, SyntheticTraffic, moved_error};
pub use hotswap_protocol::Readiness;
pub use http::{HttpFleet, NodeProber, PollClient, PollError, ProvenNode, SetupError, SetupStep};
pub use options::{Options, OptionsError};
pub use registry::{HealthChange, Member, ModuleState, ModuleStates, Move, Registry, Silence};
