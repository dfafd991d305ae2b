use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hotswap_core::{Environment, Policy, Selector};

/// The policies of the environments, and which nodes belong to them by their labels. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Environments {
    /// Clones share it, so that all see policies that are replaced.
    configured: Arc<RwLock<BTreeMap<Environment, Policy>>>,
    selectors: Arc<BTreeMap<Environment, Selector>>,
}

impl Environments {
    /// The configured policies. Every other environment has [`Policy::default_for`] its name.
    pub fn new(configured: BTreeMap<Environment, Policy>) -> Self {
        Self {
            configured: Arc::new(RwLock::new(configured)),
            selectors: Arc::default(),
        }
    }

    /// The same, with the environments that nodes belong to by their labels.
    #[must_use]
    pub fn with_selectors(self, selectors: BTreeMap<Environment, Selector>) -> Self {
        let selectors = Arc::new(selectors);
        Self { selectors, ..self }
    }

    /// The environments that nodes belong to by their labels.
    pub fn selectors(&self) -> &BTreeMap<Environment, Selector> {
        &self.selectors
    }

    /// The policy of an environment.
    pub fn policy(&self, environment: &Environment) -> Policy {
        let configured = self.read().get(environment).cloned();
        configured.unwrap_or_else(|| Policy::default_for(environment))
    }

    /// Replaces the policies. They hold for what is planned from now on: a deployment keeps the
    /// policy with which it began.
    pub fn replace_policies(&self, policies: BTreeMap<Environment, Policy>) {
        let mut configured = self
            .configured
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *configured = policies;
    }

    /// The configured environments.
    pub fn configured(&self) -> BTreeSet<Environment> {
        let configured = self.read();
        let names = configured.keys().chain(self.selectors.keys());
        names.cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Environment, Policy>> {
        self.configured
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }
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
}
