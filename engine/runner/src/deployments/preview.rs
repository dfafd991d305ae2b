//! What a deployment would do, before anybody asks for it.

use hotswap_core::{CordonedNode, Cordons, Header, ModuleVersion, Node, NodeFailure, NodeId};
use hotswap_plugins::Strategy;
use hotswap_store::Query;

use super::new_deployment::Origin;
use super::previewed_steps::{PreviewedStep, check_steps};
use super::rehearsal::{self, End};
use super::{Deployments, Error, NewDeployment, forecast};
use crate::driver::{FoundNodes, Members};

/// Steps of a preview. Nobody reads more.
const MAX_STEPS: usize = 1000;
/// Names in one problem.
const MAX_NAMES: usize = 20;

/// What a deployment would do if it started now and all went well.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The deployment: its version, strategy, configuration and policy. Its id belongs to no
    /// deployment.
    pub header: Header,
    /// The nodes of the plan, sorted by id.
    pub nodes: Vec<PreviewedNode>,
    /// Nodes that it is for and that do not answer.
    pub missing: Vec<NodeFailure>,
    /// Nodes that it is for and that a person has cordoned.
    pub cordoned: Vec<CordonedNode>,
    /// Nodes of the environment that its selector does not match, sorted.
    pub not_selected: Vec<NodeId>,
    /// The first steps of the strategy, in order, each as the policy allows it.
    pub steps: Vec<PreviewedStep>,
    /// How many more there are.
    pub further_steps: usize,
    /// The time that it takes at least. `None` if that cannot be told.
    pub shortest: Option<std::time::Duration>,
    /// Why the deployment would be refused, or would not succeed, each in a sentence. Empty where
    /// nothing is known that speaks against it.
    pub problems: Vec<String>,
    /// What would make the deployment of less use, each in a sentence: soaks that cannot decide
    /// anything at the present traffic.
    pub warnings: Vec<String>,
}

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewedNode {
    /// The node as it is now.
    pub node: Node,
    /// What it would run at the end.
    pub would_run: Option<ModuleVersion>,
}

impl Deployments {
    /// What a deployment would do if it were created now. Changes nothing, and writes no journal.
    ///
    /// [`Preview::problems`] lists obstacles that may go away: another deployment that has not
    /// ended, the policy, the deadline, a full disk.
    ///
    /// Few previews run at the same time; others wait for their turn. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::create`], where something that the request names does not exist, the
    /// configuration is not valid, or there is no node for it.
    pub async fn preview(&self, new: NewDeployment) -> Result<Preview, Error> {
        // The semaphore is never closed, so this is always a permit.
        let _permit = self.previews.acquire().await;
        let supersede = new.supersede;
        let (strategy, header) = self.prepare(new, Origin::default(), None).await?;
        let (environment, module) = (&header.environment, &header.module.name);
        let nodes = self.fleet.nodes(environment, module).await;
        let nodes = nodes.unwrap_or_default().into_iter();
        let (selected, others): (Vec<_>, Vec<_>) =
            nodes.partition(|node| header.selects(node.labels()));
        let cordons = self.cordoned.of(environment);
        let found = FoundNodes::split(self.fleet.as_ref(), &cordons, selected);
        let mut problems = self.obstacles(&header, supersede).await?;
        if let Err(cause) = found.check(self.fleet.as_ref(), &cordons, &header) {
            problems.push(cause.message);
        }
        let FoundNodes {
            nodes,
            missing,
            cordoned,
        } = found;
        let preview = Preview {
            not_selected: others.into_iter().map(|node| node.id).collect(),
            missing,
            cordoned,
            nodes: Vec::new(),
            steps: Vec::new(),
            further_steps: 0,
            shortest: None,
            problems,
            warnings: Vec::new(),
            header,
        };
        Ok(if nodes.is_empty() {
            preview
        } else {
            let mut preview = self.rehearse(preview, &strategy, nodes, &cordons).await;
            let calls: Vec<_> = preview.steps.iter().map(|step| &step.step.call).collect();
            let (fleet, clock) = (self.fleet.as_ref(), self.clock.as_ref());
            let warnings = forecast::warn(fleet, clock, &preview.header, &calls).await;
            preview.warnings = warnings;
            preview
        })
    }

    /// The obstacles to any deployment of the module now.
    async fn obstacles(&self, header: &Header, supersede: bool) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        let newest = Query {
            module: Some(header.module.name.clone()),
            environment: Some(header.environment.clone()),
            limit: 1,
            ..Query::default()
        };
        if let Some(id) = self.journal.list(&newest).await?.deployments.first()
            && !supersede
            && !self.head(*id).await?.lifecycle.is_ended()
        {
            problems.push(Error::Busy { by: *id }.to_string());
        }
        if self.journal.is_full().await {
            problems.push(Error::Full.to_string());
        }
        Ok(problems)
    }

    async fn rehearse(
        &self,
        mut preview: Preview,
        strategy: &Strategy,
        nodes: Vec<Node>,
        cordons: &Cordons,
    ) -> Preview {
        let header = &preview.header;
        let plan = rehearsal::plan(header, nodes);
        let rehearsed = rehearsal::run(strategy, &plan, self.clock.now(), MAX_STEPS).await;
        let name = &header.strategy.name;
        let members = Members {
            nodes: &plan.nodes,
            missing: &preview.missing,
            cordoned: &preview.cordoned,
        };
        match &rehearsed.end {
            End::Succeeded => {
                let not_updated = rehearsed
                    .nodes
                    .iter()
                    .filter(|node| node.active.as_ref() != Some(&header.module));
                let not_updated: Vec<_> = not_updated.map(|node| node.id.clone()).collect();
                preview
                    .problems
                    .extend(left_behind(header, &not_updated, members.total()));
            }
            End::Failed(reason) => preview.problems.push(format!(
                "strategy '{name}' fails even if all goes well: {reason}"
            )),
            End::Unknown(reason) => preview
                .problems
                .push(format!("cannot preview strategy '{name}': {reason}")),
        }
        if let Some(shortest) = rehearsed.shortest()
            && shortest >= header.policy.deadline
        {
            let error = Error::ExceedsDeadline {
                strategy: name.clone(),
                environment: header.environment.clone(),
                nodes: plan.nodes.len(),
                shortest,
                deadline: header.policy.deadline,
            };
            preview.problems.push(error.to_string());
        }
        let unavailable = members.unavailable_now(self.fleet.as_ref(), cordons);
        let shortest = rehearsed.shortest();
        let steps = check_steps(header, members, &unavailable, self.fan_out, rehearsed.steps);
        for refused in steps.iter().filter_map(|step| step.refused.as_ref()) {
            if !preview.problems.contains(refused) {
                preview.problems.push(refused.clone());
            }
        }
        preview.shortest = shortest;
        let has_succeeded = rehearsed.end == End::Succeeded;
        let nodes = plan.nodes.into_iter().zip(rehearsed.nodes);
        let nodes = nodes.map(|(node, at_end)| PreviewedNode {
            would_run: if has_succeeded {
                at_end.active
            } else {
                node.active.clone()
            },
            node,
        });
        preview.nodes = nodes.collect();
        preview.steps = steps;
        preview.further_steps = rehearsed.further_steps;
        preview
    }
}

/// Why a success that leaves nodes at another version is none.
fn left_behind(header: &Header, nodes: &[NodeId], total: usize) -> Option<String> {
    let tolerated = header.policy.tolerated_failures.of(total);
    let count = nodes.len();
    if count == 0 || (count <= tolerated && count < total) {
        return None;
    }
    let names: Vec<_> = nodes.iter().take(MAX_NAMES).map(NodeId::as_str).collect();
    let more = match count.saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "strategy '{}' leaves {count} of {total} nodes at another version ({}{more}), and the \
         policy of {} tolerates {tolerated}",
        header.strategy.name,
        names.join(", "),
        header.environment
    ))
}
