//! The plan of a deployment: the nodes that it may touch.

use hotswap_core::{Cause, CauseKind, EventBody, Header, Health, Node};

use super::activity::PLAN;
use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::revert;
use super::wait_scope::{Interrupt, WaitScope};
use crate::reconciler::OpenPlan;

/// Finds the nodes of the environment and journals them as the plan.
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
    let (nodes, _hold) = match scope.run(&mut writer, &PLAN, hold).await {
        Ok(hold) => {
            let nodes = find_nodes(context, scope, header, &mut writer).await;
            (nodes, Some(hold))
        }
        Err(interrupt) => (Err(interrupt), None),
    };
    let told = nodes.as_ref().ok().map(|nodes| OpenPlan {
        deployment: header.id,
        version: header.module.clone(),
        nodes: nodes
            .iter()
            .map(|node| (node.id.clone(), node.active.clone()))
            .collect(),
    });
    let planned = nodes.map(|nodes| Some(EventBody::Planned { nodes }));
    revert::append_or_begin(&mut writer, planned).await?;
    // Before any node changes: it must not become unready because it is ahead.
    if let Some(plan) = told {
        context.told.begin(&header.environment, plan);
    }
    Ok(())
}

async fn find_nodes(
    context: &DriverContext,
    scope: &WaitScope,
    header: &Header,
    writer: &mut JournalWriter,
) -> Result<Vec<Node>, Interrupt> {
    let (environment, module) = (&header.environment, &header.module.name);
    let nodes = context.fleet.nodes(environment, module);
    let mut nodes = scope.run(writer, &PLAN, nodes).await?.unwrap_or_default();
    nodes.retain(is_reachable);
    if nodes.is_empty() {
        let message =
            format!("no node of {environment} is reachable; list the nodes with: hotswap nodes");
        return Err(Cause::new(CauseKind::Unavailable, message).into());
    }
    Ok(nodes)
}

/// Exclude unreachable nodes: they would fail every deployment, and we could not tell which
/// version to revert them to.
pub(crate) fn is_reachable(node: &Node) -> bool {
    match node.health {
        Health::Passing | Health::Warning => true,
        Health::Critical | Health::Unknown => false,
    }
}
