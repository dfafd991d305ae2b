//! What a driver does where the store has lost writes that it had acknowledged: it says so in the
//! journal, asks the nodes what they run, and goes on or reverts.

use std::collections::{HashMap, HashSet};

use hotswap_core::{Cause, CauseKind, EventBody, ModuleVersion, Node, NodeId, ReplayState};

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::roll_call::{ask_nodes, is_reachable};
use super::timers::Timers;
use crate::metrics::count_revert;

/// Names of nodes in a message: enough to find the rest.
const SHOWN_NODES: usize = 5;

/// Journals that events may be missing, and what follows from what the nodes run. A strategy runs
/// again from the events that are left: its orders change nothing on nodes that have carried them
/// out. That is not possible if nodes run what this journal does not explain. Then all nodes of the
/// plan are reverted, or if the plan is missing, the reconciler brings them back.
///
/// # Errors
/// Those of [`JournalWriter::flush`].
pub(super) async fn note(
    context: &DriverContext,
    timers: &Timers,
    mut writer: JournalWriter,
    state: &ReplayState,
) -> Result<(), Error> {
    let header = &state.header;
    let planned: HashSet<&NodeId> = state.nodes.iter().map(|node| &node.id).collect();
    let is_planned = |node: &Node| planned.contains(&node.id);
    let has_plan = !state.nodes.is_empty();
    let is_wanted = |node: &Node| {
        if has_plan {
            is_planned(node)
        } else {
            header.selects(node.labels())
        }
    };
    let fleet = context.fleet.as_ref();
    let mut nodes = ask_nodes(fleet, timers, header, is_wanted, |_| true).await?;
    nodes.retain(is_reachable);
    let is_running = writer.tail().lifecycle.is_strategy_active();
    let contradiction = contradiction(state, &nodes).filter(|_| is_running);
    let message = describe(&header.module, &nodes, contradiction.is_some());
    tracing::warn!(deployment = %header.id, reason = message, "the journal may lack events");
    writer.push(EventBody::WritesLost { message });
    if let Some(message) = contradiction {
        let cause = Cause::new(CauseKind::Unavailable, message);
        count_revert(cause.kind);
        writer.push(EventBody::Reverting { cause });
    }
    writer.flush().await
}

fn describe(module: &ModuleVersion, nodes: &[Node], is_reverted: bool) -> String {
    let new = nodes.iter().filter(|node| runs(node, module)).count();
    let next = match is_reverted {
        true => "the deployment is rolled back",
        false => "the deployment goes on from here",
    };
    format!(
        "the store has lost writes that it had acknowledged: events may be missing before this \
         one. Of the {} nodes that answer, {new} run {} {}; {next}",
        nodes.len(),
        module.name,
        module.version
    )
}

/// Why a strategy cannot go on from this journal, from what the nodes run.
fn contradiction(state: &ReplayState, nodes: &[Node]) -> Option<String> {
    let module = &state.header.module;
    let named = |is_named: &dyn Fn(&Node) -> bool| {
        let nodes = nodes.iter().filter(|node| is_named(node));
        let nodes: Vec<_> = nodes.map(|node| &node.id).collect();
        (!nodes.is_empty()).then(|| names(&nodes))
    };
    if state.nodes.is_empty() {
        let updated = named(&|node| runs(node, module))?;
        return Some(format!(
            "the store has lost writes, and with them the plan of this deployment: {updated} run \
             {} {} already, and what they ran before is unknown. All nodes go back to what was \
             decided before; deploy again",
            module.name, module.version
        ));
    }
    let planned: HashMap<_, _> = state.nodes.iter().map(|node| (&node.id, node)).collect();
    let is_foreign = |node: &Node| {
        let planned = planned.get(&node.id);
        !runs(node, module) && planned.is_some_and(|planned| planned.active != node.active)
    };
    let foreign = named(&is_foreign)?;
    Some(format!(
        "the store has lost writes, and with them a later change of {}: {foreign} run neither \
         what they ran at the start of this deployment nor {}",
        module.name, module.version
    ))
}

fn runs(node: &Node, module: &ModuleVersion) -> bool {
    node.active.as_ref() == Some(module)
}

fn names(nodes: &[&NodeId]) -> String {
    let shown = nodes.iter().take(SHOWN_NODES);
    let shown: Vec<_> = shown.map(|node| node.as_str()).collect();
    let shown = shown.join(", ");
    match nodes.len().saturating_sub(SHOWN_NODES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
