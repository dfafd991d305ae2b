use std::collections::BTreeMap;
use std::sync::Arc;

use hotswap_core::{Environment, Policy};

/// The policies of environments. One that is not configured has the policy that its
/// name stands for: [`Policy::default_for`].
#[derive(Debug, Clone, Default)]
pub struct Environments {
    configured: Arc<BTreeMap<Environment, Policy>>,
}

impl Environments {
    /// With these policies.
    pub fn new(configured: BTreeMap<Environment, Policy>) -> Self {
        Self {
            configured: Arc::new(configured),
        }
    }

    /// The policy that holds in an environment.
    pub fn policy(&self, environment: &Environment) -> Policy {
        let configured = self.configured.get(environment).cloned();
        configured.unwrap_or_else(|| Policy::default_for(environment))
    }

    /// The environments that are configured, sorted.
    pub fn configured(&self) -> impl Iterator<Item = &Environment> {
        self.configured.keys()
    }
}
