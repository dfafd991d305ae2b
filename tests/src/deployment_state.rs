use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Deployment, DeploymentId};
use hotswap_runner::Engine;
use tokio::time::Instant;

/// Time limit of every wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until the deployment has ended.
///
/// # Errors
/// If it does not end in time.
pub async fn wait_for_end(engine: &Engine, id: DeploymentId) -> Result<Deployment> {
    wait_for_state(engine, id, |state| state.status().is_final()).await
}

/// Waits until the deployment is as wanted.
///
/// # Errors
/// If it ends otherwise, or does not come so far in time.
pub async fn wait_for_state(
    engine: &Engine,
    id: DeploymentId,
    is_wanted: impl Fn(&Deployment) -> bool,
) -> Result<Deployment> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let state = engine.deployments.get(id).await?;
        if is_wanted(&state) {
            return Ok(state);
        }
        ensure!(
            !state.status().is_final(),
            "the deployment has ended: {} {:?}",
            state.status().as_str(),
            state.cause
        );
        let wait = deadline.saturating_duration_since(Instant::now());
        ensure!(
            !wait.is_zero(),
            "the deployment did not come so far in time: {:?} {:?}",
            state.lifecycle,
            state.stages
        );
        engine
            .deployments
            .events(id, state.next_seq, 1, wait)
            .await
            .context("cannot wait for the next event")?;
    }
}
