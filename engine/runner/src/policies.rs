//! Changes of policies by people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hotswap_core::{
    Clock, Environment, EnvironmentEventBody, OutOfRange, Policy, Selector, StrategyName,
};
use hotswap_fleet::Registry;
use hotswap_store::{
    AppendToEnvironmentError, EnvironmentAppend, EnvironmentEntry, EnvironmentJournal,
};
use tokio::sync::{Mutex, watch};

use crate::environment_decisions::next_decision;
use crate::environments::{ChangedPolicy, Environments, PolicyByPerson, UnreadablePolicy};
use crate::strategies::{self, Strategies};

#[cfg(test)]
mod tests;

/// How often a change without a condition is tried where others change the policy, too.
const ATTEMPTS: usize = 5;

/// How long to wait where the store cannot be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Changes the policies of environments. They are events of the environments' journals, so every
/// engine on the store has the same ones, and people see who changed what. Cheap to clone.
#[derive(Clone)]
pub struct Policies {
    inner: Arc<Inner>,
    strategies: Strategies,
}

struct Inner {
    journal: Arc<dyn EnvironmentJournal>,
    environments: Environments,
    /// It decides by selectors which environment a node belongs to.
    registry: Registry,
    clock: Arc<dyn Clock>,
    /// Held while the journal is read or written, so that memory does not go back to what was
    /// read before a change.
    change: Mutex<()>,
    /// Where the configuration was reported as ignored.
    reported: std::sync::Mutex<BTreeSet<Environment>>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// The environment.
    pub environment: Environment,
    /// Its policy from now on. `None`: the policy of each engine's configuration.
    pub policy: Option<Policy>,
    /// The nodes that belong to the environment by their labels. `None`, and without a policy: those
    /// that the selector of each engine's configuration matches.
    pub selector: Option<Selector>,
    /// The version that the policy must have now, 0 where no person has given it one. `None` for
    /// any.
    pub expected: Option<u64>,
    /// Who changes it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// Why a policy was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has another version than was expected.
    #[error("the policy of {environment} has been changed since: its version is {version}")]
    Changed {
        /// The environment.
        environment: Environment,
        /// The version that it has.
        version: u64,
    },
    /// A value is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The default strategy does not exist.
    #[error("strategy '{name}' does not exist")]
    UnknownStrategy {
        /// The strategy.
        name: StrategyName,
        /// All strategies.
        known: Vec<StrategyName>,
    },
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store failed. Whether the policy was changed is unknown.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    fn store(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(error))
    }
}

impl Policies {
    /// Reads what people gave environments so far.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn load(
        journal: Arc<dyn EnvironmentJournal>,
        environments: Environments,
        registry: Registry,
        strategies: Strategies,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let inner = Inner::new(journal, environments, registry, clock);
        inner.read().await?;
        Ok(Self {
            inner: Arc::new(inner),
            strategies,
        })
    }

    /// Changes the policy of an environment, and which nodes belong to it by their labels. Deployments
    /// that were requested before keep their policy; nodes are asked to register again. Does nothing where the environment has this policy already, or none that a person gave it
    /// where there is to be none.
    ///
    /// # Errors
    /// [`Error`]. Nothing was changed, but for [`Error::Store`].
    ///
    /// # Guarantees
    /// Durable once this returns, and then this engine goes by it. Other engines on the store
    /// follow as soon as they hear of it. Of two changes that expect the same version, one is
    /// accepted.
    pub async fn change(&self, change: PolicyChange) -> Result<(), Error> {
        if let Some(policy) = &change.policy {
            policy.check()?;
            self.check_strategy(&policy.default_strategy).await?;
        }
        self.inner.change(&change).await
    }

    /// People who read the configuration should know what does not count of it: logs the policies
    /// of this engine's configuration that were replaced through the API.
    pub fn report_ignored(&self) {
        self.inner.report_ignored();
    }

    /// Takes over changes, also those of other engines and those whose requests were cut off,
    /// until it is dropped. Reads all of them again in a new epoch of the store. Cancel safe.
    pub(crate) async fn follow(self, mut epochs: watch::Receiver<Arc<str>>) {
        let mut appended = self.inner.journal.subscribe_to_environments();
        loop {
            // At first, too: something may have been changed before the subscription.
            let turn = self.inner.change.lock().await;
            let read = self.inner.read().await;
            drop(turn);
            if let Err(error) = read {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read the policies, retrying"
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
            tokio::select! {
                () = next_decision(&mut appended) => {}
                // What was read may be lost.
                Ok(()) = epochs.changed() => {}
            }
        }
    }

    async fn check_strategy(&self, name: &StrategyName) -> Result<(), Error> {
        let store = |error: strategies::Error| Error::store(error);
        if self.strategies.get(name).await.map_err(store)?.is_some() {
            return Ok(());
        }
        let known = self.strategies.list().await.map_err(store)?;
        Err(Error::UnknownStrategy {
            name: name.clone(),
            known: known.into_iter().map(|record| record.name).collect(),
        })
    }
}

/// What came of an attempt to change a policy.
enum Attempt {
    /// It has another version than was expected.
    Unexpected,
    /// It is so already.
    Unnecessary,
    Appended,
}

impl Inner {
    fn new(
        journal: Arc<dyn EnvironmentJournal>,
        environments: Environments,
        registry: Registry,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            journal,
            environments,
            registry,
            clock,
            change: Mutex::default(),
            reported: std::sync::Mutex::default(),
        }
    }

    /// As [`Policies::change`], whatever strategy the policy names.
    async fn change(&self, change: &PolicyChange) -> Result<(), Error> {
        let _turn = self.change.lock().await;
        let mut is_current = false;
        for _ in 0..ATTEMPTS {
            match self.try_change(change).await {
                // Another engine may have changed it, and this one may not have heard of that yet.
                Ok(Attempt::Unexpected | Attempt::Unnecessary) if !is_current => {
                    self.read().await?;
                    is_current = true;
                }
                Err(AppendToEnvironmentError::PolicyReplaced(_)) => {
                    self.read().await?;
                    is_current = true;
                }
                Err(AppendToEnvironmentError::Full) => return Err(Error::Full),
                Err(error) => return Err(Error::store(error)),
                Ok(Attempt::Unexpected) => {
                    let version = self.version(&change.environment);
                    return Err(Error::Changed {
                        environment: change.environment.clone(),
                        version,
                    });
                }
                Ok(Attempt::Unnecessary) => return Ok(()),
                Ok(Attempt::Appended) => {
                    let (environment, by) = (&change.environment, &change.by);
                    tracing::info!(%environment, by, "a policy was changed");
                    return self.read().await;
                }
            }
        }
        Err(Error::Changed {
            version: self.version(&change.environment),
            environment: change.environment.clone(),
        })
    }

    /// The version of the policy that a person gave the environment; 0 if none did.
    fn version(&self, environment: &Environment) -> u64 {
        let policy = self.environments.by_person(environment);
        policy.as_ref().map_or(0, version_of)
    }

    /// Appends the change to what memory holds. Call it in turn.
    async fn try_change(&self, change: &PolicyChange) -> Result<Attempt, AppendToEnvironmentError> {
        let current = self.environments.by_person(&change.environment);
        let version = current.as_ref().map_or(0, version_of);
        let is_same = match (&change.policy, &current) {
            (Some(policy), Some(Ok(current))) => {
                *policy == current.policy && change.selector == current.selector
            }
            (None, None) => true,
            // What cannot be read is replaced in any case.
            (Some(_), Some(Err(_)) | None) | (None, Some(_)) => false,
        };
        let is_expected = change.expected.is_none_or(|expected| expected == version);
        if is_expected && is_same {
            return Ok(Attempt::Unnecessary);
        }
        if !is_expected {
            return Ok(Attempt::Unexpected);
        }
        let body = EnvironmentEventBody::PolicyChanged {
            policy: change.policy.clone().map(Box::new),
            selector: change.selector.clone().filter(|_| change.policy.is_some()),
            replaces: current.as_ref().map(version_of),
            by: change.by.clone(),
            reason: change.reason.clone(),
        };
        let append = EnvironmentAppend {
            environment: change.environment.clone(),
            fence: None,
            newest_cordon: None,
            at: self.clock.now(),
            bodies: vec![body],
        };
        self.journal.append_to_environment(append).await?;
        Ok(Attempt::Appended)
    }

    async fn read(&self) -> Result<(), Error> {
        let entries = self.journal.policies().await.map_err(Error::store)?;
        let changed: BTreeMap<_, _> = entries.into_iter().filter_map(changed).collect();
        self.environments.replace_changed(changed);
        let selectors = self.environments.selectors();
        self.registry.set_environment_selectors(selectors);
        self.report_newly_ignored();
        Ok(())
    }

    fn report_ignored(&self) {
        self.lock_reported().clear();
        self.report_newly_ignored();
    }

    /// Reports what does not count of the configuration, but for what was reported before.
    fn report_newly_ignored(&self) {
        let mut reported = self.lock_reported();
        for environment in self.environments.configured() {
            let policy = self.environments.ignored(&environment);
            let selector = self.environments.ignored_selector(&environment);
            if policy.is_none() && selector.is_none() {
                reported.remove(&environment);
            } else if reported.insert(environment.clone()) {
                tracing::warn!(
                    %environment,
                    "the policy or the selector in this engine's configuration does not count: it \
                     differs from the one that was set through the API. Remove it from the \
                     configuration, or apply it: hotswap apply -f FILE"
                );
            }
        }
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn lock_reported(&self) -> std::sync::MutexGuard<'_, BTreeSet<Environment>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version_of(policy: &PolicyByPerson) -> u64 {
    match policy {
        Ok(changed) => changed.version,
        Err(unreadable) => unreadable.version,
    }
}

fn changed(entry: EnvironmentEntry) -> Option<(Environment, PolicyByPerson)> {
    let EnvironmentEntry {
        environment,
        position: version,
        at,
        event,
    } = entry;
    let event = match event {
        Ok(event) => event,
        Err(reason) => {
            tracing::error!(
                position = version,
                %environment,
                error = %reason,
                "the policy of an environment cannot be read: no deployment begins there until it \
                 is set again"
            );
            let unreadable = UnreadablePolicy {
                environment: environment.clone(),
                version,
                at,
                reason,
            };
            return Some((environment, Err(Arc::new(unreadable))));
        }
    };
    match event.body {
        EnvironmentEventBody::PolicyChanged {
            policy: Some(policy),
            selector,
            by,
            ..
        } => {
            let changed = ChangedPolicy {
                policy: *policy,
                selector,
                version,
                at,
                by,
            };
            Some((environment, Ok(Arc::new(changed))))
        }
        _ => None,
    }
}
