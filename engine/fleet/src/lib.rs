//! The nodes: who they are, how they are, and how they are ordered about.
//!
//! [`Registry`] knows the nodes that have registered and sent heartbeats; [`HttpFleet`]
//! is the [`Fleet`] over it that deployments act on.
//!
//! ```no_run
//! # async fn start(catalogue: std::sync::Arc<dyn hotswap_store::Catalogue>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use hotswap_core::SystemClock;
//! use hotswap_fleet::{HttpFleet, Options, Registry};
//!
//! let interval = Registry::DEFAULT_INTERVAL;
//! let registry = Registry::load(catalogue, Arc::new(SystemClock), interval).await?;
//! let watcher = registry.clone();
//! tokio::spawn(async move { watcher.run().await });
//! let fleet = HttpFleet::new(registry, "the node token", Options::default())?;
//! # drop(fleet);
//! # Ok(())
//! # }
//! ```

mod answer;
mod client;
mod fleet;
mod http;
mod member;
mod options;
mod reads;
pub mod registry;

#[cfg(test)]
mod fixture;

pub use client::{SetupError, SetupStep};
pub use fleet::{Error, Fleet};
pub use http::HttpFleet;
pub use member::{Change, Member};
pub use options::Options;
pub use registry::Registry;
