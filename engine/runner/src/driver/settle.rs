//! The end of a deployment that succeeded.

use hotswap_core::{Action, EventBody, Outcome, ReplayState};

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::node_operations::{NodeOperations, check_fence};

/// Orders the touched nodes to drop the previous version, and journals the end. A node that
/// fails to do so only keeps that version longer: the deployment has succeeded anyway.
pub(super) async fn settle(
    context: &DriverContext,
    mut writer: JournalWriter,
    state: ReplayState,
) -> Result<(), Error> {
    let touched: Vec<_> = state.touched.into_iter().collect();
    let operations = NodeOperations {
        fleet: context.fleet.as_ref(),
        deployment: state.header.id,
        module: &state.header.module,
        plan: &[],
        concurrency: context.limits.fan_out,
        fence: writer.fence(),
    };
    let operation = format!("{}.settle", state.header.id);
    let failures = operations
        .order(&touched, &operation, |_| Action::Settle)
        .await;
    check_fence(&failures)?;
    writer.push(EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures,
    });
    writer.flush().await
}
