//! What should run on each node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::{
    Call, Deployment, DeploymentId, Environment, EventBody, HttpProbe, ModuleName, ModuleVersion,
    NodeId, Timestamp,
};
use hotswap_store::{Decision, EnvironmentJournal, Journal, ReadError};

use crate::projections::{Error, Projections};

/// What was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredModule {
    /// The module.
    pub module: ModuleName,
    /// What should run.
    pub target: Target,
    /// When that was decided.
    pub since: Timestamp,
    /// The deployment that decided it; `None` where the module was retired.
    pub deployment: Option<DeploymentId>,
    /// How that deployment probed a new version before it let it serve.
    pub(crate) probe: Option<HttpProbe>,
}

/// What should run of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This version, on every node.
    Version(ModuleVersion),
    /// No version, on any node: it was retired.
    Nothing,
    /// What each of these nodes ran before the only deployments that there were, none of which
    /// succeeded. Nothing is decided for other nodes.
    AsBefore(BTreeMap<NodeId, Option<ModuleVersion>>),
}

impl Target {
    /// What a node should run; `Some(None)` for no version. `None` where nothing is decided.
    pub fn on(&self, node: &NodeId) -> Option<Option<&ModuleVersion>> {
        match self {
            Self::Version(version) => Some(Some(version)),
            Self::Nothing => Some(None),
            Self::AsBefore(nodes) => nodes.get(node).map(Option::as_ref),
        }
    }
}

type ByDeployment = HashMap<DeploymentId, Arc<DesiredModule>>;

/// Reads what was decided. Remembers what deployments decided: that never changes.
pub(super) struct DesiredState {
    journal: Arc<dyn Journal>,
    environment_journal: Arc<dyn EnvironmentJournal>,
    projections: Projections,
    by_deployment: Mutex<HashMap<Environment, Arc<ByDeployment>>>,
}

impl DesiredState {
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        environment_journal: Arc<dyn EnvironmentJournal>,
        projections: Projections,
    ) -> Self {
        Self {
            journal,
            environment_journal,
            projections,
            by_deployment: Mutex::default(),
        }
    }

    /// What was decided for each module of an environment, sorted by module.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn read(
        &self,
        environment: &Environment,
    ) -> Result<Vec<Arc<DesiredModule>>, Error> {
        let decisions = self.environment_journal.decisions(environment).await?;
        let known = {
            let remembered = self.by_deployment.lock();
            let remembered = remembered.unwrap_or_else(PoisonError::into_inner);
            remembered.get(environment).cloned().unwrap_or_default()
        };
        let mut desired = Vec::with_capacity(decisions.len());
        for (module, decision) in decisions {
            let id = match decision {
                Decision::Succeeded(id) | Decision::Unsuccessful(id) => id,
                Decision::Retired(since) => {
                    desired.push(Arc::new(DesiredModule {
                        module,
                        target: Target::Nothing,
                        since,
                        deployment: None,
                        probe: None,
                    }));
                    continue;
                }
            };
            let decided = match known.get(&id) {
                Some(decided) => Some(Arc::clone(decided)),
                None => self.resolve(id, decision).await?.map(Arc::new),
            };
            desired.extend(decided);
        }
        // What is no longer decisive is forgotten.
        let decided = desired.iter().filter_map(|one| {
            let id = one.deployment?;
            Some((id, Arc::clone(one)))
        });
        let decided: ByDeployment = decided.collect();
        let remembered = self.by_deployment.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        remembered.insert(environment.clone(), Arc::new(decided));
        Ok(desired)
    }

    /// What a deployment decided. `None` where its journal does not tell, or it was deleted
    /// just now.
    async fn resolve(
        &self,
        id: DeploymentId,
        decision: Decision,
    ) -> Result<Option<DesiredModule>, Error> {
        let state = match self.projections.get(id).await {
            Ok(state) => state,
            Err(Error::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(target) = target(&state, decision) else {
            return Ok(None);
        };
        Ok(Some(DesiredModule {
            module: state.header.module.name.clone(),
            target,
            since: state.ended_at.unwrap_or(state.updated_at),
            deployment: Some(id),
            probe: self.last_probe(id).await?,
        }))
    }

    /// The last probe of a deployment's strategy.
    async fn last_probe(&self, id: DeploymentId) -> Result<Option<HttpProbe>, ReadError> {
        let events = match self.journal.readable_events(id, 0).await {
            Ok(events) => events,
            Err(ReadError::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut probes = events.into_iter().filter_map(|event| match event.body {
            EventBody::Called {
                request: Call::Probe { request, .. },
                ..
            } => Some(request),
            _ => None,
        });
        Ok(probes.next_back())
    }
}

/// `None` where the journal does not tell.
fn target(state: &Deployment, decision: Decision) -> Option<Target> {
    let is_request_lost = state.damage.as_ref().is_some_and(|damage| damage.seq == 0);
    if is_request_lost {
        return None;
    }
    Some(match decision {
        Decision::Succeeded(_) => Target::Version(state.header.module.clone()),
        Decision::Retired(_) => Target::Nothing,
        Decision::Unsuccessful(_) => {
            let before =
                |(id, node): (&NodeId, &hotswap_core::NodeState)| (id.clone(), node.before.clone());
            Target::AsBefore(state.nodes.iter().map(before).collect())
        }
    })
}
