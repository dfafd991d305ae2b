//! Which environments this engine works in, and the fences under which it repairs their nodes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Environment, Fence, Timestamp};
use hotswap_store::{
    AppendToEnvironmentError, EnvironmentAppend, EnvironmentJournal, LeaseError, ReadError,
    Session, UndrivenDeployment,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::add_environment_leases;

/// How often an environment is passed on. Nobody repairs its nodes meanwhile if nobody takes it, and
/// an engine of a newer release that starts may wait so long for it.
const PASS_ON_INTERVAL: Duration = Duration::from_secs(30);

/// For how long this engine does not take an environment that it has passed on: several looks of the
/// others.
const PASSED_ON_FOR: Duration = Duration::from_secs(5);

/// The lease of each environment. Nodes take an order only under a fence that is not lower than
/// that of the last deployment there, so the lease is acquired anew after each.
///
/// Where several engines share the store, the one that holds the lease of an environment does all
/// that changes its nodes: it drives the deployments there, repairs, and removes nodes that are
/// gone. So one engine's memory is enough to keep plans apart from repairs, and to count all nodes
/// that are being changed.
///
/// Work is spread: the store leaves a free environment to the engine that works in the fewest, and
/// an engine that works in more than its share gives some back.
pub(crate) struct EnvironmentLeases {
    journal: Arc<dyn EnvironmentJournal>,
    /// Whether other engines may hold leases.
    is_shared: bool,
    leases: Mutex<Leases>,
}

#[derive(Default)]
struct Leases {
    fences: HashMap<Environment, Fence>,
    /// The environments whose leases are this engine's, also while it has to acquire them anew.
    held: HashSet<Environment>,
    /// When each was passed on for the last time.
    passed_on: HashMap<Environment, Instant>,
}

impl EnvironmentLeases {
    pub(crate) fn new(journal: Arc<dyn EnvironmentJournal>, is_shared: bool) -> Self {
        Self {
            journal,
            is_shared,
            leases: Mutex::default(),
        }
    }

    /// Whether this engine works in an environment: it holds the lease, or acquires it now. Always
    /// where it alone has the store.
    ///
    /// # Errors
    /// [`LeaseError::Store`].
    pub(crate) async fn holds(&self, environment: &Environment) -> Result<bool, LeaseError> {
        if !self.is_shared {
            return Ok(true);
        }
        match self.fence(environment).await {
            Ok(_) => Ok(true),
            Err(LeaseError::Held(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Those of the deployments' environments in which this engine works, as [`Self::holds`] has it.
    /// Asks once for each.
    ///
    /// # Errors
    /// [`LeaseError::Store`].
    pub(crate) async fn held_of(
        &self,
        deployments: &[UndrivenDeployment],
    ) -> Result<BTreeSet<Environment>, LeaseError> {
        let environments = deployments.iter().map(|undriven| &undriven.environment);
        let environments: BTreeSet<_> = environments.collect();
        let mut held = BTreeSet::new();
        for environment in environments {
            if self.holds(environment).await? {
                held.insert(environment.clone());
            }
        }
        Ok(held)
    }

    /// The fence of the lease, which is acquired where there is none.
    ///
    /// # Errors
    /// Where another engine holds it, or the store fails.
    pub(crate) async fn fence(&self, environment: &Environment) -> Result<Fence, LeaseError> {
        let mut leases = self.leases.lock().await;
        if let Some(fence) = leases.fences.get(environment) {
            return Ok(*fence);
        }
        if leases.passed_on_within(environment, PASSED_ON_FOR) {
            return Err(LeaseError::Held("an engine of a newer release".to_owned()));
        }
        let acquired = self.journal.acquire_environment_lease(environment).await;
        match &acquired {
            Ok(fence) => {
                leases.fences.insert(environment.clone(), *fence);
                if leases.held.insert(environment.clone()) {
                    add_environment_leases(1.0);
                }
            }
            Err(LeaseError::Held(_)) if leases.held.remove(environment) => {
                add_environment_leases(-1.0);
            }
            Err(_) => {}
        }
        acquired
    }

    /// Asks the store whether this engine still holds the lease with this fence: an engine that
    /// stood still or was cut off cannot know. Always true where engines do not share the store.
    ///
    /// # Errors
    /// If the store does not answer, or takes no writes.
    pub(crate) async fn is_current(
        &self,
        environment: &Environment,
        fence: Fence,
    ) -> Result<bool, AppendToEnvironmentError> {
        if !self.is_shared {
            return Ok(true);
        }
        let compare = EnvironmentAppend {
            environment: environment.clone(),
            fence: Some(fence),
            newest_cordon: None,
            // Unused: there are no events.
            at: Timestamp::from_millis(0),
            bodies: Vec::new(),
        };
        match self.journal.append_to_environment(compare).await {
            Ok(_) => Ok(true),
            Err(AppendToEnvironmentError::Fenced(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next caller acquires a new lease, with a higher fence.
    pub(crate) async fn renew(&self, environment: &Environment) {
        self.leases.lock().await.fences.remove(environment);
    }

    /// Gives one environment back, if this engine works in more than its share of them. Leaves those
    /// with an open deployment, and those that are `busy`.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub(crate) async fn give_back(
        &self,
        session: &dyn Session,
        busy: &HashSet<Environment>,
    ) -> Result<(), ReadError> {
        // Nothing is acquired meanwhile.
        let mut leases = self.leases.lock().await;
        let idle = leases.fences.iter();
        let idle = idle.filter(|(environment, _)| !busy.contains(*environment));
        let idle: Vec<_> = idle
            .map(|(environment, fence)| (environment.clone(), *fence))
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        match session.give_back_environment(&idle).await {
            Ok(None) => Ok(()),
            Ok(Some(environment)) => {
                leases.fences.remove(&environment);
                if leases.held.remove(&environment) {
                    add_environment_leases(-1.0);
                }
                tracing::info!(%environment, "gives back an environment: other engines work in fewer");
                Ok(())
            }
            Err(error) => {
                // One of them may be another engine's by now. Under a new fence, nothing that the
                // store does late takes effect.
                leases.fences.clear();
                Err(error)
            }
        }
    }

    /// Gives an environment back, if this engine works there and drives nothing there, and leaves it
    /// to the other engines for five seconds. If none of them takes it, this engine may work there
    /// again, and gives it back again after half a minute.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub(crate) async fn pass_on(
        &self,
        session: &dyn Session,
        environment: &Environment,
    ) -> Result<(), ReadError> {
        // Nothing is acquired meanwhile.
        let mut leases = self.leases.lock().await;
        if leases.passed_on_within(environment, PASS_ON_INTERVAL) {
            return Ok(());
        }
        let Some(fence) = leases.fences.get(environment).copied() else {
            return Ok(());
        };
        let given = session.pass_on_environment(environment, fence).await;
        if let Ok(false) = given {
            return Ok(());
        }
        // After an error, too: it may be another engine's by now.
        leases.fences.remove(environment);
        given?;
        if leases.held.remove(environment) {
            add_environment_leases(-1.0);
        }
        leases.passed_on.insert(environment.clone(), Instant::now());
        tracing::info!(
            %environment,
            "gives back an environment: only an engine of a newer release can drive its deployments"
        );
        Ok(())
    }

    /// As [`Self::renew`], for all environments: their leases may have passed to other engines.
    pub(crate) async fn renew_all(&self) {
        let mut leases = self.leases.lock().await;
        leases.fences.clear();
        leases.forget_held();
    }
}

impl Leases {
    fn passed_on_within(&self, environment: &Environment, span: Duration) -> bool {
        let passed_on = self.passed_on.get(environment);
        passed_on.is_some_and(|moment| moment.elapsed() < span)
    }

    fn forget_held(&mut self) {
        add_environment_leases(-(self.held.len() as f64));
        self.held.clear();
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.forget_held();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use hotswap_core::{DeploymentId, ModuleName, NodeId};
    use hotswap_store::{
        Decision, EnvironmentAppended, EnvironmentEntry, PastDecision, PastPlace, ReadError,
    };
    use tokio::sync::broadcast;

    use super::*;

    /// Another engine has all leases. Counts how often it was asked for one.
    #[derive(Default)]
    struct HeldElsewhere(AtomicUsize);

    const ONLY_LEASES: &str = "only leases are asked for";

    #[async_trait]
    impl EnvironmentJournal for HeldElsewhere {
        async fn acquire_environment_lease(&self, _: &Environment) -> Result<Fence, LeaseError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(LeaseError::Held("another".to_owned()))
        }

        async fn append_to_environment(
            &self,
            _: EnvironmentAppend,
        ) -> Result<u64, AppendToEnvironmentError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn environment_events_after(
            &self,
            _: Option<&Environment>,
            _: u64,
            _: usize,
        ) -> Result<Vec<EnvironmentEntry>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn environment_events_before(
            &self,
            _: &Environment,
            _: u64,
            _: usize,
        ) -> Result<Vec<EnvironmentEntry>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn decisions(
            &self,
            _: &Environment,
        ) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn past_decisions(
            &self,
            _: &ModuleName,
            _: &Environment,
            _: Option<PastPlace>,
            _: usize,
        ) -> Result<Vec<PastDecision>, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        async fn delete_environment_events(&self, _: Timestamp) -> Result<usize, ReadError> {
            unreachable!("{ONLY_LEASES}")
        }

        fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
            unreachable!("{ONLY_LEASES}")
        }
    }

    #[tokio::test]
    async fn a_lease_of_another_engine_is_asked_for_once_in_a_look() {
        let journal = Arc::<HeldElsewhere>::default();
        let leases = EnvironmentLeases::new(Arc::clone(&journal) as _, true);
        let names = ["production", "qa"].into_iter().cycle().take(1000);
        let undriven: Vec<_> = names
            .map(|name| UndrivenDeployment {
                deployment: DeploymentId::generate(),
                environment: name.parse().unwrap(),
            })
            .collect();
        let held = leases.held_of(&undriven).await.unwrap();
        assert!(held.is_empty());
        assert_eq!(journal.0.load(Ordering::Relaxed), 2);
    }
}
