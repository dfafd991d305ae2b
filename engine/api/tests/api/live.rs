//! Live updates, as clients without a library see them: the messages of the hubs, event
//! streams and plain WebSockets.
//!
//! In most tests the deployment is a [`ManualDeployment`](support::ManualDeployment): the
//! test writes its journal. In [`engine_deployments`] the engine runs the deployments.

use std::time::Duration;

use hotswap_api::Config;

use crate::fixture::Fixture;

pub mod support;

mod authorisation;
mod connections;
mod engine_deployments;
mod event_streams;
mod metrics;
mod notifications;
mod resuming;
mod slow_clients;
mod soaks;
mod subscriptions;

/// An engine without strategies. Its grace period is short, so that it ends without waiting
/// for clients that a test leaves open.
async fn start() -> Fixture {
    start_with(|_| {}).await
}

/// The same, with changes to its configuration.
async fn start_with(change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::bare(|config| {
        config.limits.grace = Duration::from_millis(50);
        change(config);
    })
    .await
}
