//! The plan of a deployment: the nodes that it may touch.

use hotswap_core::{Cause, CauseKind, EventBody, Header, Node, NodeFailure};
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
    if let Ok((_, missing)) = &found {
        for NodeFailure { node, error } in missing {
            tracing::warn!(deployment = %header.id, %node, %error, "node left out of the plan");
        }
    }
    let told = found.as_ref().ok().map(|(nodes, _)| OpenPlan {
        deployment: header.id,
        version: header.module.clone(),
        nodes: nodes
            .iter()
            .map(|node| (node.id.clone(), node.active.clone()))
            .collect(),
    });
    let planned = found.map(|(nodes, missing)| Some(EventBody::Planned { nodes, missing }));
    revert::append_or_begin(&mut writer, planned).await?;
    // Before any node changes: it must not become unready because it is ahead.
    if let Some(plan) = told {
        context.told.begin(&header.environment, plan);
    }
    Ok(())
}

/// The nodes of the plan, and those that are left out of it.
async fn find_nodes(
    context: &DriverContext,
    scope: &WaitScope,
    header: &Header,
    writer: &mut JournalWriter,
) -> Result<(Vec<Node>, Vec<NodeFailure>), Interrupt> {
    let fleet = context.fleet.as_ref();
    let asked = ask_nodes(fleet, &scope.timers, header, |node| {
        header.selects(node.labels())
    });
    let nodes = scope.run(writer, &PLAN, asked).await?;
    let (nodes, missing) = split(fleet, nodes);
    check(header, &nodes, &missing)?;
    Ok((nodes, missing))
}

/// Exclude unreachable nodes: they would fail every deployment, and we could not tell which
/// version to revert them to.
pub(crate) fn split(fleet: &dyn Fleet, nodes: Vec<Node>) -> (Vec<Node>, Vec<NodeFailure>) {
    let (nodes, silent): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_reachable);
    let missing = silent.into_iter().map(|node| NodeFailure {
        error: silence(fleet, &node.id),
        node: node.id,
    });
    (nodes, missing.collect())
}

/// Checks that the policy allows a deployment without the `missing` nodes.
///
/// # Errors
/// [`CauseKind::Unavailable`] where no node answers, [`CauseKind::Policy`] where the policy does
/// not allow it.
pub(crate) fn check(header: &Header, nodes: &[Node], missing: &[NodeFailure]) -> Result<(), Cause> {
    let environment = header.scope();
    if nodes.is_empty() {
        let message =
            format!("no node of {environment} is reachable; list the nodes with: hotswap nodes");
        return Err(Cause::new(CauseKind::Unavailable, message));
    }
    let members = Members { nodes, missing };
    let (total, count) = (members.total(), missing.len());
    let allowed = header.policy.max_missing.of(total);
    if count > allowed {
        let names = name_failures(
            missing
                .iter()
                .map(|failure| (&failure.node, &failure.error)),
        );
        let message = format!(
            "{count} of {total} nodes of {environment} are missing: {names}; its policy allows \
             {allowed} (maxMissing). Start them, or delete those that are gone: hotswap node \
             delete"
        );
        return Err(Cause::new(CauseKind::Policy, message));
    }
    members.check_available(header, &Default::default())
}

#[cfg(test)]
mod tests;
