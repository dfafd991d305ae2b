//! Live updates, as clients without a library of their own see them: the records of the
//! hubs, event streams and plain WebSockets.
//!
//! Most deployments here are [`written`](written::Written) into the journal by the test,
//! which says exactly what happens; those of [`deployments`] are the engine's own.

use std::time::Duration;

use hotswap_api::Config;

use crate::fixture::Fixture;

mod answer;
mod folded;
mod hub;
mod socket;
mod sse;
mod written;

mod authorisation;
mod broadcasting;
mod connections;
mod deployments;
mod events;
mod metrics;
mod resuming;
mod slow;
mod subscriptions;

/// An engine without strategies, that ends without waiting for the clients that a test has
/// left open.
async fn start() -> Fixture {
    configured(|_| {}).await
}

/// The same, its configuration changed so.
async fn configured(change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::bare(|config| {
        config.limits.grace = Duration::from_millis(50);
        change(config);
    })
    .await
}
