//! Rollbacks: which version one deploys, and why.

use std::collections::BTreeMap;

use hotswap_core::{Deployment, DeploymentId, ModuleVersion};
use semver::Version;

use super::new_deployment::Origin;
use super::{Deployments, Error, NewDeployment, NewRollback};
use crate::success_history::last_success_before;

/// The strategy of a rollback that names none: at once, never through a canary again.
pub(super) const ROLLBACK_STRATEGY: &str = "direct";

/// A rollback that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The deployment that rolls back.
    pub id: DeploymentId,
    /// The version that it deploys.
    pub version: Version,
    /// Why that version. Completes the sentence "it deploys 1.4.0, …".
    pub reason: String,
}

impl Deployments {
    /// Creates a deployment of an earlier version than deployment `id` has, with the strategy
    /// `direct` unless another one is named.
    ///
    /// The earlier version is the first of these:
    /// 1. The requested version.
    /// 2. The version that all nodes of the deployment ran before.
    /// 3. If they ran different versions: the version of the last successful deployment of the
    ///    module in the environment before, if that was for all nodes or had the same selector.
    ///
    /// The rollback has the selector of deployment `id`.
    ///
    /// # Errors
    /// [`Error::NoPreviousVersion`] where the module did not run on the nodes before, or the
    /// deployment was never planned. [`Error::DifferentPreviousVersions`] where the nodes ran
    /// different versions and none succeeded before. [`Error::NotEnded`] where deployment `id`
    /// has not ended: abort it instead. [`Error::Busy`] where another one of the module in the
    /// environment has not.
    /// Others as for [`Self::create`].
    pub async fn rollback(&self, id: DeploymentId, new: NewRollback) -> Result<Rollback, Error> {
        let state = self.get(id).await?;
        if !state.status().is_final() {
            return Err(Error::NotEnded(id));
        }
        let (version, reason) = match new.to {
            Some(version) => (version, "as requested".to_owned()),
            None => self.previous_version(&state).await?,
        };
        let direct = || ROLLBACK_STRATEGY.parse().ok();
        let new = NewDeployment {
            module: state.header.module.name,
            version: Some(version.clone()),
            environment: state.header.environment,
            selector: state.header.selector,
            strategy: new.strategy.or_else(direct),
            config: new.config,
            requester: new.requester,
            description: Some(format!("rollback of {id} to {version}, {reason}")),
            metadata: BTreeMap::new(),
            require_approval: false,
            supersede: false,
            idempotency_key: new.idempotency_key,
        };
        let origin = Origin {
            rollback_of: Some(id),
            ..Origin::default()
        };
        Ok(Rollback {
            id: self.create_with(new, origin).await?,
            version,
            reason,
        })
    }

    /// The version before a deployment, and why that one.
    async fn previous_version(&self, state: &Deployment) -> Result<(Version, String), Error> {
        let (id, new) = (state.header.id, &state.header.module);
        let before = previous_versions(state);
        if let [Some(only)] = &before[..]
            && only != new
        {
            return Ok((
                only.version.clone(),
                "which its nodes ran before".to_owned(),
            ));
        }
        if before.iter().all(Option::is_none) {
            return Err(Error::NoPreviousVersion(id));
        }
        let summary = state.summary();
        let success = last_success_before(self.journal.as_ref(), &self.projections, &summary);
        if let Some(success) = success.await? {
            let (environment, version) = (&summary.environment, &summary.module.version);
            let reason = format!("the last success in {environment} before {version}");
            return Ok((success.module.version, reason));
        }
        // Where it deployed the version that ran already, that is all there is to go back to.
        let versions: Vec<_> = before.iter().flatten().collect();
        match versions[..] {
            [only] => Ok((
                only.version.clone(),
                "which its nodes ran before".to_owned(),
            )),
            _ => Err(Error::DifferentPreviousVersions {
                id,
                versions: versions
                    .iter()
                    .map(|module| module.version.clone())
                    .collect(),
            }),
        }
    }
}

/// What the nodes ran before, without repetition, sorted by version. `None` for nodes that did
/// not run the module.
fn previous_versions(state: &Deployment) -> Vec<Option<ModuleVersion>> {
    let nodes = state.nodes.values();
    let mut versions: Vec<_> = nodes.map(|node| node.before.clone()).collect();
    let version = |module: &Option<ModuleVersion>| {
        let module = module.as_ref();
        module.map(|module| (module.version.clone(), module.digest))
    };
    versions.sort_by_key(version);
    versions.dedup();
    versions
}
