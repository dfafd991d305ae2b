//! Warnings of soaks that cannot decide anything, for the deployments under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;

/// Deployments of other engines whose warnings are kept. A deployment whose end this engine misses
/// would be kept for ever.
const MAX_HEARD: usize = 4096;

/// The warnings of the deployments that are under way: those that this engine has found out, and
/// those that other engines on the store tell. In memory only: they are about the traffic when a
/// deployment began.
#[derive(Debug, Default)]
pub(crate) struct SoakWarnings {
    by_deployment: Mutex<HashMap<DeploymentId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    warnings: Vec<String>,
    /// Another engine has told them.
    is_heard: bool,
}

impl SoakWarnings {
    /// Lets warnings of a deployment be recorded from now on.
    pub(crate) fn begin(&self, deployment: DeploymentId) {
        self.lock().insert(deployment, Known::default());
    }

    /// Whether warnings of a deployment can be recorded: it has not ended since they were to be
    /// found out.
    pub(crate) fn is_awaited(&self, deployment: DeploymentId) -> bool {
        let known = self.lock();
        known.get(&deployment).is_some_and(|known| !known.is_heard)
    }

    /// Records the warnings of a deployment, unless it has ended since. Returns whether it did.
    pub(crate) fn record(&self, deployment: DeploymentId, warnings: Vec<String>) -> bool {
        match self.lock().get_mut(&deployment) {
            Some(known) if !known.is_heard => {
                known.warnings = warnings;
                true
            }
            _ => false,
        }
    }

    /// Another engine tells these warnings of a deployment that it drives.
    pub(crate) fn hear(&self, deployment: DeploymentId, warnings: &[String]) {
        if warnings.is_empty() {
            return;
        }
        let mut all = self.lock();
        if all.len() >= MAX_HEARD {
            all.retain(|_, known| !known.is_heard);
        }
        let warnings = warnings.to_vec();
        let is_heard = true;
        all.insert(deployment, Known { warnings, is_heard });
    }

    /// The warnings of a deployment, each in a sentence.
    pub(crate) fn get(&self, deployment: DeploymentId) -> Vec<String> {
        let known = self.lock();
        let known = known.get(&deployment);
        known
            .map(|known| known.warnings.clone())
            .unwrap_or_default()
    }

    /// Another engine drives a deployment from now on.
    pub(crate) fn pass_on(&self, deployment: DeploymentId) {
        if let Some(known) = self.lock().get_mut(&deployment) {
            known.is_heard = true;
        }
    }

    /// Forgets a deployment: it has ended.
    pub(crate) fn end(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Known>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_known_until_the_deployment_ends() {
        let warnings = SoakWarnings::default();
        let deployment = DeploymentId::generate();
        warnings.begin(deployment);
        assert!(warnings.is_awaited(deployment));
        assert!(warnings.record(deployment, vec!["too few".to_owned()]));
        assert_eq!(warnings.get(deployment), ["too few"]);
        warnings.end(deployment);
        assert!(!warnings.is_awaited(deployment));
        assert!(!warnings.record(deployment, vec!["too late".to_owned()]));
        assert_eq!(warnings.get(deployment), Vec::<String>::new());
    }

    #[test]
    fn warnings_of_other_engines_are_kept_and_not_found_out_again() {
        let warnings = SoakWarnings::default();
        let deployment = DeploymentId::generate();
        warnings.hear(deployment, &[]);
        assert_eq!(warnings.get(deployment), Vec::<String>::new());
        warnings.hear(deployment, &["too few".to_owned()]);
        assert!(!warnings.record(deployment, Vec::new()));
        assert_eq!(warnings.get(deployment), ["too few"]);

        let passed_on = DeploymentId::generate();
        warnings.begin(passed_on);
        warnings.record(passed_on, vec!["too few".to_owned()]);
        warnings.pass_on(passed_on);
        assert!(!warnings.is_awaited(passed_on));
        assert_eq!(warnings.get(passed_on), ["too few"]);
        for _ in 0..=MAX_HEARD {
            warnings.hear(DeploymentId::generate(), &["too few".to_owned()]);
        }
        assert!(warnings.lock().len() <= MAX_HEARD);
    }
}
