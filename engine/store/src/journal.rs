//! The [`Journal`] trait: the contract of every store.

mod error;
mod record;

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, Fence, Header, IdempotencyKey, ModuleName, Timestamp,
};
use tokio::sync::{broadcast, watch};

use crate::Session;

pub use error::{AppendError, CreateError, DeleteError, LeaseError, ReadError};
pub use record::{
    Appended, DeploymentRecord, Entry, Head, Lease, NewSnapshot, Page, Query, Snapshot, Usage,
};

/// The journals of all deployments: the contract of every store.
///
/// Every implementation passes the suite in `tests/suite`.
///
/// One process or several may have a store open, see [`session`](Self::session). Whoever they
/// are, what follows holds among all of their callers.
///
/// # Guarantees
/// - **Durability.** When a write ([`create`](Self::create),
///   [`acquire_lease`](Self::acquire_lease), [`append`](Self::append)) returns `Ok`, it is on
///   disk, together with every write that happened before it. A crash loses none of them. This is
///   as true as the store's medium: always of [`Sqlite`](crate::Sqlite), never of
///   [`Memory`](crate::Memory), and of a server as far as its configuration says so, see
///   [`Durability`](crate::redis::Durability).
/// - **Loss.** Where the medium loses what was acknowledged, the store goes on with what is left. As
///   soon as this is noticed, it has a new [`epoch`](Self::epoch), and positions and fences go on
///   above those that were seen: none has two meanings in an epoch. Leases of deployments are void
///   where several engines share the store, and each later one says
///   [up to which position](Lease::lost_at) something may be missing.
/// - **Atomicity.** A write happens whole or not at all, whether it fails, is cancelled or is
///   cut off by a crash. After an error other than `Store` nothing was written. After a
///   `Store` error the outcome is unknown: read [`head`](Self::head) to learn it.
/// - **Isolation.** Writes happen one after the other, even if they are called at the same time.
///   Reads see everything that was acknowledged before they began, also to other engines. What is
///   read is durable in [`Sqlite`](crate::Sqlite), and on a server that writes to its disk before
///   it answers (`appendfsync always`). On a server that does so later, reads and subscribers may
///   see what a crash still takes away, also where appends wait for its disk or for replicas: the
///   wait delays what is acknowledged, not what others see. The same holds for an append that
///   failed because too few disks had it: readers may already have seen it.
/// - **Cancel safety.** Every method may be cancelled. A cancelled write may still happen;
///   [`head`](Self::head) tells. A write that is issued later happens later.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Creates a journal with [`hotswap_core::EventBody::Requested`] as event 0.
    ///
    /// At most one deployment of a module in an environment is open, that is, has not ended.
    /// Of several concurrent calls for the same module and environment, one succeeds.
    ///
    /// The exception is a deployment whose header says that it
    /// [supersedes](Header::supersedes) the open one. An abort of the open one is appended in
    /// the same write, unless it is ending anyway, and the new one waits until the other has
    /// ended. At most one waits: one that waited before ends in the same write, with an abort,
    /// and has changed nothing.
    ///
    /// A deployment whose header says [from which success](Header::undo_from) it goes back is
    /// compared with the successes of the module in the environment in the same write.
    ///
    /// # Preconditions
    /// No deployment has had this id before.
    ///
    /// # Errors
    /// - [`CreateError::Repeated`] if the requester has used the idempotency key before.
    /// - [`CreateError::Busy`] if a deployment of the same module in the same environment is
    ///   open that the new one does not supersede.
    /// - [`CreateError::NothingToSupersede`] if the deployment that it supersedes has ended.
    /// - [`CreateError::NothingToUndo`] if the success from which it goes back is not the newest
    ///   one any more, or was retired.
    /// - [`CreateError::Full`] if the disk [is full](Self::is_full).
    /// - [`CreateError::Store`] if the store failed, or if the id belongs to a deployment that
    ///   has ended.
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError>;

    /// Acquires the right to drive a deployment: raises the store's fence by one and binds it
    /// to the deployment. From then on appends under an older fence are rejected.
    ///
    /// Fences rise over all deployments of the store and across restarts. No event is
    /// appended, and subscribers are not notified. A cancelled call may have revoked the
    /// lease of the previous holder.
    ///
    /// Where several engines share the store, the lease is bound to this engine's
    /// [`session`](Self::session). It is held until that ends, or this engine acquires it again.
    ///
    /// # Errors
    /// - [`LeaseError::Unknown`] if there is no such deployment.
    /// - [`LeaseError::Held`] if another engine holds it, whose session lives.
    /// - [`LeaseError::Store`] if the store failed.
    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, LeaseError>;

    /// The life of this engine in a store that several engines share. `None` where one process
    /// alone has the store open, because leases are then always its own.
    fn session(&self) -> Option<Arc<dyn Session>> {
        None
    }

    /// Raises the store's fence to `fence`, so that every later lease has a higher one. Returns
    /// whether it was lower.
    ///
    /// A lower fence shows that the store is new, or was restored from a backup, while nodes
    /// remember what came after. Positions of that time mean nothing now, so the store also
    /// gets a new [`epoch`](Self::epoch).
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn raise_fence(&self, fence: Fence) -> Result<bool, ReadError>;

    /// Appends events, all or none, and returns where the journal then ends. Appends of many
    /// callers share one write to disk.
    ///
    /// This is a compare-and-set on the deployment, its next sequence number and its fence. An
    /// append without a fence, for what people ask for, needs no lease. An append of no
    /// events only compares: it writes nothing and notifies no subscriber.
    ///
    /// # Errors
    /// Checked in this order; nothing is appended:
    /// - [`AppendError::Unknown`] if there is no such deployment.
    /// - [`AppendError::Fenced`] if the fence is not the deployment's, because another engine
    ///   has acquired the lease, or no engine has yet. Stop at once: do not read and retry.
    /// - [`AppendError::Conflict`] if the journal does not end where the caller expects. Read
    ///   the events in between, then retry.
    /// - [`AppendError::IllegalTransition`] if one of the events cannot follow those before it.
    ///
    /// [`AppendError::Store`] if the store failed: whether the events were appended is unknown.
    async fn append(&self, append: Append) -> Result<Head, AppendError>;

    /// Returns at most `limit` events of a deployment, ordered by sequence number, beginning
    /// with number `from`. Empty if there are none.
    ///
    /// # Errors
    /// - [`ReadError::Unknown`] if there is no such deployment.
    /// - [`ReadError::Damaged`] if one of these events cannot be read or is missing. Those
    ///   before it can be read with a lower `limit`.
    /// - [`ReadError::Store`] if the store failed.
    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError>;

    /// Returns all events of a deployment that can be read, ordered by sequence number,
    /// beginning with number `from`. Leaves out the others, and ignores what is missing.
    ///
    /// # Errors
    /// - [`ReadError::Unknown`] if there is no such deployment.
    /// - [`ReadError::Store`] if the store failed.
    async fn readable_events(
        &self,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError>;

    /// Returns at most `limit` events of all deployments, ordered by position, beginning with
    /// the first one after `position`. Empty if there are none. An event that cannot be read
    /// is among them, with the reason; one that is missing is not.
    ///
    /// Positions become visible in order: once an event can be read, no event ever appears
    /// below it. A reader that continues from the last position it has seen therefore misses
    /// no event and sees none twice, as long as the [`epoch`](Self::epoch) stays the same.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError>;

    /// Returns the position of the last event, or 0 if there is none. Never lower than a
    /// position that this store has returned or notified subscribers of in this epoch.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn last_position(&self) -> Result<u64, ReadError>;

    /// Random id of the store. Positions of another epoch mean nothing in this store. A copy of
    /// a store keeps the epoch of the original until [`raise_fence`](Self::raise_fence) shows
    /// that it is a copy. A store that several engines share gets another one also where one of them
    /// has seen what is not there any more.
    fn epoch(&self) -> Arc<str>;

    /// The epoch, to learn when there is a new one. What was read before may then not be there any
    /// more: forget it, and read again.
    fn epochs(&self) -> watch::Receiver<Arc<str>>;

    /// Returns where a deployment's journal ends.
    ///
    /// # Errors
    /// - [`ReadError::Unknown`] if there is no such deployment.
    /// - [`ReadError::Store`] if the store failed.
    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        Ok(self.record(deployment).await?.head)
    }

    /// Returns what the store knows of a deployment without reading its events.
    ///
    /// # Errors
    /// - [`ReadError::Unknown`] if there is no such deployment.
    /// - [`ReadError::Store`] if the store failed.
    async fn record(&self, deployment: DeploymentId) -> Result<DeploymentRecord, ReadError>;

    /// Returns the open deployment of a module in an environment: not one that
    /// [waits](Self::create) for its end.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn open_deployment(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> Result<Option<DeploymentId>, ReadError>;

    /// Lists the deployments that have not ended, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError>;

    /// Finds the deployment that a requester (the subject of the token) created under an
    /// idempotency key.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn find_request(
        &self,
        requester: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<DeploymentId>, ReadError>;

    /// Lists deployments, newest first.
    ///
    /// # Errors
    /// - [`ReadError::Unknown`] if there is no deployment with the id in [`Query::before`].
    /// - [`ReadError::Store`] if the store failed.
    async fn list(&self, query: &Query) -> Result<Page, ReadError>;

    /// Lists at most `limit` deployments of a module in an environment that succeeded, newest
    /// first. The first one is the version that should run there.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn succeeded_deployments(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError>;

    /// Lists the successful deployments that decide what should run in an environment, sorted by
    /// module, the newest first: of each module the newest one of each selector, back to the
    /// newest one that was for all nodes. None from before the module was retired. Without an
    /// environment, in all of them, sorted by environment.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<DeploymentId>, ReadError>;

    /// Deletes a deployment that has ended: its journal and its snapshot, whole or not at all.
    ///
    /// Its positions stay taken: [`last_position`](Self::last_position) does not fall, and
    /// [`deleted_through`](Self::deleted_through) tells readers that something is gone.
    ///
    /// # Errors
    /// - [`DeleteError::Unknown`] if there is no such deployment.
    /// - [`DeleteError::Open`] if it has not ended.
    /// - [`DeleteError::Store`] if the store failed: whether it was deleted is unknown.
    async fn delete(&self, deployment: DeploymentId) -> Result<(), DeleteError>;

    /// Returns the highest position of an event that was deleted, or 0 if none was. A reader
    /// that continues from a position below it may have missed events that are gone for good.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn deleted_through(&self) -> Result<u64, ReadError>;

    /// Whether the disk is so full that only deployments that are under way may write. Then
    /// [`create`](Self::create) fails, and nothing large should be stored elsewhere on it.
    async fn is_full(&self) -> bool;

    /// What the store takes on its disk.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn usage(&self) -> Result<Usage, ReadError>;

    /// Stores what a deployment's events add up to, in place of an earlier snapshot. Does
    /// nothing if the stored snapshot has the same format and is newer, or if there is no such
    /// deployment. A store that may lose writes also takes no snapshot of an end that it has lost.
    ///
    /// A snapshot is only a cache: it may be missing, late or of another format, and can
    /// always be made again from the events. The store does not look into it.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn put_snapshot(&self, snapshot: NewSnapshot) -> Result<(), ReadError>;

    /// Returns the state in a deployment's snapshot. `None` if there is no snapshot, or no such
    /// deployment.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn snapshot(&self, deployment: DeploymentId) -> Result<Option<Snapshot>, ReadError>;

    /// Returns the summaries in the snapshots of some deployments, in the same order, by one
    /// query. `None` if there is no snapshot, or no such deployment.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn summaries(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError>;

    /// Lists at most `limit` deployments that have ended and have no snapshot of their end in
    /// this format, newest first, of those that are older than `before`.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store failed.
    async fn ended_without_snapshot(
        &self,
        format: u32,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError>;

    /// Subscribes to every create and append from now on, of every engine, in order of position. A
    /// notification is sent once the events are readable, and as durable as what is read. That may
    /// be shortly after the write was acknowledged: so the last writes that were acknowledged before
    /// the subscription may be part of it. In a new [`epoch`](Self::epoch) some may come again.
    ///
    /// A receiver that falls behind loses the oldest notifications and is told so
    /// ([`broadcast::error::RecvError::Lagged`]). The journal still has the events.
    fn subscribe(&self) -> broadcast::Receiver<Appended>;
}
