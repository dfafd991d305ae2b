//! The plan of a deployment: the nodes that it may touch.

use hotswap_core::{
    Cause, CauseKind, CordonedNode, Cordons, EventBody, Header, Node, NodeFailure, NodeId,
};
use hotswap_fleet::Fleet;

use super::activity::PLAN;
use super::context::DriverContext;
use super::error::Error;
use super::failed_nodes::name_failures;
use super::journal_writer::JournalWriter;
use super::members::Members;
use super::revert;
use super::roll_call::{ask_nodes, is_reachable, silence};
use super::wait_scope::{Interrupt, WaitScope};
use crate::reconciler::OpenPlan;

/// Finds the nodes that the deployment is for and journals them as the plan.
pub(super) async fn plan(
    context: &DriverContext,
    scope: &WaitScope,
    header: &Header,
    mut writer: JournalWriter,
) -> Result<(), Error> {
    // What the nodes report must stay true until it is journaled.
    let hold = context
        .repairs
        .hold(&header.environment, &header.module.name);
    let (found, _hold) = match scope.run(&mut writer, &PLAN, hold).await {
        Ok(hold) => {
            let found = find_nodes(context, scope, header, &mut writer).await;
            (found, Some(hold))
        }
        Err(interrupt) => (Err(interrupt), None),
    };
    if let Ok(found) = &found {
        found.log(header);
    }
    let planned_nodes = found.as_ref().ok().map(|found| found.nodes.clone());
    let planned = found.map(|found| {
        Some(EventBody::Planned {
            nodes: found.nodes,
            missing: found.missing,
            cordoned: found.cordoned,
        })
    });
    revert::append_or_begin(&mut writer, planned).await?;
    if let Some(nodes) = planned_nodes {
        tell(context, header, &nodes);
        context.forecast_soaks(header.id);
    }
    Ok(())
}

/// Remembers a plan, before any of its nodes changes: it must not become unready because it is
/// ahead. After a start of the engine, it is read from the journal.
pub(super) fn tell(context: &DriverContext, header: &Header, nodes: &[Node]) {
    let (environment, module) = (&header.environment, &header.module);
    if !context.told.has_plan(environment, &module.name, header.id) {
        let before = |node: &Node| (node.id.clone(), node.active.clone());
        let nodes = nodes.iter().map(before);
        let plan = OpenPlan::new(header.id, module.clone(), nodes);
        context.told.begin(environment, plan);
    }
}

/// The nodes of an environment, as a plan sees them.
#[derive(Debug)]
pub(crate) struct FoundNodes {
    /// The nodes of the plan.
    pub(crate) nodes: Vec<Node>,
    /// Left out, because they do not answer.
    pub(crate) missing: Vec<NodeFailure>,
    /// Left out, because a person has cordoned them.
    pub(crate) cordoned: Vec<CordonedNode>,
}

async fn find_nodes(
    context: &DriverContext,
    scope: &WaitScope,
    header: &Header,
    writer: &mut JournalWriter,
) -> Result<FoundNodes, Interrupt> {
    let fleet = context.fleet.as_ref();
    let cordons = context.cordoned.of(&header.environment);
    let is_wanted = |node: &Node| header.selects(node.labels());
    let is_awaited = |node: &NodeId| cordons.get(node).is_none();
    let asked = ask_nodes(fleet, &scope.timers, header, is_wanted, is_awaited);
    let nodes = scope.run(writer, &PLAN, asked).await??;
    // A person may have cordoned more of them meanwhile.
    let cordons = context.cordoned.of(&header.environment);
    let found = FoundNodes::split(fleet, &cordons, nodes);
    found.check(fleet, &cordons, header)?;
    Ok(found)
}

impl FoundNodes {
    /// Exclude unreachable nodes: they would fail every deployment, and we could not tell which
    /// version to revert them to. Exclude those that a person has cordoned, whether they answer
    /// or not.
    pub(crate) fn split(fleet: &dyn Fleet, cordons: &Cordons, nodes: Vec<Node>) -> Self {
        let mut found = Self {
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
        };
        for node in nodes {
            if let Some(cordon) = cordons.get(&node.id) {
                let (node, cordon) = (node.id, cordon.clone());
                found.cordoned.push(CordonedNode { node, cordon });
            } else if is_reachable(&node) {
                found.nodes.push(node);
            } else {
                let error = silence(fleet, &node.id);
                let node = node.id;
                found.missing.push(NodeFailure { node, error });
            }
        }
        found
    }

    fn log(&self, header: &Header) {
        for NodeFailure { node, error } in &self.missing {
            tracing::warn!(deployment = %header.id, %node, %error, "node left out of the plan");
        }
        for CordonedNode { node, cordon } in &self.cordoned {
            tracing::info!(deployment = %header.id, %node, %cordon, "node left out of the plan");
        }
    }

    /// Checks that the policy allows a deployment without the nodes that are left out.
    ///
    /// # Errors
    /// [`CauseKind::Unavailable`] if no node is left, [`CauseKind::Policy`] if the policy
    /// does not allow it.
    pub(crate) fn check(
        &self,
        fleet: &dyn Fleet,
        cordons: &Cordons,
        header: &Header,
    ) -> Result<(), Cause> {
        let (environment, missing) = (header.scope(), &self.missing);
        if self.nodes.is_empty() {
            let message = match self.cordoned.len() {
                0 => format!(
                    "no node of {environment} is reachable; list the nodes with: hotswap nodes"
                ),
                count => format!(
                    "no node of {environment} is left for a plan: {count} are cordoned and {} \
                     are not reachable; end a cordon with: hotswap node uncordon",
                    missing.len()
                ),
            };
            return Err(Cause::new(CauseKind::Unavailable, message));
        }
        let members = Members {
            nodes: &self.nodes,
            missing,
            cordoned: &self.cordoned,
        };
        let (total, count) = (members.total(), missing.len());
        let allowed = header.policy.max_missing.of(total);
        if count > allowed {
            let names = name_failures(
                missing
                    .iter()
                    .map(|failure| (&failure.node, &failure.error)),
            );
            let message = format!(
                "{count} of {total} nodes of {environment} are missing: {names}; its policy \
                 allows {allowed} (maxMissing). Start them, or forget those that are gone: \
                 hotswap node forget"
            );
            return Err(Cause::new(CauseKind::Policy, message));
        }
        let unavailable = members.unavailable_now(fleet, cordons);
        members.check_available(header, &unavailable)
    }
}

#[cfg(test)]
mod tests;
