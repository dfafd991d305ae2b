//! The [`Session`] trait: the life of one engine among several on one store.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{DeploymentId, Environment, Fence, Timestamp};
use tokio::sync::watch;

use crate::ReadError;

/// The life of one engine in a store that several engines share.
///
/// Every lease belongs to the session of the engine that acquired it, and is held as long as that
/// session lives. The store renews it on its own, once for all leases; an engine that dies, or is
/// cut off from the store, stops doing so, and after [`ttl`](Self::ttl) other engines may take
/// its leases.
///
/// # Guarantees
/// - **One clock.** When a session ends is decided by the clock of the store's server alone.
/// - **Fences decide.** A lease may pass to another engine without its former holder noticing, as
///   while that is paused. Nothing relies on its noticing: its appends carry an older fence and
///   are rejected, and so are its orders at nodes that have seen the new one.
#[async_trait]
pub trait Session: Send + Sync + 'static {
    /// How long leases are held without a sign of life.
    fn ttl(&self) -> Duration;

    /// What the server's clock showed at a moment of this machine's monotonic clock, as it was heard
    /// last: a third of [`ttl`](Self::ttl) ago, or longer while the server does not answer.
    fn server_time(&self) -> (Timestamp, Instant);

    /// When an engine found for the last time that the store has lost writes that it had
    /// acknowledged, by the server's clock. `None` if none ever did. Known with the signs of life:
    /// a third of [`ttl`](Self::ttl) later at most.
    fn last_loss(&self) -> Option<Timestamp>;

    /// What the server does not promise although it is required, or was promised when this engine
    /// started, with what to do about it. Read every ten seconds. `None` while nothing is missing.
    fn lost_durability(&self) -> Option<String>;

    /// Settings that should be the same for all engines and that a living engine has otherwise, a
    /// sentence for each. Compared when the session begins, and every ten seconds.
    fn contradictions(&self) -> Vec<String>;

    /// Changes whenever this engine finds that it was not heard of for too long: from then on it
    /// has a new session, and none of the leases that it acquired before. It may still be fenced
    /// before it finds that.
    fn lapses(&self) -> watch::Receiver<u64>;

    /// Why the store takes no writes of this engine, and what to do about it. `None` while it
    /// accepts the engine's signs of life, which are writes: so this asks nothing of the store. A
    /// refusal is known after a third of [`ttl`](Self::ttl), silence after all of it.
    fn write_failure(&self) -> Option<String>;

    /// Lists the open deployments that no living engine drives, oldest first. Takes from the
    /// engines whose sessions have ended what they drove.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn undriven_deployments(&self) -> Result<Vec<UndrivenDeployment>, ReadError>;

    /// Lists the open deployments whose leases this session holds, if there are more of them than
    /// `drivers`, the number of this engine's drivers. Some leases then have no driver. That happens
    /// when a driver is dropped just as it acquires its lease, or when the store carries out a
    /// request for a lease late, after the driver has given up.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn own_leases(&self, drivers: usize) -> Result<Vec<DeploymentId>, ReadError>;

    /// Gives the lease of an open deployment back, so that any engine can acquire it. Does nothing
    /// where it is not this session's.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn release(&self, deployment: DeploymentId) -> Result<(), ReadError>;

    /// Gives back the lease of one of these environments, each with the fence under which this
    /// engine holds it, if it works in more than its share: the environments of all living engines,
    /// divided by their number and rounded up. Leaves environments with an open deployment. Returns
    /// the environment whose lease is no longer this session's, also where it was lost before.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed. The lease of one may have been given back.
    async fn give_back_environment(
        &self,
        leases: &[(Environment, Fence)],
    ) -> Result<Option<Environment>, ReadError>;

    /// Gives the lease of an environment back, which this engine holds under this fence, so that any
    /// engine can acquire it: also one that works in more environments than others. Keeps it where
    /// this session holds the lease of an open deployment there. Returns whether the environment's
    /// lease is no longer this session's, also where it was lost before.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed. The lease may have been given back.
    async fn pass_on_environment(
        &self,
        environment: &Environment,
        fence: Fence,
    ) -> Result<bool, ReadError>;

    /// Lists the engines whose sessions live, in no order.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn engines(&self) -> Result<Vec<LivingEngine>, ReadError>;

    /// Ends the session for good: all leases can be taken at once. Stop using them before.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed. The session then ends by itself after
    /// [`ttl`](Self::ttl).
    async fn end(&self) -> Result<(), ReadError>;
}

/// An open deployment that waits for an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndrivenDeployment {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its environment.
    pub environment: Environment,
}

/// An engine whose session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingEngine {
    /// Its name.
    pub name: String,
    /// How many deployments it drives.
    pub deployments: u64,
}
