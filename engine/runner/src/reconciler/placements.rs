//! What people see of the modules on the nodes.

use std::collections::BTreeMap;

use hotswap_core::{Environment, ModuleName, ModuleVersion, NodeId, Timestamp};

use super::desired::DesiredModule;
use super::difference::{Actual, Facts, NextStep, next_step};
use super::observed::ObservedNode;
use super::open_deployment::OpenDeployment;
use super::repairs::Place;
use super::{Inner, Reconciler};

/// By node and module.
pub type Placements = BTreeMap<NodeId, BTreeMap<ModuleName, Placement>>;

/// A module on a node: what should run, what does, and what happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The version that should run; `None` for no version.
    pub desired: Option<ModuleVersion>,
    /// The version that runs, if one does. `None` also where the node is not heard.
    pub actual: Option<ModuleVersion>,
    /// Since when that should run.
    pub since: Timestamp,
    /// What happens next.
    pub next: NextStep,
}

impl Reconciler {
    /// What each node of an environment should run, what it does, and what happens next. Only
    /// modules of which something was decided for the node.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn placements(
        &self,
        environment: &Environment,
    ) -> Result<Placements, crate::deployments::Error> {
        let desired = self.0.desired.read(environment).await?;
        let nodes = self.0.observe(environment, &desired).await;
        let mut placements = Placements::new();
        for module in &desired {
            let open = self.0.open_deployment(environment, &module.module).await?;
            for node in &nodes {
                let Some((decision, wanted)) = module.on(&node.record) else {
                    continue;
                };
                let actual = node.actual(&module.module);
                let placement = Placement {
                    desired: wanted.cloned(),
                    actual: match actual {
                        Actual::Known(actual) => actual,
                        Actual::NotLoaded(..) | Actual::Unknown => None,
                    },
                    since: decision.since,
                    next: self.0.next_step(environment, module, node, open.as_ref()),
                };
                placements
                    .entry(node.id.clone())
                    .or_default()
                    .insert(module.module.clone(), placement);
            }
        }
        Ok(placements)
    }
}

impl Inner {
    /// What happens next about a module on a node.
    pub(super) fn next_step(
        &self,
        environment: &Environment,
        module: &DesiredModule,
        node: &ObservedNode,
        open: Option<&OpenDeployment>,
    ) -> NextStep {
        let Some((_, desired)) = module.on(&node.record) else {
            return NextStep::None;
        };
        let place = Place::new(environment, &module.module, &node.id);
        let repairs = &self.context.repairs;
        let deployment = open.filter(|open| open.has(&node.id));
        next_step(Facts {
            desired,
            actual: &node.actual(&module.module),
            health: node.health,
            is_under_way: repairs.is_under_way(&place),
            deployment: deployment.map(|open| open.id),
            cordon: self.cordoned.get(environment, &node.id),
            failure: repairs.waiting(&place, desired, self.clock.instant()),
        })
    }
}
