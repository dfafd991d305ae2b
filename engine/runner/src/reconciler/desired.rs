//! What should run on each node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::{
    Deployment, DeploymentId, Environment, HttpProbe, ModuleName, ModuleVersion, NodeId, Selector,
    Timestamp,
};
use hotswap_store::{Decision, EnvironmentJournal, NodeRecord};

use crate::arrived_nodes::ArrivedNodes;
use crate::projections::{Error, Projections};

/// What was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredModule {
    /// The module.
    pub module: ModuleName,
    /// At least one, the newest first. For each node, the first that is about it counts.
    pub decisions: Vec<Arc<ModuleDecision>>,
}

/// A decision about a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleDecision {
    /// What should run.
    pub target: Target,
    /// The nodes that it is about. `None` for all of the environment.
    pub selector: Option<Selector>,
    /// When that was decided.
    pub since: Timestamp,
    /// The deployment that decided it; `None` if the module was retired.
    pub deployment: Option<DeploymentId>,
    /// How that deployment probed a new version before it let it serve.
    pub(crate) probe: Option<HttpProbe>,
}

/// What should run of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This version.
    Version(ModuleVersion),
    /// No version: the module was retired.
    Nothing,
    /// What each of these nodes ran before a deployment that did not succeed, where none ever
    /// has. Nothing is decided for other nodes.
    AsBefore(BTreeMap<NodeId, Option<ModuleVersion>>),
    /// No version on these nodes, sorted, which brought the module from another environment.
    /// Nothing is decided for other nodes.
    NothingOn(Vec<NodeId>),
}

impl DesiredModule {
    /// What a node should run, `None` for no version, with the decision. `None` if nothing
    /// is decided about the node.
    pub fn on(&self, node: &NodeRecord) -> Option<(&ModuleDecision, Option<&ModuleVersion>)> {
        self.decisions.iter().find_map(|decision| {
            let version = decision.on(node)?;
            Some((decision.as_ref(), version))
        })
    }
}

impl ModuleDecision {
    fn on(&self, node: &NodeRecord) -> Option<Option<&ModuleVersion>> {
        let selector = self.selector.as_ref();
        if selector.is_some_and(|selector| !selector.matches(node.labels())) {
            return None;
        }
        match &self.target {
            Target::Version(version) => Some(Some(version)),
            Target::Nothing => Some(None),
            Target::AsBefore(nodes) => nodes.get(&node.id).map(Option::as_ref),
            Target::NothingOn(nodes) => nodes.binary_search(&node.id).is_ok().then_some(None),
        }
    }
}

type ByDeployment = HashMap<DeploymentId, Arc<ModuleDecision>>;

/// Reads what was decided. Remembers what deployments decided: that never changes.
pub(super) struct DesiredState {
    environment_journal: Arc<dyn EnvironmentJournal>,
    projections: Projections,
    arrived: Arc<ArrivedNodes>,
    by_deployment: Mutex<HashMap<Environment, Arc<ByDeployment>>>,
}

impl DesiredState {
    pub(super) fn new(
        environment_journal: Arc<dyn EnvironmentJournal>,
        projections: Projections,
        arrived: Arc<ArrivedNodes>,
    ) -> Self {
        Self {
            environment_journal,
            projections,
            arrived,
            by_deployment: Mutex::default(),
        }
    }

    /// What was decided for each module of an environment, sorted by module.
    ///
    /// # Errors
    /// If the store fails.
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
        let mut desired: Vec<DesiredModule> = Vec::new();
        // A decision that cannot be read may be about any node: what was decided before it
        // counts for none.
        let mut unknown = BTreeSet::new();
        for (module, decision) in decisions {
            if unknown.contains(&module) {
                continue;
            }
            let id = match decision {
                Decision::Succeeded(id) | Decision::Unsuccessful(id) => Some(id),
                Decision::Retired(_) => None,
            };
            let decided = match id.and_then(|id| known.get(&id)) {
                Some(decided) => Some(Arc::clone(decided)),
                None => self.resolve(decision).await?.map(Arc::new),
            };
            let Some(decided) = decided else {
                unknown.insert(module);
                continue;
            };
            match desired.last_mut() {
                Some(last) if last.module == module => last.decisions.push(decided),
                _ => desired.push(DesiredModule {
                    module,
                    decisions: vec![decided],
                }),
            }
        }
        // What is no longer decisive is forgotten.
        let decisions = desired.iter().flat_map(|module| &module.decisions);
        let decided = decisions.filter_map(|one| {
            let id = one.deployment?;
            Some((id, Arc::clone(one)))
        });
        let decided: ByDeployment = decided.collect();
        let remembered = self.by_deployment.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        remembered.insert(environment.clone(), Arc::new(decided));
        self.add_arrivals(environment, &unknown, &mut desired);
        Ok(desired.into_iter().map(Arc::new).collect())
    }

    /// What nodes brought from another environment should not run, where nothing else is decided
    /// about it. An environment where nothing was decided yet may have been renamed: what its
    /// nodes brought is all that it has.
    fn add_arrivals(
        &self,
        environment: &Environment,
        unknown: &BTreeSet<ModuleName>,
        desired: &mut Vec<DesiredModule>,
    ) {
        if desired.is_empty() {
            return;
        }
        for (module, (since, nodes)) in self.arrived.brought_to(environment) {
            if unknown.contains(&module) {
                continue;
            }
            let decision = Arc::new(ModuleDecision {
                target: Target::NothingOn(nodes),
                selector: None,
                since,
                deployment: None,
                probe: None,
            });
            match desired.binary_search_by(|one| one.module.cmp(&module)) {
                Ok(place) => desired[place].decisions.push(decision),
                Err(place) => {
                    let decisions = vec![decision];
                    desired.insert(place, DesiredModule { module, decisions });
                }
            }
        }
    }

    /// What was decided. `None` if the journal of the deployment does not tell, or it
    /// was deleted just now.
    async fn resolve(&self, decision: Decision) -> Result<Option<ModuleDecision>, Error> {
        let id = match decision {
            Decision::Succeeded(id) | Decision::Unsuccessful(id) => id,
            Decision::Retired(since) => {
                return Ok(Some(ModuleDecision {
                    target: Target::Nothing,
                    selector: None,
                    since,
                    deployment: None,
                    probe: None,
                }));
            }
        };
        let state = match self.projections.get(id).await {
            Ok(state) => state,
            Err(Error::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(target) = target(&state, decision) else {
            return Ok(None);
        };
        Ok(Some(ModuleDecision {
            selector: match target {
                Target::Version(_) => state.header.selector.clone(),
                // It names its nodes, also those whose labels have changed since.
                Target::AsBefore(_) | Target::Nothing | Target::NothingOn(_) => None,
            },
            target,
            since: state.ended_at.unwrap_or(state.updated_at),
            deployment: Some(id),
            probe: state.last_probe.as_deref().cloned(),
        }))
    }
}

/// `None` if the journal does not tell.
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
