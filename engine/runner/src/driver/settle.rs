//! The end of a deployment that succeeded.

use hotswap_core::{Action, EventBody, Outcome};

use super::context::DriverContext;
use super::error::Error;
use super::node_operations::{NodeOperations, check_sender};
use super::suspended::Finishing;
use super::timers::Timers;
use super::verify::find_not_updated;

/// Orders the changed nodes to drop the previous version, and journals the end. A node that
/// fails to do so only keeps that version longer: the deployment has succeeded anyway. Which
/// nodes were not updated was settled with the success; only journals of older engines do not
/// tell, and the nodes are asked again.
pub(super) async fn settle(
    context: &DriverContext,
    timers: &Timers,
    finishing: Finishing,
) -> Result<(), Error> {
    let Finishing { mut writer, state } = finishing;
    let changed: Vec<_> = state.changed().into_iter().collect();
    let operations = NodeOperations {
        fleet: context.fleet.as_ref(),
        deployment: state.header.id,
        environment: &state.header.environment,
        module: &state.header.module,
        plan: &[],
        concurrency: context.limits.fan_out,
        fence: writer.fence(),
    };
    let operation = format!("{}.settle", state.header.id);
    let failures = operations
        .order(&changed, &operation, |_| Action::Settle)
        .await;
    check_sender(&failures, operations.fence)?;
    let not_updated = match state.verification {
        Some(verification) => verification.not_updated,
        None => {
            let fleet = context.fleet.as_ref();
            find_not_updated(fleet, timers, &state.header, &state.nodes).await?
        }
    };
    writer.push(EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures,
        not_updated,
    });
    writer.flush().await
}
