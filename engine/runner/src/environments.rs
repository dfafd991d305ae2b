use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hotswap_core::{Amount, DecodeError, Environment, Policy, Selector, Timestamp};

/// The policies of the environments, and which nodes belong to them by their labels. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Environments {
    /// Clones share it, so that all see policies that are replaced.
    configured: Arc<RwLock<BTreeMap<Environment, Policy>>>,
    configured_selectors: Arc<BTreeMap<Environment, Selector>>,
    changed: Arc<RwLock<BTreeMap<Environment, PolicyByPerson>>>,
}

/// A policy that a person gave an environment, or why it cannot be read.
pub(crate) type PolicyByPerson = Result<Arc<ChangedPolicy>, Arc<UnreadablePolicy>>;

/// A policy that a person gave an environment. It counts before those of configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPolicy {
    /// The policy.
    pub policy: Policy,
    /// The nodes that belong to the environment by their labels. It counts before the selectors of
    /// configurations; `None` where those count.
    pub selector: Option<Selector>,
    /// The position of the event with the policy. Every change has a higher one.
    pub version: u64,
    /// When the person changed it.
    pub at: Timestamp,
    /// The person.
    pub by: String,
}

/// A policy that a person gave an environment, and that this engine cannot read. Until a person
/// gives it another one, or gives it up, no deployment begins in the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy of {environment} (position {version} in the store) cannot be read: {reason}")]
pub struct UnreadablePolicy {
    /// The environment.
    pub environment: Environment,
    /// The position of the event with the policy.
    pub version: u64,
    /// When the person changed it.
    pub at: Timestamp,
    /// Why it cannot be read.
    pub reason: DecodeError,
}

/// Where the policy of an environment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySource {
    /// A person changed it.
    Changed(Arc<ChangedPolicy>),
    /// A person changed it, and this engine cannot read that.
    Unreadable(Arc<UnreadablePolicy>),
    /// The configuration of this engine.
    Configuration,
    /// Neither: the default for the environment's name.
    Default,
}

impl Environments {
    /// The configured policies. Every other environment has [`Policy::default_for`] its name.
    pub fn new(configured: BTreeMap<Environment, Policy>) -> Self {
        Self {
            configured: Arc::new(RwLock::new(configured)),
            ..Self::default()
        }
    }

    /// The same, with the configured selectors: the environments that nodes belong to by their
    /// labels.
    #[must_use]
    pub fn with_selectors(self, selectors: BTreeMap<Environment, Selector>) -> Self {
        Self {
            configured_selectors: Arc::new(selectors),
            ..self
        }
    }

    /// The environments that nodes belong to by their labels: those that people set, and else those
    /// of the configuration.
    pub fn selectors(&self) -> BTreeMap<Environment, Selector> {
        let mut selectors = BTreeMap::clone(&self.configured_selectors);
        let changed = read(&self.changed);
        selectors.extend(changed.iter().filter_map(|(environment, changed)| {
            let selector = changed.as_ref().ok()?.selector.clone()?;
            Some((environment.clone(), selector))
        }));
        selectors
    }

    /// The nodes that belong to an environment by their labels.
    pub fn selector(&self, environment: &Environment) -> Option<Selector> {
        let changed = self.changed(environment);
        let changed = changed.and_then(|changed| changed.selector.clone());
        changed.or_else(|| self.configured_selectors.get(environment).cloned())
    }

    /// The policy of an environment. Where that of a person cannot be read, the one without it,
    /// under which only one node may be unavailable: repairs and drains then do no harm.
    pub fn policy(&self, environment: &Environment) -> Policy {
        match self.by_person(environment) {
            Some(Ok(changed)) => changed.policy.clone(),
            Some(Err(_)) => Policy {
                max_unavailable: Amount::Count(1),
                ..self.own_policy(environment)
            },
            None => self.own_policy(environment),
        }
    }

    /// The policy with which a deployment to an environment may begin.
    ///
    /// # Errors
    /// Where a person gave it one that cannot be read.
    pub fn readable_policy(
        &self,
        environment: &Environment,
    ) -> Result<Policy, Arc<UnreadablePolicy>> {
        match self.by_person(environment) {
            Some(Err(unreadable)) => Err(unreadable),
            Some(Ok(_)) | None => Ok(self.policy(environment)),
        }
    }

    /// Where the policy of an environment comes from.
    pub fn source(&self, environment: &Environment) -> PolicySource {
        match self.by_person(environment) {
            Some(Ok(changed)) => PolicySource::Changed(changed),
            Some(Err(unreadable)) => PolicySource::Unreadable(unreadable),
            None if read(&self.configured).contains_key(environment) => PolicySource::Configuration,
            None => PolicySource::Default,
        }
    }

    /// The policy of this engine's configuration, where a person gave the environment another
    /// one: it does not count.
    pub fn ignored(&self, environment: &Environment) -> Option<Policy> {
        let changed = self.changed(environment)?;
        let configured = read(&self.configured).get(environment).cloned()?;
        (configured != changed.policy).then_some(configured)
    }

    /// The selector of this engine's configuration, where a person gave the environment another one:
    /// it does not count.
    pub fn ignored_selector(&self, environment: &Environment) -> Option<Selector> {
        let changed = self.changed(environment)?;
        let selector = changed.selector.as_ref()?;
        let configured = self.configured_selectors.get(environment)?;
        (configured != selector).then(|| configured.clone())
    }

    /// The environments that are configured or whose policies people changed, sorted.
    pub fn configured(&self) -> BTreeSet<Environment> {
        let (changed, configured) = (read(&self.changed), read(&self.configured));
        let all = changed.keys().chain(configured.keys());
        let all = all.chain(self.configured_selectors.keys());
        all.cloned().collect()
    }

    /// Replaces the policies of the configuration. They hold for what is planned from now on: a
    /// deployment keeps the policy with which it began.
    pub fn replace_policies(&self, policies: BTreeMap<Environment, Policy>) {
        replace(&self.configured, policies);
    }

    /// How many policies of people this engine cannot read.
    pub(crate) fn unreadable(&self) -> usize {
        let changed = read(&self.changed);
        changed.values().filter(|policy| policy.is_err()).count()
    }

    /// What a person gave the environment, where it can be read.
    fn changed(&self, environment: &Environment) -> Option<Arc<ChangedPolicy>> {
        self.by_person(environment)?.ok()
    }

    /// What a person gave the environment.
    pub(crate) fn by_person(&self, environment: &Environment) -> Option<PolicyByPerson> {
        read(&self.changed).get(environment).cloned()
    }

    /// What people gave all environments, as the store has it now.
    pub(crate) fn replace_changed(&self, changed: BTreeMap<Environment, PolicyByPerson>) {
        replace(&self.changed, changed);
    }

    /// Without a change by a person.
    fn own_policy(&self, environment: &Environment) -> Policy {
        let configured = read(&self.configured).get(environment).cloned();
        configured.unwrap_or_else(|| Policy::default_for(environment))
    }
}

/// Ignores poisoning: no code that can panic runs under the locks.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn replace<T>(lock: &RwLock<T>, value: T) {
    *lock.write().unwrap_or_else(PoisonError::into_inner) = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_without_a_policy_of_its_own_has_the_default() {
        let qa: Environment = "qa".parse().unwrap();
        let production: Environment = "production".parse().unwrap();
        let mut policy = Policy::default_for(&qa);
        policy.default_strategy = "direct".parse().unwrap();
        let environments = Environments::new(BTreeMap::from([(qa.clone(), policy.clone())]));
        assert_eq!(environments.policy(&qa), policy);
        assert_eq!(
            environments.policy(&production),
            Policy::default_for(&production)
        );
        assert_eq!(environments.configured(), [qa.clone()].into());
        environments.clone().replace_policies(BTreeMap::new());
        assert_eq!(environments.policy(&qa), Policy::default_for(&qa));
    }

    #[test]
    fn what_a_person_changed_counts_before_the_configuration() {
        let qa: Environment = "qa".parse().unwrap();
        let configured = Policy::default_for(&qa);
        let environments = Environments::new(BTreeMap::from([(qa.clone(), configured.clone())]));
        assert_eq!(environments.source(&qa), PolicySource::Configuration);
        let mut policy = configured.clone();
        policy.pause_stops_deadline = !policy.pause_stops_deadline;
        let change = |policy: &Policy| {
            let changed = Arc::new(ChangedPolicy {
                policy: policy.clone(),
                selector: None,
                version: 7,
                at: Timestamp::from_millis(1),
                by: "ada".to_owned(),
            });
            environments.replace_changed([(qa.clone(), Ok(Arc::clone(&changed)))].into());
            changed
        };
        let changed = change(&policy);
        assert_eq!(environments.policy(&qa), policy);
        assert_eq!(environments.source(&qa), PolicySource::Changed(changed));
        assert_eq!(environments.ignored(&qa), Some(configured.clone()));
        change(&configured);
        assert_eq!(environments.ignored(&qa), None, "they are the same");
        environments.replace_changed(BTreeMap::new());
        assert_eq!(environments.source(&qa), PolicySource::Configuration);
    }

    #[test]
    fn a_selector_that_a_person_set_counts_before_the_configuration() {
        let names = ["qa", "edge", "far"];
        let [qa, edge, far] = names.map(|name| name.parse::<Environment>().unwrap());
        let (eu, us): (Selector, Selector) =
            ("zone=eu".parse().unwrap(), "zone=us".parse().unwrap());
        let configured = [(&qa, &eu), (&far, &eu)];
        let configured = configured.map(|(name, selector)| (name.clone(), selector.clone()));
        let environments = Environments::default().with_selectors(configured.into());
        let changed = |selector: &Option<Selector>| {
            Ok(Arc::new(ChangedPolicy {
                policy: Policy::default_for(&qa),
                selector: selector.clone(),
                version: 7,
                at: Timestamp::from_millis(1),
                by: "ada".to_owned(),
            }))
        };
        let set = [
            (&qa, Some(us.clone())),
            (&edge, Some(us.clone())),
            (&far, None),
        ];
        let set = set.map(|(name, selector)| (name.clone(), changed(&selector)));
        environments.replace_changed(set.into());
        let expected = [(&qa, &us), (&edge, &us), (&far, &eu)];
        for (name, selector) in expected {
            assert_eq!(
                environments.selector(name).as_ref(),
                Some(selector),
                "{name}"
            );
        }
        let expected = expected.map(|(name, selector)| (name.clone(), selector.clone()));
        assert_eq!(environments.selectors(), expected.into());
        assert_eq!(environments.ignored_selector(&qa), Some(eu.clone()));
        assert_eq!(
            environments.ignored_selector(&edge),
            None,
            "none is configured"
        );
        assert_eq!(environments.ignored_selector(&far), None, "it counts");
        environments.replace_changed([(qa.clone(), changed(&Some(eu)))].into());
        assert_eq!(
            environments.ignored_selector(&qa),
            None,
            "they are the same"
        );
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_not_replaced_by_another_one() {
        let qa: Environment = "qa".parse().unwrap();
        let environments = Environments::new(BTreeMap::new());
        let unreadable = Arc::new(UnreadablePolicy {
            environment: qa.clone(),
            version: 7,
            at: Timestamp::from_millis(1),
            reason: DecodeError::Invalid("torn".to_owned()),
        });
        environments.replace_changed([(qa.clone(), Err(Arc::clone(&unreadable)))].into());
        assert_eq!(
            environments.readable_policy(&qa),
            Err(Arc::clone(&unreadable))
        );
        assert_eq!(
            environments.source(&qa),
            PolicySource::Unreadable(unreadable)
        );
        assert_eq!(environments.policy(&qa).max_unavailable, Amount::Count(1));
        assert_eq!(environments.unreadable(), 1);
        environments.replace_changed(BTreeMap::new());
        let default = Policy::default_for(&qa);
        assert_eq!(environments.readable_policy(&qa), Ok(default));
    }
}
