//! The journal of an engine, in which a fault begins at one append of the rollout under test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{Append, DeploymentId, Environment, Fence, Header, ModuleName, Timestamp};
use hotswap_store::{
    AppendError, CreateError, Head, Journal, Lease, LeaseError, LivingEngine, ReadError, Session,
    UndrivenDeployment,
};
use hotswap_tests::{CrashTiming, Interceptor};
use tokio::sync::watch;

use crate::case::{Case, Fault};
use crate::links::Links;
use crate::lock;

/// How long an engine that stood still may go on before it notices that.
const UNNOTICED: Duration = Duration::from_millis(200);

/// The rollout under test, as all engines of a group see it.
#[derive(Default)]
pub struct RolloutUnderTest {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    module: Option<ModuleName>,
    case: Option<Case>,
    deployment: Option<DeploymentId>,
    appends: u64,
    /// The engine to which the fault has happened.
    victim: Option<u64>,
    /// The engine that acquired the lease last.
    driver: Option<u64>,
}

impl RolloutUnderTest {
    /// From now on, the next deployment of this module is under test.
    pub fn begin(&self, module: ModuleName, case: Option<Case>) {
        *lock(&self.state) = State {
            module: Some(module),
            case,
            ..State::default()
        };
    }

    pub fn append_count(&self) -> u64 {
        lock(&self.state).appends
    }

    /// Waits until the fault has begun, and returns the engine to which it happened.
    pub async fn victim(&self) -> u64 {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(victim) = lock(&self.state).victim {
                return victim;
            }
            let _ = changed.changed().await;
        }
    }

    /// As [`Self::victim`], once the rollout has ended: none where the rollout took fewer appends
    /// than the case needs. Whoever sees the end may do so before the last append has returned, and
    /// a fault after it begins only then.
    pub async fn victim_at_end(&self) -> Option<u64> {
        let is_reached = {
            let state = lock(&self.state);
            let case = state.case;
            case.is_some_and(|case| state.appends > case.point.append)
        };
        if is_reached {
            Some(self.victim().await)
        } else {
            None
        }
    }

    /// Waits until another engine has acquired the lease.
    pub async fn other_driver(&self, than: u64) -> u64 {
        let mut changed = self.changed.subscribe();
        loop {
            match lock(&self.state).driver {
                Some(driver) if driver != than => return driver,
                _ => {}
            }
            let _ = changed.changed().await;
        }
    }

    /// Counts an append, and tells whether the fault begins with it.
    fn count(&self, deployment: DeploymentId) -> Option<Case> {
        let mut state = lock(&self.state);
        if state.deployment != Some(deployment) {
            return None;
        }
        let number = state.appends;
        state.appends += 1;
        state.case.filter(|case| case.point.append == number)
    }

    /// The fault has begun. Not told before: it would end before it begins.
    fn has_begun(&self, engine: u64) {
        lock(&self.state).victim = Some(engine);
        self.tell();
    }

    fn created(&self, header: &Header) {
        let mut state = lock(&self.state);
        if state.module.as_ref() == Some(&header.module.name) && state.deployment.is_none() {
            state.deployment = Some(header.id);
        }
    }

    fn leased(&self, deployment: DeploymentId, engine: u64) {
        let mut state = lock(&self.state);
        if state.deployment == Some(deployment) {
            state.driver = Some(engine);
            drop(state);
            self.tell();
        }
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }
}

/// What one engine does with its journal.
pub struct Watch {
    pub rollout: Arc<RolloutUnderTest>,
    pub links: Arc<Links>,
    pub session: Option<Arc<LateSession>>,
    /// Counts appends under an old fence.
    pub refused: Arc<AtomicU64>,
    pub engine: u64,
}

#[async_trait]
impl Interceptor for Watch {
    fn session(&self, _: &dyn Journal) -> Option<Arc<dyn Session>> {
        self.session
            .clone()
            .map(|session| session as Arc<dyn Session>)
    }

    async fn create(
        &self,
        journal: &dyn Journal,
        header: Header,
        at: Timestamp,
    ) -> Result<(), CreateError> {
        self.rollout.created(&header);
        journal.create(header, at).await
    }

    async fn acquire_lease(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<Lease, LeaseError> {
        let lease = journal.acquire_lease(deployment).await?;
        self.rollout.leased(deployment, self.engine);
        Ok(lease)
    }

    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        let case = match append.fence {
            Some(_) => self.rollout.count(append.deployment),
            None => None,
        };
        let Some(Case { fault, point }) = case else {
            return journal.append(append).await;
        };
        let appended = match (point.timing, fault) {
            (CrashTiming::BeforeAppend, _) => {
                self.links.begin(fault);
                self.rollout.has_begun(self.engine);
                self.links.runs().await;
                journal.append(append).await
            }
            // Redis carries it out, and the engine does not learn that.
            (CrashTiming::AfterAppend, Fault::CutOffFromRedis | Fault::CutOffFromBoth) => {
                self.links.begin_at_answer(fault);
                self.rollout.has_begun(self.engine);
                journal.append(append).await
            }
            // The engine has the answer, and the fault hits it right then.
            (CrashTiming::AfterAppend, _) => {
                let appended = journal.append(append).await;
                self.links.begin(fault);
                self.rollout.has_begun(self.engine);
                appended
            }
        };
        if matches!(appended, Err(AppendError::Fenced(_))) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        // A process that has ended learns nothing, and one that stands still learns it late.
        self.links.runs().await;
        appended
    }
}

/// The session of an engine, which notices a lapse only some time after it stood still. The process
/// of a real engine that is stopped does nothing meanwhile; this one's timers go on.
pub struct LateSession {
    session: Arc<dyn Session>,
    lapses: watch::Sender<u64>,
}

impl LateSession {
    pub fn wrap(session: Arc<dyn Session>, links: Arc<Links>) -> Arc<Self> {
        let late = Arc::new(Self {
            lapses: watch::Sender::new(0),
            session,
        });
        let (mut lapses, weak) = (late.session.lapses(), Arc::downgrade(&late));
        tokio::spawn(async move {
            while lapses.changed().await.is_ok() {
                links.runs().await;
                tokio::time::sleep(UNNOTICED).await;
                let Some(late) = weak.upgrade() else { return };
                late.lapses.send_modify(|count| *count += 1);
            }
        });
        late
    }
}

#[async_trait]
impl Session for LateSession {
    fn ttl(&self) -> Duration {
        self.session.ttl()
    }

    fn server_time(&self) -> (Timestamp, Instant) {
        self.session.server_time()
    }

    fn last_loss(&self) -> Option<Timestamp> {
        self.session.last_loss()
    }

    fn lost_durability(&self) -> Option<String> {
        self.session.lost_durability()
    }

    fn contradictions(&self) -> Vec<String> {
        self.session.contradictions()
    }

    fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    fn write_failure(&self) -> Option<String> {
        self.session.write_failure()
    }

    async fn undriven_deployments(&self) -> Result<Vec<UndrivenDeployment>, ReadError> {
        self.session.undriven_deployments().await
    }

    async fn own_leases(&self, drivers: usize) -> Result<Vec<DeploymentId>, ReadError> {
        self.session.own_leases(drivers).await
    }

    async fn release(&self, deployment: DeploymentId) -> Result<(), ReadError> {
        self.session.release(deployment).await
    }

    async fn give_back_environment(
        &self,
        leases: &[(Environment, Fence)],
    ) -> Result<Option<Environment>, ReadError> {
        self.session.give_back_environment(leases).await
    }

    async fn pass_on_environment(
        &self,
        environment: &Environment,
        fence: Fence,
    ) -> Result<bool, ReadError> {
        self.session.pass_on_environment(environment, fence).await
    }

    async fn engines(&self) -> Result<Vec<LivingEngine>, ReadError> {
        self.session.engines().await
    }

    async fn end(&self) -> Result<(), ReadError> {
        self.session.end().await
    }
}
