//! The versions that nodes are told to run, from memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hotswap_core::{Cordon, DeploymentId, Environment, ModuleName, ModuleVersion, NodeId};
use hotswap_fleet::{DesiredVersion, DesiredVersions};
use hotswap_store::NodeRecord;

use super::desired::DesiredModule;
use crate::cordoned_nodes::CordonedNodes;

/// The versions that each node is told to run. A node that runs them is ready for clients.
///
/// While a deployment changes a node, both the version before and the new one are accepted.
/// Otherwise nodes would become unready because they are ahead of the decision, or behind it.
#[derive(Debug, Default)]
pub(crate) struct ToldVersions {
    inner: RwLock<Inner>,
    cordoned: Arc<CordonedNodes>,
}

#[derive(Debug, Default)]
struct Inner {
    decided: HashMap<Environment, Vec<Arc<DesiredModule>>>,
    open: HashMap<(Environment, ModuleName), OpenPlan>,
}

/// The plan of a deployment that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenPlan {
    pub(crate) deployment: DeploymentId,
    /// The version that is rolled out.
    pub(crate) version: ModuleVersion,
    /// The nodes of the plan, sorted, with the version that each ran before. Thousands of plans
    /// may be open, most of few nodes, for which a map would take several times the memory.
    nodes: Box<[(NodeId, Option<ModuleVersion>)]>,
}

impl OpenPlan {
    pub(crate) fn new(
        deployment: DeploymentId,
        version: ModuleVersion,
        nodes: impl IntoIterator<Item = (NodeId, Option<ModuleVersion>)>,
    ) -> Self {
        let mut nodes: Box<[_]> = nodes.into_iter().collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            deployment,
            version,
            nodes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.before(node).is_some()
    }

    /// The version that a node of the plan ran before. `None` if it is not in the plan.
    fn before(&self, node: &NodeId) -> Option<Option<&ModuleVersion>> {
        let found = self.nodes.binary_search_by(|(id, _)| id.cmp(node)).ok()?;
        let (_, before) = self.nodes.get(found)?;
        Some(before.as_ref())
    }
}

impl ToldVersions {
    pub(crate) fn new(cordoned: Arc<CordonedNodes>) -> Self {
        Self {
            inner: RwLock::default(),
            cordoned,
        }
    }

    /// A plan is durable, and its nodes are about to change.
    pub(crate) fn begin(&self, environment: &Environment, plan: OpenPlan) {
        let key = (environment.clone(), plan.version.name.clone());
        self.write().open.insert(key, plan);
    }

    /// What is decided for an environment now, and the plan that is open for each module, as
    /// the store has it.
    pub(super) fn update(
        &self,
        environment: &Environment,
        decided: Vec<Arc<DesiredModule>>,
        open: Vec<OpenPlan>,
        has_ended: impl Fn(DeploymentId) -> bool,
    ) {
        let mut inner = self.write();
        // A plan that began after the store was read stays.
        inner
            .open
            .retain(|(of, _), plan| of != environment || !has_ended(plan.deployment));
        for plan in open {
            let key = (environment.clone(), plan.version.name.clone());
            inner.open.entry(key).or_insert(plan);
        }
        inner.decided.insert(environment.clone(), decided);
    }

    /// Whether the plan of a deployment of a module is known.
    pub(crate) fn has_plan(
        &self,
        environment: &Environment,
        module: &ModuleName,
        deployment: DeploymentId,
    ) -> bool {
        let inner = self.read();
        let plan = inner.open.get(&(environment.clone(), module.clone()));
        plan.is_some_and(|plan| plan.deployment == deployment)
    }

    /// The deployments whose plans are open here.
    pub(super) fn open(&self, environment: &Environment) -> Vec<DeploymentId> {
        let inner = self.read();
        let open = inner.open.iter().filter(|((of, _), _)| of == environment);
        open.map(|(_, plan)| plan.deployment).collect()
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DesiredVersions for ToldVersions {
    fn desired(&self, node: &NodeRecord) -> Option<BTreeMap<ModuleName, DesiredVersion>> {
        let inner = self.read();
        let environment = &node.environment;
        let decided = inner.decided.get(environment)?;
        let told = decided.iter().filter_map(|module| {
            let version = module.on(node)?.1?.clone();
            let key = (environment.clone(), module.module.clone());
            let plan = inner.open.get(&key);
            let before = plan.and_then(|plan| Some((plan, plan.before(&node.id)?)));
            let accepted = before.map(|(plan, before)| {
                let versions = before.into_iter().chain([&plan.version]);
                versions.cloned().collect()
            });
            let accepted = accepted.unwrap_or_default();
            Some((module.module.clone(), DesiredVersion { version, accepted }))
        });
        Some(told.collect())
    }

    fn cordon(&self, node: &NodeId, environment: &Environment) -> Option<Cordon> {
        self.cordoned.get(environment, node)
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Digest, Timestamp};

    use super::super::desired::{ModuleDecision, Target};
    use super::*;

    fn version(version: &str) -> ModuleVersion {
        ModuleVersion {
            name: "hello".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        }
    }

    fn decision(target: Target, selector: Option<&str>) -> Arc<ModuleDecision> {
        Arc::new(ModuleDecision {
            target,
            selector: selector.map(|selector| selector.parse().unwrap()),
            since: Timestamp::from_millis(1),
            deployment: None,
            probe: None,
        })
    }

    fn decided(target: Target) -> Vec<Arc<DesiredModule>> {
        vec![Arc::new(DesiredModule {
            module: "hello".parse().unwrap(),
            decisions: vec![decision(target, None)],
        })]
    }

    fn node(id: &str, zone: Option<&str>) -> NodeRecord {
        NodeRecord {
            id: id.parse().unwrap(),
            environment: "production".parse().unwrap(),
            zone: zone.map(str::to_owned),
            labels: BTreeMap::new(),
            control_url: "http://127.0.0.1:1".to_owned(),
            data_url: "http://127.0.0.1:1".to_owned(),
            registered_at: Timestamp::from_millis(1),
            instance: None,
        }
    }

    #[test]
    fn the_newest_decision_that_is_about_a_node_counts() {
        let told = ToldVersions::default();
        let to = |number: &str| Target::Version(version(number));
        let as_before = BTreeMap::from([("c".parse().unwrap(), Some(version("0.5.0")))]);
        let told_to = |decisions: &[Arc<ModuleDecision>]| {
            let module = DesiredModule {
                module: "hello".parse().unwrap(),
                decisions: decisions.to_vec(),
            };
            let environment = "production".parse().unwrap();
            told.update(&environment, vec![Arc::new(module)], Vec::new(), |_| true);
            [("a", Some("eu")), ("b", Some("us")), ("c", None)].map(|(id, zone)| {
                let desired = told.desired(&node(id, zone)).unwrap();
                let version = desired.values().next();
                version.map_or_else(String::new, |one| one.version.version.to_string())
            })
        };
        let eu = decision(to("3.0.0"), Some("zone=eu"));
        let not_eu = decision(to("2.0.0"), Some("zone!=eu"));
        let zoned = decision(to("1.0.0"), Some("zone"));
        let all = decision(to("0.9.0"), None);
        let retired = decision(Target::Nothing, None);
        let before = decision(Target::AsBefore(as_before), None);
        assert_eq!(
            told_to(&[eu.clone(), all.clone()]),
            ["3.0.0", "0.9.0", "0.9.0"]
        );
        assert_eq!(told_to(&[all, eu.clone()]), ["0.9.0", "0.9.0", "0.9.0"]);
        let three = [eu.clone(), not_eu, zoned.clone()];
        assert_eq!(told_to(&three), ["3.0.0", "2.0.0", "2.0.0"]);
        assert_eq!(
            told_to(&[zoned.clone(), eu.clone()]),
            ["1.0.0", "1.0.0", ""]
        );
        assert_eq!(told_to(&[eu.clone(), retired]), ["3.0.0", "", ""]);
        assert_eq!(told_to(&[eu, before]), ["3.0.0", "", "0.5.0"]);
    }

    #[test]
    fn a_node_in_a_plan_may_run_the_version_before_or_the_new_one() {
        let told = ToldVersions::default();
        let environment: Environment = "production".parse().unwrap();
        let [planned, other] = ["a", "b"].map(|id| node(id, None));
        let accepted = |node: &NodeRecord| {
            let desired = told.desired(node)?;
            let module: ModuleName = "hello".parse().unwrap();
            let desired = desired.get(&module)?;
            Some(desired.accepted.clone())
        };
        assert_eq!(told.desired(&planned), None, "not read yet");
        let id = DeploymentId::generate();
        let nodes = [(planned.id.clone(), Some(version("0.9.0")))];
        told.begin(&environment, OpenPlan::new(id, version("2.0.0"), nodes));
        let one = || decided(Target::Version(version("1.0.0")));
        told.update(&environment, one(), Vec::new(), |_| false);
        assert_eq!(told.open(&environment), [id]);
        let both = vec![version("0.9.0"), version("2.0.0")];
        assert_eq!(accepted(&planned), Some(both));
        assert_eq!(accepted(&other), Some(Vec::new()));
        told.update(&environment, one(), Vec::new(), |ended| ended == id);
        assert_eq!(accepted(&planned), Some(Vec::new()));
        told.update(&environment, decided(Target::Nothing), Vec::new(), |_| true);
        assert_eq!(accepted(&planned), None, "no version should run");
    }
}
