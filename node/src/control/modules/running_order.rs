use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hotswap_core::Digest;
use hotswap_protocol::{OrderRequest, Version};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::Error;

/// An order that is being carried out, and takes long because it loads a version. Requests
/// wait for its outcome; it goes on without them.
#[derive(Debug)]
pub(super) struct RunningOrder {
    pub(super) operation: String,
    pub(super) order: OrderRequest,
    /// The version that it loads.
    pub(super) version: Version,
    /// How long it tries to fetch the artifact while no byte arrives.
    pub(super) stall: Duration,
    /// Cancelled when a later order takes its place, or the node shuts down.
    pub(super) cancel: CancellationToken,
    /// The highest fence with which it was sent.
    fence: AtomicU64,
    outcome: watch::Sender<Option<Result<(), Arc<Error>>>>,
}

impl RunningOrder {
    pub(super) fn new(
        operation: &str,
        order: &OrderRequest,
        version: Version,
        stall: Duration,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            operation: operation.to_owned(),
            fence: AtomicU64::new(order.fence),
            order: order.clone(),
            version,
            stall,
            cancel,
            outcome: watch::Sender::new(None),
        })
    }

    pub(super) fn fence(&self) -> u64 {
        self.fence.load(Ordering::Relaxed)
    }

    /// The same order came again, perhaps from an engine that has taken over.
    pub(super) fn raise_fence(&self, fence: u64) {
        self.fence.fetch_max(fence, Ordering::Relaxed);
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        self.version.digest.parse().ok()
    }

    pub(super) fn finish(&self, outcome: Result<(), Arc<Error>>) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Waits for the outcome. `None` if there is none within `wait`, which is unlimited where
    /// it is absent. Cancel safe.
    pub(super) async fn outcome(&self, wait: Option<Duration>) -> Option<Result<(), Arc<Error>>> {
        let mut receiver = self.outcome.subscribe();
        let outcome = async move {
            let outcome = receiver.wait_for(Option::is_some).await;
            // Fails only if the sender is gone, which this value holds.
            outcome.ok().and_then(|outcome| outcome.clone())
        };
        match wait {
            None => outcome.await,
            Some(wait) => tokio::time::timeout(wait, outcome).await.ok().flatten(),
        }
    }
}
