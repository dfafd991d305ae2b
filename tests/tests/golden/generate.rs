use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::trace;
use hotswap_core::{Decision, Deployment, Environment, Fence, Policy, SCHEMA_VERSION, Status};
use hotswap_runner::NewDeployment;
use hotswap_tests::{
    Cluster, EMAIL, InterceptedFleet, LoadGenerator, new_deployment, wait_for_state,
};
use serde_json::json;

use crate::faults::Faults;
use crate::files;
use crate::scenarios::{self, PersonStep, Scenario};

const PRODUCTION: &str = "production";

fn policy() -> Result<Policy> {
    let environment: Environment = PRODUCTION.parse()?;
    let mut policy = Policy::default_for(&environment);
    // Short enough for the run that exceeds it, long enough for all others.
    policy.deadline = Duration::from_secs(10);
    policy.pause_stops_deadline = false;
    policy.revert_patience = Duration::from_secs(1);
    Ok(policy)
}

/// Higher than any that a store of scenarios hands out.
const UNKNOWN_FENCE: Fence = Fence(1 << 20);

/// Writes the journal and the state of the scenarios with these names, or of all if there are none.
/// Those of older versions stay as they are.
pub async fn generate(names: &[String]) -> Result<()> {
    let mut scenarios = scenarios::all();
    if !names.is_empty() {
        scenarios.retain(|scenario| names.iter().any(|name| name == scenario.name));
    }
    ensure!(!scenarios.is_empty(), "no scenario has such a name");
    let folder = format!("schema-{SCHEMA_VERSION}");
    let policies = BTreeMap::from([(PRODUCTION.parse()?, policy()?)]);
    let mut cluster = Cluster::start_with_policies(&[(PRODUCTION, 3)], policies).await?;
    let fleet = InterceptedFleet::new(Arc::clone(&cluster.resources.fleet), Faults::default());
    cluster.resources.fleet = fleet.clone();
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    cluster.upload_samples().await?;
    let strategies = &cluster.engine.strategies;
    strategies
        .upload(hotswap_guests::HOSTILE.to_vec(), EMAIL)
        .await?;
    let load = LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), 4);
    for scenario in scenarios {
        cluster
            .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
            .await?;
        fleet.set(scenario.fault.clone());
        let state = run(&cluster, &scenario).await?;
        fleet.set(None);
        ensure!(
            state.status() == scenario.status,
            "{}: {} {:?}",
            scenario.name,
            state.status().as_str(),
            state.cause
        );
        let database = cluster.database()?;
        files::write_journal(&database, state.header.id, &folder, scenario.name)?;
        files::write_state(&state, &folder, scenario.name)?;
        let pinned = cluster.resources.blobs.read(state.header.strategy.digest);
        files::write_component(&pinned.await?.context("no component")?)?;
    }
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

async fn run(cluster: &Cluster, scenario: &Scenario) -> Result<Deployment> {
    let deployments = &cluster.engine.deployments;
    let strategy = (scenario.strategy, scenario.config.clone());
    let new = NewDeployment {
        description: Some(scenario.name.to_owned()),
        metadata: BTreeMap::from([("ticket".to_owned(), "OPS-7".to_owned())]),
        require_approval: scenario.require_approval,
        ..new_deployment(("hello", "2.0.0"), PRODUCTION, strategy)?
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    let id = trace::within(Some(trace), deployments.create(new)).await?;
    for step in &scenario.steps {
        match *step {
            PersonStep::Decide(approved) => {
                wait_for_state(&cluster.engine, id, |state| {
                    state.status() == Status::AwaitingApproval
                })
                .await?;
                let (by, comment) = (EMAIL.to_owned(), Some("seen".to_owned()));
                let decision = Decision {
                    approved,
                    by,
                    comment,
                };
                deployments.decide(id, decision).await?;
            }
            PersonStep::PauseAndResume => {
                deployments.pause(id, EMAIL).await?;
                wait_for_state(&cluster.engine, id, |state| {
                    state.status() == Status::Paused
                })
                .await?;
                deployments.resume(id, EMAIL).await?;
            }
            PersonStep::Pause => {
                wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some())
                    .await?;
                deployments.pause(id, EMAIL).await?;
            }
            PersonStep::PromoteInFull => {
                wait_for_state(&cluster.engine, id, |state| state.lifecycle.waiting).await?;
                let reason = Some("seen enough".to_owned());
                deployments.promote(id, EMAIL, reason, true).await?;
            }
            PersonStep::TellOfLostWrites => {
                wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some())
                    .await?;
                cluster.engine.observe_fence(UNKNOWN_FENCE).await?;
            }
            PersonStep::AbortWait => {
                wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some())
                    .await?;
                let reason = Some("wrong version".to_owned());
                deployments.abort(id, EMAIL, reason).await?;
            }
        }
    }
    cluster.wait_for_end(id).await
}
