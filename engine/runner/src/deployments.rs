//! Deployments, as those who request and watch them see them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hotswap_core::{
    Clock, Deployment, DeploymentId, DeploymentSummary, Environment, Lifecycle, Step,
    StrategyLimits, Timestamp,
};
use hotswap_fleet::discovery::FleetView;
use hotswap_fleet::{Fleet, Registry};
use hotswap_store::{Appended, Catalogue, Entry, Head, Journal, Query};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::cordoned_nodes::CordonedNodes;
use crate::damaged_deployments::DamagedDeployments;
use crate::environments::Environments;
use crate::live_soaks::{LiveSoaks, SoakChanges, SoakProgress};
use crate::metric_providers::MetricProviders;
use crate::projections::{EventPage, Projections};
use crate::references::References;
use crate::retries::{Retries, Retry};
use crate::soak_warnings::SoakWarnings;
use crate::strategies::Strategies;

mod control;
mod create;
mod delete;
mod diff;
mod error;
mod forecast;
mod new_deployment;
mod preview;
mod previewed_steps;
mod rehearsal;
mod retry;
mod rollback;
mod undo;
mod weak_soaks;

pub use diff::RequestDiff;
pub use error::{Error, Success};
pub(crate) use forecast::SoakForecaster;
pub use new_deployment::{NewDeployment, NewRetry, NewRollback, NewUndo, UndoTarget};
pub use preview::{Preview, PreviewedNode};
pub use previewed_steps::PreviewedStep;
pub use rehearsal::RehearsedStep;
pub use retry::RetriedDeployment;
pub use rollback::Rollback;

/// How long a loss of writes is shown: it should still be there after a weekend and a holiday.
const LOSS_SHOWN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Creates, reads and controls deployments. Cheap to clone.
///
/// Every method is cancel safe. The outcome of a cancelled call is unknown.
#[derive(Clone)]
pub struct Deployments {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) strategies: Strategies,
    pub(crate) registry: Registry,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) environments: Environments,
    pub(crate) strategy_limits: StrategyLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retries: Arc<Retries>,
    pub(crate) live_soaks: Arc<LiveSoaks>,
    pub(crate) soak_warnings: Arc<SoakWarnings>,
    pub(crate) metric_providers: MetricProviders,
    pub(crate) damaged: Arc<DamagedDeployments>,
    pub(crate) projections: Projections,
    pub(crate) references: References,
    pub(crate) cordoned: Arc<CordonedNodes>,
    /// What other registries say of the nodes, once the engine follows them.
    pub(crate) fleet_view: Arc<OnceLock<FleetView>>,
    /// How many nodes of one deployment get orders at the same time.
    pub(crate) fan_out: usize,
    /// Each preview computes, and anyone who may read can ask for one.
    pub(crate) previews: Arc<Semaphore>,
}

impl Deployments {
    /// The current state of a deployment. Where its journal cannot be read, the state of the
    /// events before, with [`Deployment::damage`].
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub async fn get(&self, id: DeploymentId) -> Result<Deployment, Error> {
        Ok(Arc::unwrap_or_clone(self.projections.get(id).await?))
    }

    /// What keeps this engine from driving a deployment now, if anything does. Nothing does
    /// once it has ended.
    pub fn retry(&self, state: &Deployment) -> Option<Retry> {
        // Its driver may not have returned yet.
        let has_ended = state.lifecycle.is_ended();
        self.retries.get(state.header.id).filter(|_| !has_ended)
    }

    /// What the judge thinks now of the soak of a deployment, whichever engine runs it. `None`
    /// where none is under way, or nothing was read yet.
    pub fn soak_progress(&self, state: &Deployment) -> Option<Arc<SoakProgress>> {
        // Another engine may not have said yet that it is over.
        let progress = self.live_soaks.get(state.header.id);
        progress.filter(|_| state.is_soaking())
    }

    /// A sentence for each soak that cannot decide at the traffic with which the deployment began,
    /// until it ends. The engine that drives the deployment has them a few seconds after the plan,
    /// the others from the first reading of a soak after that.
    pub fn soak_warnings(&self, state: &Deployment) -> Vec<String> {
        match state.lifecycle.is_ended() {
            true => Vec::new(),
            false => self.soak_warnings.get(state.header.id),
        }
    }

    /// The same where the state of the deployment is not at hand: a soak that ended a moment ago
    /// may still be shown.
    pub fn last_soak_progress(&self, id: DeploymentId) -> Option<Arc<SoakProgress>> {
        self.live_soaks.get(id)
    }

    /// Receives which soaks have made progress, from now on: of each at most once in a second.
    pub fn subscribe_to_soaks(&self) -> SoakChanges {
        self.live_soaks.changes()
    }

    /// The deployment that this one supersedes and whose end it waits for, if it does.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn waits_for(&self, state: &Deployment) -> Result<Option<DeploymentId>, Error> {
        let is_new = state.lifecycle.step == Step::Requested;
        let Some(predecessor) = state.header.supersedes.filter(|_| is_new) else {
            return Ok(None);
        };
        match self.head(predecessor).await {
            Ok(head) => Ok(Some(predecessor).filter(|_| !head.lifecycle.is_ended())),
            Err(Error::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The state of a deployment after the events below number `next_seq`. The current state
    /// where its journal is shorter. Where some of these events cannot be read, the state of
    /// those before, with [`Deployment::damage`].
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment; [`Error::IllegalTransition`] for
    /// number 0, since there is no state before the first event.
    pub async fn at(&self, id: DeploymentId, next_seq: u64) -> Result<Deployment, Error> {
        Ok(Arc::unwrap_or_clone(
            self.projections.at(id, next_seq).await?,
        ))
    }

    /// Where the journal of a deployment ends. Reads no event.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub async fn head(&self, id: DeploymentId) -> Result<Head, Error> {
        Ok(self.journal.head(id).await?)
    }

    /// Summaries of deployments, newest first, and whether there are more.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self, query: &Query) -> Result<(Vec<DeploymentSummary>, bool), Error> {
        let page = self.journal.list(query).await?;
        let summaries = self.projections.summaries(&page.deployments).await?;
        Ok((summaries, page.more))
    }

    /// The successful deployments that decide what should run in an environment, sorted by
    /// module, the newest first: for each node, the first of a module whose selector matches.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn current(
        &self,
        environment: &Environment,
    ) -> Result<Vec<DeploymentSummary>, Error> {
        let current = self.journal.current_deployments(Some(environment)).await?;
        Ok(self.projections.summaries(&current).await?)
    }

    /// The deployments that have not ended, oldest first, and where they are in their life.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open(&self) -> Result<Vec<(DeploymentId, Lifecycle)>, Error> {
        let mut open = Vec::new();
        for id in self.journal.open_deployments().await? {
            open.push((id, self.journal.head(id).await?.lifecycle));
        }
        Ok(open)
    }

    /// How many deployments have not ended and are driven by nobody, because this engine cannot
    /// read their journals. An admin can terminate them.
    pub fn damaged(&self) -> usize {
        self.damaged.count()
    }

    /// How many cordons of nodes and policies of environments this engine cannot read.
    pub fn damaged_environment_events(&self) -> usize {
        self.cordoned.unreadable() + self.environments.unreadable()
    }

    /// The lifecycle before event `seq`, which is at least 1, of a deployment. `None` where one of
    /// the events before cannot be read, or cannot follow.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub async fn lifecycle_before(
        &self,
        id: DeploymentId,
        seq: u64,
    ) -> Result<Option<Lifecycle>, Error> {
        let state = self.projections.at(id, seq).await?;
        Ok(state.damage.is_none().then_some(state.lifecycle))
    }

    /// At most `limit` events of a deployment, from sequence number `from` on. Where there
    /// are none yet, waits for the first, at most for `wait`. Empty after that, and at the
    /// end of a deployment that has ended. Where one of the events cannot be read, or cannot
    /// follow those before it, returns those before it at once, and says why.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub async fn events(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<EventPage, Error> {
        // Subscribe before the first read, so that no event in between is missed.
        let mut appended = self.journal.subscribe();
        let mut epochs = self.journal.epochs();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let page = self.projections.legal_page(id, from, limit).await?;
            let is_empty = page.events.is_empty() && page.damage.is_none();
            if !is_empty || self.journal.head(id).await?.lifecycle.is_ended() {
                return Ok(page);
            }
            let next = async {
                loop {
                    let appended = tokio::select! {
                        appended = appended.recv() => appended,
                        Ok(()) = epochs.changed() => return,
                    };
                    match appended {
                        Ok(append) if append.deployment == id && append.head.next_seq > from => {
                            return;
                        }
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => return,
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            if tokio::time::timeout_at(deadline, next).await.is_err() {
                return Ok(EventPage::default());
            }
        }
    }

    /// At most `limit` events of all deployments after a position, in order; see
    /// [`Journal::events_after`]. Does not wait: use [`Self::subscribe`] to learn when to read
    /// again.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tail(&self, position: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.journal.events_after(position, limit).await?)
    }

    /// The position of the last event of all deployments; 0 where there is none.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn position(&self) -> Result<u64, Error> {
        Ok(self.journal.last_position().await?)
    }

    /// Why the store takes no writes of this engine, as far as that is known without writing; see
    /// [`Session::write_failure`](hotswap_store::Session::write_failure).
    pub fn write_failure(&self) -> Option<String> {
        self.journal.session()?.write_failure()
    }

    /// When the store was found to have lost writes that it had acknowledged, if that was in the last
    /// seven days; see [`Session::last_loss`](hotswap_store::Session::last_loss).
    pub fn recent_loss(&self) -> Option<Timestamp> {
        let session = self.journal.session()?;
        let (time, heard) = session.server_time();
        let now = time + heard.elapsed();
        let lost = session.last_loss()?;
        (now < lost + LOSS_SHOWN).then_some(lost)
    }

    /// What the server of the store promises no more; see
    /// [`Session::lost_durability`](hotswap_store::Session::lost_durability).
    pub fn lost_durability(&self) -> Option<String> {
        self.journal.session()?.lost_durability()
    }

    /// Settings that other engines on the store have otherwise; see
    /// [`Session::contradictions`](hotswap_store::Session::contradictions).
    pub fn contradictions(&self) -> Vec<String> {
        let session = self.journal.session();
        session
            .map(|session| session.contradictions())
            .unwrap_or_default()
    }

    /// The highest position of an event that was deleted; see [`Journal::deleted_through`].
    ///
    /// # Errors
    /// If the store fails.
    pub async fn deleted_through(&self) -> Result<u64, Error> {
        Ok(self.journal.deleted_through().await?)
    }

    /// The id of the store, within which positions are comparable; see [`Journal::epoch`].
    pub fn epoch(&self) -> Arc<str> {
        self.journal.epoch()
    }

    /// Tells of each new epoch; see [`Journal::epochs`].
    pub fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.journal.epochs()
    }

    /// Receives every append from now on; see [`Journal::subscribe`].
    pub fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.journal.subscribe()
    }
}
