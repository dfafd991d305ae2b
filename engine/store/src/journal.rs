use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, Fence, Header, Lifecycle, ModuleName, Status,
    Timestamp,
};
use tokio::sync::broadcast;

/// Boxed so that every store can tell its own story.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The journals of all deployments.
///
/// Every implementation passes the suite in `tests/`. All methods are safe to cancel:
/// an append that was cancelled has either happened whole or not at all, and reading
/// the head tells which.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Begins a journal with [`hotswap_core::EventBody::Requested`] as event 0. Durable once it returns.
    ///
    /// # Errors
    /// [`CreateError::Busy`] where a deployment of the same module in the same environment
    /// has not ended: at most one does not, whoever asks at the same time.
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError>;

    /// Takes the right to drive a deployment: raises the store's fence by one and binds it
    /// to the deployment. Durable once it returns; appends under an older fence fail from then on.
    async fn lease(&self, deployment: DeploymentId) -> Result<Lease, ReadError>;

    /// Appends events, all or none. Durable once it returns, together with every append
    /// that happened before it. Appends of many callers share one write to disk.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] where the journal is longer than expected: read what came
    /// in between and try again. [`AppendError::Fenced`] where another engine has taken the
    /// lease: stop at once. [`AppendError::IllegalTransition`] where an event cannot follow.
    async fn append(&self, append: Append) -> Result<Head, AppendError>;

    /// At most `limit` events of a deployment, from sequence number `from` on, in order.
    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError>;

    /// The tail of all journals as one: at most `limit` events of all deployments with a
    /// higher position, in order of position. None where there is nothing new.
    ///
    /// Positions become visible in order: once an event can be read, no other one will ever
    /// appear below it. Whoever reads on from the last position that they saw misses none
    /// and sees none twice, within one [`epoch`](Self::epoch).
    async fn since(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError>;

    /// The position of the last event; 0 where there is none yet. Never lower than what
    /// this store, or the news of it, has told before.
    async fn position(&self) -> Result<u64, ReadError>;

    /// A word made at random when the store was made, and kept for its life: positions that
    /// were seen in another epoch mean nothing here. A copy of a store has the epoch of
    /// what it was copied from.
    fn epoch(&self) -> &str;

    /// Where a deployment is.
    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError>;

    /// The deployments that have not ended, oldest first.
    async fn open(&self) -> Result<Vec<DeploymentId>, ReadError>;

    /// Deployments, newest first.
    async fn list(&self, query: &Query) -> Result<Page, ReadError>;

    /// The deployments that last succeeded for a module in an environment, newest first,
    /// at most `limit`: the first is what should run there.
    async fn succeeded(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError>;

    /// Tells of every append from now on, after it is durable. A receiver that falls
    /// behind misses some and is told so; the journal has them all.
    fn subscribe(&self) -> broadcast::Receiver<Appended>;
}

/// The right to drive a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// To be given with every append and every order to a node.
    pub fence: Fence,
    /// Where the deployment is.
    pub head: Head,
}

/// Where a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the next event.
    pub next_seq: u64,
    /// What its events say of the deployment's life.
    pub lifecycle: Lifecycle,
}

/// An event, and the deployment that it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// What happened to it.
    pub event: Event,
}

/// Something was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// To which journal.
    pub deployment: DeploymentId,
    /// Where that ends now.
    pub head: Head,
    /// The position of its last event among those of all deployments.
    pub position: u64,
    /// Whether the engine that drives the deployment did it, rather than a person.
    pub fenced: bool,
}

/// Which deployments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Only of this module.
    pub module: Option<ModuleName>,
    /// Only in this environment.
    pub environment: Option<Environment>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only older than this one.
    pub before: Option<DeploymentId>,
    /// At most that many, at least 1.
    pub limit: usize,
}

/// Some of the deployments that a query asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub deployments: Vec<DeploymentId>,
    /// Whether there are more: ask again with the last one as `before`.
    pub more: bool,
}

/// Why no journal was begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another deployment of the module in the environment has not ended.
    #[error("deployment {0} of the same module in the same environment has not ended")]
    Busy(DeploymentId),
    /// The store failed; whether the journal was begun is unknown.
    #[error("the store could not begin the journal")]
    Store(#[source] Source),
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The journal is longer than the appender thought.
    #[error("the journal's next event is number {}", .0.next_seq)]
    Conflict(Head),
    /// Another engine drives the deployment.
    #[error("the lease has passed to another engine, with fence {}", .0.0)]
    Fenced(Fence),
    /// One of the events cannot follow those before it.
    #[error(transparent)]
    IllegalTransition(hotswap_core::IllegalTransition),
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The store failed; whether the events were appended is unknown.
    #[error("the store could not append")]
    Store(#[source] Source),
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The store failed.
    #[error("the store could not read")]
    Store(#[source] Source),
}
