//! Deployments, as whoever asks for them and watches them sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{
    Append, Clock, Decision, Deployment, DeploymentId, Environment, Event, EventBody, Header,
    Lifecycle, ModuleName, ModuleVersion, Requester, Step, StrategyName, StrategyRef,
};
use hotswap_fleet::Registry;
use hotswap_store::{
    AppendError, Appended, Catalogue, CreateError, Entry, Journal, ModuleRecord, Query,
};
use semver::Version;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::environments::Environments;
use crate::strategies::{self, Strategies};
use crate::supervisor::Supervisor;

mod error;

pub use error::Error;

/// Events of a deployment that are read at once to fold it.
const PAGE: usize = 4096;
/// How long a decision waits for a deployment to ask for it. It asks before anything else.
const GATE_PATIENCE: Duration = Duration::from_secs(5);
/// The strategy of a rollback that names none: back at once, never through a canary again.
const ROLLBACK_STRATEGY: &str = "direct";

/// Deployments. Cheap to clone. Every method is safe to cancel; what it asked for may then
/// have happened or not.
#[derive(Clone)]
pub struct Deployments {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) strategies: Strategies,
    pub(crate) registry: Registry,
    pub(crate) environments: Environments,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) supervisor: Supervisor,
}

/// A deployment that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeployment {
    /// What to roll out.
    pub module: ModuleName,
    /// Which version; none for the highest.
    pub version: Option<Version>,
    /// Where.
    pub environment: Environment,
    /// How; none for the environment's default.
    pub strategy: Option<StrategyName>,
    /// The strategy's configuration; what it leaves out has the strategy's defaults.
    pub config: Option<serde_json::Value>,
    /// Who asks.
    pub requester: Requester,
    /// What they say of it.
    pub description: Option<String>,
    /// Whatever they attach to it.
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve it before it begins.
    pub require_approval: bool,
    /// W3C `traceparent` of the request.
    pub trace: Option<String>,
}

impl Deployments {
    /// Begins a deployment. Once this returns, it cannot be lost.
    ///
    /// # Errors
    /// [`Error::Busy`] where one of the same module in the same environment has not ended;
    /// others where what it names does not exist or its configuration does not fit.
    pub async fn create(&self, new: NewDeployment) -> Result<DeploymentId, Error> {
        self.begin(new, None).await
    }

    async fn begin(
        &self,
        new: NewDeployment,
        rollback_of: Option<DeploymentId>,
    ) -> Result<DeploymentId, Error> {
        let module = self.choose(&new.module, new.version.as_ref()).await?;
        let policy = self.environments.policy(&new.environment);
        let name = new
            .strategy
            .unwrap_or_else(|| policy.default_strategy.clone());
        let (strategy, config) = self.configured(&name, new.config).await?;
        if !self.registry.environments().contains(&new.environment) {
            return Err(Error::NoNodes(new.environment));
        }
        let id = DeploymentId::generate();
        let header = Header {
            id,
            module,
            environment: new.environment,
            strategy,
            config,
            policy,
            requester: new.requester,
            description: new.description,
            metadata: new.metadata,
            require_approval: new.require_approval,
            rollback_of,
            trace: new.trace,
        };
        match self.journal.create(header, self.clock.now()).await {
            Ok(()) => {
                self.supervisor.start(id);
                Ok(id)
            }
            Err(CreateError::Busy(by)) => Err(Error::Busy { by }),
            Err(CreateError::Store(source)) => Err(Error::Store(source)),
        }
    }

    async fn choose(
        &self,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<ModuleVersion, Error> {
        let records = self
            .catalogue
            .modules(Some(name))
            .await
            .map_err(Error::Store)?;
        let chosen = match version {
            Some(version) => records
                .iter()
                .find(|record| record.module.version == *version),
            None => records
                .iter()
                .max_by(|one, other| one.module.version.cmp(&other.module.version)),
        };
        let versions = |records: &[ModuleRecord]| {
            records
                .iter()
                .map(|record| record.module.version.clone())
                .collect::<Vec<_>>()
        };
        match (chosen, version) {
            (Some(record), _) => Ok(record.module.clone()),
            (None, Some(version)) if !records.is_empty() => Err(Error::UnknownVersion {
                module: name.clone(),
                version: version.clone(),
                known: versions(&records),
            }),
            (None, _) => Err(Error::UnknownModule(name.clone())),
        }
    }

    async fn configured(
        &self,
        name: &StrategyName,
        config: Option<serde_json::Value>,
    ) -> Result<(StrategyRef, serde_json::Value), Error> {
        let Some(record) = self.strategies.get(name).await.map_err(Error::Strategy)? else {
            let known = self.strategies.list().await.map_err(Error::Strategy)?;
            let known = known.into_iter().map(|record| record.name).collect();
            return Err(Error::UnknownStrategy {
                name: name.clone(),
                known,
            });
        };
        let pin = StrategyRef {
            name: record.name,
            version: record.version,
            digest: record.digest,
            wit: record.wit,
        };
        let strategy = self
            .strategies
            .loaded(pin.digest)
            .await
            .map_err(Error::Strategy)?;
        let config = strategy.configure(config).map_err(Error::Config)?;
        Ok((pin, config))
    }

    /// The state of a deployment now.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment.
    pub async fn get(&self, id: DeploymentId) -> Result<Deployment, Error> {
        self.at(id, u64::MAX).await
    }

    /// The state of a deployment as it was when event number `next_seq` was the next one;
    /// the state now, where it has not come that far.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment; [`Error::IllegalTransition`] for number
    /// 0, before which there is no state.
    pub async fn at(&self, id: DeploymentId, next_seq: u64) -> Result<Deployment, Error> {
        let page = |from: u64| {
            let missing = usize::try_from(next_seq.saturating_sub(from));
            missing.map_or(PAGE, |missing| missing.min(PAGE))
        };
        let mut events = self.journal.events(id, 0, page(0)).await?;
        let mut state = Deployment::fold(&events)?;
        while events.len() == PAGE {
            let from = state.next_seq;
            events = self.journal.events(id, from, page(from)).await?;
            events.iter().try_for_each(|event| state.apply(event))?;
        }
        Ok(state)
    }

    /// Deployments, newest first, and whether there are more.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, query: &Query) -> Result<(Vec<Deployment>, bool), Error> {
        let page = self.journal.list(query).await?;
        let mut deployments = Vec::with_capacity(page.deployments.len());
        for id in page.deployments {
            deployments.push(self.get(id).await?);
        }
        Ok((deployments, page.more))
    }

    /// At most `limit` events of a deployment, from sequence number `from` on. Where there
    /// are none yet, waits for the first, at most for `wait`.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment.
    pub async fn events(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Event>, Error> {
        // Subscribed before the first look: what comes in between is not missed.
        let mut appended = self.journal.subscribe();
        let over = tokio::time::Instant::now() + wait;
        loop {
            let events = self.journal.events(id, from, limit).await?;
            if !events.is_empty() || self.journal.head(id).await?.lifecycle.is_ended() {
                return Ok(events);
            }
            let heard = async {
                loop {
                    match appended.recv().await {
                        Ok(told) if told.deployment == id && told.head.next_seq > from => return,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => return,
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            if tokio::time::timeout_at(over, heard).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// The deployments that have not ended, oldest first, and where they are.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn open(&self) -> Result<Vec<(DeploymentId, Lifecycle)>, Error> {
        let mut open = Vec::new();
        for id in self.journal.open_deployments().await? {
            open.push((id, self.journal.head(id).await?.lifecycle));
        }
        Ok(open)
    }

    /// At most `limit` events of all deployments that come after a position, in order; see
    /// [`Journal::since`]. Does not wait for any: [`Self::subscribe`] tells when to ask.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn tail(&self, position: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.journal.events_after(position, limit).await?)
    }

    /// The position of the last event of all deployments; 0 where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn position(&self) -> Result<u64, Error> {
        Ok(self.journal.last_position().await?)
    }

    /// In which positions mean something; see [`Journal::epoch`].
    pub fn epoch(&self) -> &str {
        self.journal.epoch()
    }

    /// Tells of every append from now on; see [`Journal::subscribe`].
    pub fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.journal.subscribe()
    }

    /// Has a deployment ended and reverted. Durable once it returns; the reverting follows.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it has ended, or an abort has been asked for already.
    pub async fn abort(
        &self,
        id: DeploymentId,
        by: &str,
        reason: Option<String>,
    ) -> Result<Deployment, Error> {
        self.ask(
            id,
            EventBody::AbortRequested {
                by: by.to_owned(),
                reason,
            },
        )
        .await
    }

    /// Holds the next call of a deployment's strategy until it is resumed. A wait that is
    /// under way goes on, and so does the deadline.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it has ended, or is paused.
    pub async fn pause(&self, id: DeploymentId, by: &str) -> Result<Deployment, Error> {
        self.ask(id, EventBody::Paused { by: by.to_owned() }).await
    }

    /// Lets a paused deployment go on.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it is not paused.
    pub async fn resume(&self, id: DeploymentId, by: &str) -> Result<Deployment, Error> {
        self.ask(id, EventBody::Resumed { by: by.to_owned() }).await
    }

    /// Decides on what a deployment asks. One that was requested just now, and is going to
    /// ask whether it may begin, is waited for.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it asks nothing.
    pub async fn decide(&self, id: DeploymentId, decision: Decision) -> Result<Deployment, Error> {
        let news = self.journal.subscribe();
        if self.is_about_to_ask(id).await? {
            // Where it does not ask in time, whoever decides is told so.
            drop(tokio::time::timeout(GATE_PATIENCE, self.asks(id, news)).await);
        }
        self.ask(id, EventBody::Decided { decision }).await
    }

    async fn is_about_to_ask(&self, id: DeploymentId) -> Result<bool, Error> {
        let requested = self.journal.head(id).await?.lifecycle.step == Step::Requested;
        Ok(requested && self.get(id).await?.header.require_approval)
    }

    /// Comes back once the deployment is further than requested, as far as anybody tells.
    async fn asks(
        &self,
        id: DeploymentId,
        mut news: broadcast::Receiver<Appended>,
    ) -> Result<(), Error> {
        loop {
            match news.recv().await {
                Ok(told) if told.deployment != id => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
            if self.journal.head(id).await?.lifecycle.step != Step::Requested {
                return Ok(());
            }
        }
    }

    async fn ask(&self, id: DeploymentId, body: EventBody) -> Result<Deployment, Error> {
        let mut expected = self.journal.head(id).await?.next_seq;
        loop {
            let append = Append {
                deployment: id,
                expected,
                fence: None,
                at: self.clock.now(),
                bodies: vec![body.clone()],
            };
            match self.journal.append(append).await {
                Ok(_) => return self.get(id).await,
                // The engine got in between; what was asked for may still follow.
                Err(AppendError::Conflict(head)) => expected = head.next_seq,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins a deployment of the version that ran before this one, by `direct` unless
    /// another strategy is named.
    ///
    /// # Errors
    /// [`Error::NothingBefore`] where the module did not run there before, or the
    /// deployment has not been planned; [`Error::Busy`] where it, or another one of the
    /// module in the environment, has not ended: abort it instead.
    pub async fn rollback(
        &self,
        id: DeploymentId,
        requester: Requester,
        strategy: Option<StrategyName>,
        config: Option<serde_json::Value>,
    ) -> Result<DeploymentId, Error> {
        let undone = self.get(id).await?;
        if !undone.status().is_final() {
            return Err(Error::Busy { by: id });
        }
        let before = undone.nodes.values().find_map(|node| node.before.clone());
        let before = before.ok_or(Error::NothingBefore(id))?;
        let direct = || ROLLBACK_STRATEGY.parse().ok();
        let new = NewDeployment {
            module: before.name,
            version: Some(before.version),
            environment: undone.header.environment,
            strategy: strategy.or_else(direct),
            config,
            requester,
            description: Some(format!("rollback of {id}")),
            metadata: BTreeMap::new(),
            require_approval: false,
            trace: None,
        };
        self.begin(new, Some(id)).await
    }
}

impl From<strategies::Error> for Error {
    fn from(error: strategies::Error) -> Self {
        Self::Strategy(error)
    }
}
