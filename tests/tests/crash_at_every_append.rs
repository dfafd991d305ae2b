//! Crashes the engine before and after every append of a rollout, and sets its wall-clock
//! forward or back before it starts again. Each time, the rollout must end exactly as without a
//! crash; or by its deadline, where that has passed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use hotswap_core::{CauseKind, DeploymentId, EventBody, Status, Step};
use hotswap_runner::Engine;
use hotswap_runner::deployments::Error;
use hotswap_store::Journal;
use hotswap_tests::{
    Cluster, CrashPoint, CrashTiming, CrashingJournal, EMAIL, NODE_TOKEN, SteppedClock,
    journal_outline,
};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// By how many seconds the wall-clock is set while the engine is down. Forward by more than
/// every patience of the policy but its deadline: as if the engine had been down for so long.
const CLOCK_STEPS: [i64; 3] = [600, -BEYOND_DEADLINE, 0];
/// In seconds: a day, which is the deadline of the policy, and an hour.
const BEYOND_DEADLINE: i64 = 25 * 3600;
/// How long a run may take until it crashes, on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A rollout. Each has its own module, so that all runs can share the nodes.
struct Run<'a> {
    cluster: &'a mut Cluster,
    module: String,
    strategy: &'static str,
    config: Value,
    version: &'static str,
}

/// How far a rollout had come when the engine was lost.
#[derive(Debug, Clone, Copy)]
struct Progress {
    step: Step,
    /// Whether the journal has the intent to change a node.
    has_changed_nodes: bool,
}

/// What two runs are compared by.
#[derive(Debug, PartialEq)]
struct RunResult {
    outline: Vec<String>,
    /// For each node, the numbers of the calls that it carried out for the module, in order, as
    /// its disk has them. A call that took effect twice would be there twice.
    carried_out_calls: Vec<(String, Vec<String>)>,
}

impl Run<'_> {
    async fn prepare(&mut self) -> Result<()> {
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            self.cluster
                .upload(&self.module, version, component)
                .await?;
        }
        let first_version = (self.module.as_str(), "1.0.0");
        self.cluster
            .roll_out(first_version, PRODUCTION, ("direct", json!({})))
            .await?;
        Ok(())
    }

    async fn deploy(&mut self, journal: Arc<CrashingJournal>) -> Result<DeploymentId> {
        let journal: Arc<dyn Journal> = journal;
        restart(self.cluster, &journal).await?;
        let version = (self.module.as_str(), self.version);
        self.cluster
            .deploy(version, PRODUCTION, (self.strategy, self.config.clone()))
            .await
    }

    /// Waits until the engine crashes. With `may_end`, the rollout may also end without: on a busy
    /// machine the undisturbed run may have written an answer by itself that others write together
    /// with the next call, so others have fewer appends.
    async fn wait_for_crash(
        &self,
        journal: &CrashingJournal,
        id: DeploymentId,
        may_end: bool,
    ) -> Result<()> {
        let crash = async {
            tokio::select! {
                biased;
                () = journal.wait_for_crash() => Ok(()),
                ended = self.cluster.wait_for_end(id), if may_end => ended.map(drop),
            }
        };
        tokio::time::timeout(PATIENCE, crash).await?
    }

    async fn wait_for_result(&self, id: DeploymentId) -> Result<RunResult> {
        self.cluster.wait_for_end(id).await?;
        let events = self.cluster.events(id).await?;
        // The module's name differs from run to run.
        let outline = journal_outline(&events).into_iter();
        let outline = outline
            .map(|line| line.replace(&self.module, "MODULE"))
            .collect();
        let mut carried_out_calls = Vec::new();
        for (node, operations) in self.operations()? {
            let calls = operations.iter().filter_map(|operation| {
                let (_deployment, call) = operation.split_once('.')?;
                Some(call.to_owned())
            });
            carried_out_calls.push((node, calls.collect()));
        }
        Ok(RunResult {
            outline,
            carried_out_calls,
        })
    }

    /// For each node, the operations that it carried out for the module, in order, as its disk
    /// has them.
    fn operations(&self) -> Result<Vec<(String, Vec<String>)>> {
        let mut of_nodes = Vec::new();
        for node in self.cluster.nodes.keys() {
            let file = format!("modules/{}.json", self.module);
            let record = std::fs::read(self.cluster.node_dir(node).join(file))?;
            let record: Value = serde_json::from_slice(&record)?;
            let operations = record["operations"].as_array().context("no operations")?;
            let ids = operations.iter().filter_map(|done| done["id"].as_str());
            of_nodes.push((node.to_string(), ids.map(str::to_owned).collect()));
        }
        Ok(of_nodes)
    }

    /// How far a rollout has come.
    async fn progress(&self, id: DeploymentId) -> Result<Progress> {
        let head = self.cluster.resources.store.head(id).await?;
        let events = self.cluster.events(id).await?;
        let is_change = |body: &EventBody| match body {
            EventBody::Called { request, .. } => !request.changed_nodes().is_empty(),
            _ => false,
        };
        Ok(Progress {
            step: head.lifecycle.step,
            has_changed_nodes: events.iter().any(|event| is_change(&event.body)),
        })
    }

    /// The engine was lost at `progress`, and came back after the deadline: waits for the end,
    /// and checks that it is the right one. Returns its status.
    async fn wait_for_end_beyond_deadline(
        &self,
        id: DeploymentId,
        progress: Progress,
    ) -> Result<Status> {
        let state = self.cluster.wait_for_end(id).await?;
        let (status, cause) = (state.status(), state.cause);
        let version = match progress.step {
            // The deadline counts from the plan, and not once the nodes only drop what is old.
            Step::Requested | Step::Settling | Step::Ended(_) => {
                ensure!(status == Status::Succeeded, "{status:?}: {cause:?}");
                self.version
            }
            Step::Running => {
                let expected = match progress.has_changed_nodes {
                    true => Status::RolledBack,
                    // There was nothing to take back.
                    false => Status::Failed,
                };
                ensure!(status == expected, "{status:?}: {cause:?}");
                ensure!(state.failures.is_empty(), "{:?}", state.failures);
                let cause = cause.context("no cause")?;
                ensure!(cause.kind == CauseKind::Deadline, "{cause}");
                ensure!(cause.message.contains("not done within 1day"), "{cause}");
                "1.0.0"
            }
            step => bail!("a rollout without a gate stood at {step:?}"),
        };
        let active = self.cluster.active_versions(PRODUCTION, &self.module);
        for (node, active) in active.await? {
            ensure!(active.as_deref() == Some(version), "{node} runs {active:?}");
        }
        let events = self.cluster.events(id).await?;
        let count = |is_it: fn(&EventBody) -> bool| {
            let bodies = events.iter().map(|event| &event.body);
            bodies.filter(|body| is_it(body)).count()
        };
        let reverts = count(|body| matches!(body, EventBody::Reverting { .. }));
        let ends = count(|body| matches!(body, EventBody::Ended { .. }));
        let is_reverted = usize::from(status != Status::Succeeded);
        ensure!((reverts, ends) == (is_reverted, 1), "{events:?}");
        for (node, operations) in self.operations()? {
            let once: BTreeSet<_> = operations.iter().collect();
            ensure!(once.len() == operations.len(), "{node}: {operations:?}");
        }
        Ok(status)
    }
}

fn new_run<'a>(
    cluster: &'a mut Cluster,
    number: u64,
    (strategy, config): (&'static str, &Value),
    version: &'static str,
) -> Run<'a> {
    let (module, config) = (format!("module-{number}"), config.clone());
    Run {
        cluster,
        module,
        strategy,
        config,
        version,
    }
}

/// Starts an engine anew: without the connections of the one before, which end with it.
async fn restart(cluster: &mut Cluster, store: &Arc<dyn Journal>) -> Result<()> {
    let registry = cluster.resources.registry.clone();
    let options = hotswap_fleet::Options::default();
    let fleet = hotswap_fleet::HttpFleet::new(registry, NODE_TOKEN, options)?;
    cluster.resources.fleet = Arc::new(fleet);
    cluster.restart_engine(Arc::clone(store)).await
}

/// What a person does: ends every wait, as soon as the first one is under way. May be repeated.
async fn promote(engine: Engine, id: DeploymentId) -> Result<()> {
    loop {
        let state = engine.deployments.get(id).await?;
        if state.lifecycle.promoted || state.status().is_final() {
            return Ok(());
        }
        if state.lifecycle.waiting {
            match engine.deployments.promote(id, EMAIL, None, true).await {
                Ok(_) | Err(Error::IllegalTransition(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let wait = std::time::Duration::from_secs(30);
        let next = engine.deployments.events(id, state.next_seq, 1, wait);
        next.await?;
    }
}

async fn crash_at_every_append(
    strategy: &'static str,
    config: Value,
    version: &'static str,
) -> Result<()> {
    crash_with_person(strategy, config, version, false).await
}

/// As [`crash_at_every_append`]. `promotes`: a person ends every wait.
async fn crash_with_person(
    strategy: &'static str,
    config: Value,
    version: &'static str,
    promotes: bool,
) -> Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let (nodes, policies) = ([(PRODUCTION, 3)], BTreeMap::new());
    let time = Arc::clone(&clock) as Arc<_>;
    let mut cluster = Cluster::start_with_clock(&nodes, policies, time).await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    let counting_journal = CrashingJournal::at(Arc::clone(&store), None);
    let mut undisturbed = new_run(&mut cluster, 0, (strategy, &config), version);
    undisturbed.prepare().await?;
    let id = undisturbed.deploy(Arc::clone(&counting_journal)).await?;
    if promotes {
        promote(undisturbed.cluster.engine.clone(), id).await?;
    }
    let expected = undisturbed.wait_for_result(id).await?;
    let append_count = counting_journal.append_count();
    println!(
        "{strategy}: {append_count} appends\n{}",
        expected.outline.join("\n")
    );
    ensure!(
        append_count >= 4,
        "a rollout appends its plan, calls, settling and end"
    );

    for append in 0..append_count {
        for timing in [CrashTiming::BeforeAppend, CrashTiming::AfterAppend] {
            let number = 1 + append * 2 + u64::from(timing == CrashTiming::AfterAppend);
            let crash_point = CrashPoint { append, timing };
            let crashing_journal = CrashingJournal::at(Arc::clone(&store), Some(crash_point));
            let mut run = new_run(&mut cluster, number, (strategy, &config), version);
            restart(run.cluster, &store).await?;
            run.prepare().await?;
            let id = run.deploy(Arc::clone(&crashing_journal)).await?;
            let engine = run.cluster.engine.clone();
            let person = promotes.then(|| tokio::spawn(promote(engine, id)));
            let is_near_end = append + 2 >= append_count;
            run.wait_for_crash(&crashing_journal, id, is_near_end)
                .await?;
            if let Some(person) = &person {
                person.abort();
            }
            clock.step(CLOCK_STEPS[number as usize % CLOCK_STEPS.len()]);
            restart(run.cluster, &store).await?;
            if promotes {
                promote(run.cluster.engine.clone(), id).await?;
            }
            let result = run.wait_for_result(id).await?;
            assert_eq!(result, expected, "{strategy}, crashed at {crash_point:?}");
        }
    }
    cluster.shutdown().await;
    Ok(())
}

/// Crashes the engine before and after every append, and starts it again after the deadline.
async fn stay_away_beyond_the_deadline(
    strategy: &'static str,
    config: Value,
    version: &'static str,
) -> Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let (nodes, policies) = ([(PRODUCTION, 3)], BTreeMap::new());
    let time = Arc::clone(&clock) as Arc<_>;
    let mut cluster = Cluster::start_with_clock(&nodes, policies, time).await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    let counting_journal = CrashingJournal::at(Arc::clone(&store), None);
    let mut undisturbed = new_run(&mut cluster, 0, (strategy, &config), version);
    undisturbed.prepare().await?;
    let id = undisturbed.deploy(Arc::clone(&counting_journal)).await?;
    let end = undisturbed.cluster.wait_for_end(id).await?;
    ensure!(end.status() == Status::Succeeded, "{:?}", end.cause);

    let mut rolled_back = 0;
    let append_count = counting_journal.append_count();
    for append in 0..append_count {
        for timing in [CrashTiming::BeforeAppend, CrashTiming::AfterAppend] {
            let number = 1 + append * 2 + u64::from(timing == CrashTiming::AfterAppend);
            let crash_point = CrashPoint { append, timing };
            let crashing_journal = CrashingJournal::at(Arc::clone(&store), Some(crash_point));
            let mut run = new_run(&mut cluster, number, (strategy, &config), version);
            restart(run.cluster, &store).await?;
            run.prepare().await?;
            let id = run.deploy(Arc::clone(&crashing_journal)).await?;
            let is_near_end = append + 2 >= append_count;
            run.wait_for_crash(&crashing_journal, id, is_near_end)
                .await?;
            run.cluster.engine.shutdown().await;
            let progress = run.progress(id).await?;
            clock.step(BEYOND_DEADLINE);
            restart(run.cluster, &store).await?;
            let end = run.wait_for_end_beyond_deadline(id, progress).await;
            let context = || format!("{strategy}, crashed at {crash_point:?}: {progress:?}");
            rolled_back += u64::from(end.with_context(context)? == Status::RolledBack);
        }
    }
    // From the plan on, and up to the append with which the rollout has succeeded.
    ensure!(rolled_back >= 3, "{rolled_back} rollouts were taken back");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_is_taken_back_where_the_deadline_passes_in_a_crash() -> Result<()> {
    stay_away_beyond_the_deadline("direct", json!({}), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_is_taken_back_where_the_deadline_passes_in_a_crash() -> Result<()> {
    let config = json!({ "batch": 1, "settle": "1ms" });
    stay_away_beyond_the_deadline("rolling", config, "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_is_taken_back_where_the_deadline_passes_in_a_crash() -> Result<()> {
    stay_away_beyond_the_deadline("blue-green", json!({ "soak": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_is_taken_back_where_the_deadline_passes_in_a_crash() -> Result<()> {
    stay_away_beyond_the_deadline("canary", json!({ "soak": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_survives_every_crash() -> Result<()> {
    crash_at_every_append("direct", json!({}), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_survives_every_crash() -> Result<()> {
    crash_at_every_append("rolling", json!({ "batch": 1, "settle": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_survives_every_crash() -> Result<()> {
    crash_at_every_append("blue-green", json!({ "soak": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_survives_every_crash() -> Result<()> {
    crash_at_every_append("canary", json!({ "soak": "1ms" }), "2.0.0").await
}

/// Version 2 fails the probe, so that the engine crashes at every append of the revert too.
#[tokio::test(flavor = "multi_thread")]
async fn reverted_blue_green_survives_every_crash() -> Result<()> {
    let config = json!({ "probe": { "body": "no such text", "timeout": "1ms" } });
    crash_at_every_append("blue-green", config, "2.0.0").await
}

/// Its waits last for hours, unless a person ends them. The person's request is in the journal
/// before or after the crash, once.
#[tokio::test(flavor = "multi_thread")]
async fn promoted_rolling_survives_every_crash() -> Result<()> {
    let config = json!({ "batch": 1, "settle": "1h" });
    crash_with_person("rolling", config, "2.0.0", true).await
}
