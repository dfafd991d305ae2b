//! The end of a deployment whose journal cannot be read: an admin requests it, and the nodes
//! are reverted by what can still be read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{
    Action, Damage, Deadline, DeploymentId, Digest, EventBody, Fence, JournalTail, ModuleVersion,
    NodeError, NodeFailure, NodeId, Outcome, Policy, SalvagedJournal, Signals, Step,
};
use hotswap_store::DeploymentRecord;

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::node_operations::{NodeOperations, check_sender};
use super::revert::outcome;
use super::revert_queue::RevertQueue;
use super::suspended::StepOutcome;
use super::timers::Timers;
use super::verify::find_not_updated;
use crate::retries::Retries;

/// Terminates a deployment, where an admin has requested it. After a crash it begins again:
/// nodes carry each order out once.
///
/// Every node of the plan is reverted, not only those that a readable call changed: the call
/// that changed another one may be what cannot be read. For a node that was not changed the
/// order has no effect.
///
/// # Errors
/// [`Error::Damaged`] where nobody has requested it.
pub(super) async fn terminate(
    context: &DriverContext,
    timers: &Timers,
    (deployment, fence): (DeploymentId, Fence),
    damage: Damage,
) -> Result<StepOutcome, Error> {
    // Read first: what is appended later is then a conflict, and the driver begins again.
    let record = context.journal.record(deployment).await?;
    if record.head.lifecycle.is_ended() {
        return Ok(StepOutcome::Ended);
    }
    let events = context.journal.readable_events(deployment, 0).await?;
    let salvaged = SalvagedJournal::fold(events);
    if !salvaged.is_terminated {
        return Err(Error::Damaged(damage));
    }
    tracing::warn!(%deployment, %damage, "terminating the deployment");
    let journal = Arc::clone(&context.journal);
    let clock = Arc::clone(&context.clock);
    let retries = Arc::clone(&context.retries);
    let policy = match &salvaged.header {
        Some(header) => header.policy.clone(),
        None => Policy::default_for(&record.environment),
    };
    let tail = JournalTail {
        next_seq: record.head.next_seq,
        lifecycle: record.head.lifecycle,
        signals: Signals::default(),
        deadline: Deadline::new(&policy),
        losses: 0,
        repaired: BTreeSet::new(),
    };
    let mut writer = JournalWriter::at_end(journal, clock, retries, (deployment, fence), tail);
    // With a new fence, nodes ignore orders of the strategy that are still under way.
    writer.renew_lease().await?;
    let operations = NodeOperations {
        fleet: context.fleet.as_ref(),
        deployment,
        environment: &record.environment,
        module: &module(&record, &salvaged),
        plan: &salvaged.nodes,
        concurrency: context.limits.fan_out,
        fence: writer.fence(),
    };
    let has_succeeded = salvaged.has_succeeded || record.head.lifecycle.step == Step::Settling;
    let end = if has_succeeded {
        settle(timers, &operations, &salvaged).await?
    } else {
        let operations = (&operations, context.retries.as_ref());
        revert(timers, operations, policy.revert_patience, &salvaged).await?
    };
    writer.push(end);
    writer.flush().await?;
    Ok(StepOutcome::Ended)
}

async fn revert(
    timers: &Timers,
    (operations, retries): (&NodeOperations<'_>, &Retries),
    patience: Duration,
    salvaged: &SalvagedJournal,
) -> Result<EventBody, Error> {
    let planned: Vec<_> = operations.plan.iter().map(|node| &node.id).collect();
    let queue = RevertQueue::new(
        timers,
        (operations, retries),
        patience,
        planned.iter().copied(),
    );
    let mut unreverted = queue.run().await?;
    let is_planned: HashSet<_> = planned.iter().copied().collect();
    let touched = salvaged.touched.iter();
    let unplanned = touched.filter(|node| !is_planned.contains(node));
    let unplanned = unplanned.cloned().map(unknown_before);
    unreverted.failed.extend(unplanned);
    let outcome = outcome(planned.len(), &unreverted.failed);
    Ok(EventBody::Ended {
        outcome,
        failures: unreverted.into_failures(),
        not_updated: Vec::new(),
    })
}

async fn settle(
    timers: &Timers,
    operations: &NodeOperations<'_>,
    salvaged: &SalvagedJournal,
) -> Result<EventBody, Error> {
    let nodes = operations.plan.iter().map(|node| node.id.clone());
    let nodes: Vec<_> = nodes.collect();
    let operation = format!("{}.settle", operations.deployment);
    let failures = operations
        .order(&nodes, &operation, |_| Action::Settle)
        .await;
    check_sender(&failures, operations.fence)?;
    let not_updated = match (&salvaged.verification, &salvaged.header) {
        (Some(verification), _) => verification.not_updated.clone(),
        (None, Some(header)) => {
            find_not_updated(operations.fleet, timers, header, operations.plan).await?
        }
        // Which version they should run cannot be read.
        (None, None) => Vec::new(),
    };
    Ok(EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures,
        not_updated,
    })
}

/// The module of the deployment. Where the request cannot be read, its version is a
/// placeholder: orders to revert and to settle need the name alone.
fn module(record: &DeploymentRecord, salvaged: &SalvagedJournal) -> ModuleVersion {
    match &salvaged.header {
        Some(header) => header.module.clone(),
        None => ModuleVersion {
            name: record.module.clone(),
            version: semver::Version::new(0, 0, 0),
            digest: Digest::of(b""),
        },
    }
}

fn unknown_before(node: NodeId) -> NodeFailure {
    let reason = "the plan cannot be read, so it is unknown what the node ran before; deploy the \
                  version that it should run";
    NodeFailure {
        node,
        error: NodeError::Other(reason.to_owned()),
    }
}
