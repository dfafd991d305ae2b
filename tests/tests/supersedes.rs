//! A deployment supersedes the one that is under way: both or neither, whatever crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use hotswap_core::{
    Append, Cause, CauseKind, Deployment, DeploymentId, EventBody, Header, IdempotencyKey, Outcome,
    Status, Timestamp,
};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Engine, NewDeployment};
use hotswap_store::{AppendError, CreateError, Journal};
use hotswap_tests::{
    Cluster, CrashPoint, CrashTiming, CrashingJournal, EMAIL, InterceptedJournal, Interceptor,
    new_deployment, wait_for_end, wait_for_state,
};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";

async fn cluster() -> Result<Cluster> {
    Cluster::start_with_hello(PRODUCTION, 2).await
}

fn request(module: &str, version: &str, strategy: (&str, Value)) -> NewDeployment {
    NewDeployment {
        supersede: true,
        ..new_deployment((module, version), PRODUCTION, strategy).expect("a valid request")
    }
}

fn slow() -> (&'static str, Value) {
    ("rolling", json!({ "batch": 1, "settle": "1h" }))
}

fn direct() -> (&'static str, Value) {
    ("direct", json!({}))
}

/// Waits until the deployment is in a sleep, or has ended.
async fn wait_for_wait(engine: &Engine, id: DeploymentId) -> Result<Deployment> {
    wait_for_state(engine, id, |state| {
        state.lifecycle.waiting || state.lifecycle.aborting || state.status().is_final()
    })
    .await
}

/// Starts a rollout of version 2.0.0. Returns when it is in its first sleep.
async fn begin_slowly(cluster: &Cluster) -> Result<DeploymentId> {
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, slow())
        .await?;
    wait_for_wait(&cluster.engine, id).await?;
    Ok(id)
}

/// The positions of the first plan and of the end of a deployment.
async fn plan_and_end(journal: &dyn Journal, id: DeploymentId) -> Result<(Option<u64>, u64)> {
    let events = journal.events(id, 0, usize::MAX).await?;
    let plan = events
        .iter()
        .find(|event| matches!(event.body, EventBody::Planned { .. }));
    let end = events.last().context("no events")?;
    ensure!(matches!(end.body, EventBody::Ended { .. }), "not ended");
    Ok((plan.map(|event| event.position), end.position))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_one_begins_when_the_old_one_has_been_reverted() -> Result<()> {
    let cluster = cluster().await?;
    let deployments = &cluster.engine.deployments;
    let old = begin_slowly(&cluster).await?;
    let busy = NewDeployment {
        supersede: false,
        ..request("hello", "3.0.0", direct())
    };
    let busy = deployments.create(busy).await;
    assert!(
        matches!(busy, Err(Error::Busy { by }) if by == old),
        "{busy:?}"
    );
    let new = deployments
        .create(request("hello", "3.0.0", direct()))
        .await?;
    // Both in one step.
    assert!(deployments.get(old).await?.lifecycle.aborting);
    assert_eq!(deployments.get(new).await?.header.supersedes, Some(old));
    let old_state = cluster.wait_for_end(old).await?;
    assert_eq!(old_state.status(), Status::RolledBack);
    let cause = old_state.cause.context("no cause")?;
    assert_eq!(cause.kind, CauseKind::Abort);
    assert!(cause.message.contains(&new.to_string()), "{cause}");
    let new_state = cluster.wait_for_end(new).await?;
    assert_eq!(
        new_state.status(),
        Status::Succeeded,
        "{:?}",
        new_state.cause
    );
    assert_eq!(deployments.waits_for(&new_state).await?, None);
    // It found the nodes reverted.
    for node in new_state.nodes.values() {
        let before = node.before.as_ref().context("no version before")?;
        assert_eq!(before.version.to_string(), "1.0.0");
    }
    let store = &cluster.resources.store;
    let (_, old_end) = plan_and_end(store, old).await?;
    let (new_plan, _) = plan_and_end(store, new).await?;
    assert!(new_plan.context("no plan")? > old_end);
    for (node, running) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(running.as_deref(), Some("3.0.0"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_that_wait_the_last_one_counts_and_the_others_end_unstarted() -> Result<()> {
    let cluster = cluster().await?;
    let deployments = &cluster.engine.deployments;
    let old = begin_slowly(&cluster).await?;
    // The old one cannot end: nobody drives it.
    cluster.engine.shutdown().await;
    let mut waiting = Vec::new();
    for version in ["2.0.0", "3.0.0", "3.0.0"] {
        let new = request("hello", version, direct());
        waiting.push(deployments.create(new).await?);
    }
    let state = deployments.get(waiting[2]).await?;
    assert_eq!(deployments.waits_for(&state).await?, Some(old));
    let open = cluster.resources.store.open_deployments().await?;
    assert_eq!(open, [old, waiting[2]]);
    for id in &waiting[..2] {
        let state = deployments.get(*id).await?;
        assert_eq!(state.status(), Status::Failed);
        assert!(state.nodes.is_empty(), "it has begun");
        let cause = state.cause.context("no cause")?;
        assert!(cause.message.contains("superseded"), "{cause}");
    }
    let mut cluster = cluster;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let last = cluster.wait_for_end(waiting[2]).await?;
    assert_eq!(last.status(), Status::Succeeded, "{:?}", last.cause);
    assert_eq!(
        cluster.wait_for_end(old).await?.status(),
        Status::RolledBack
    );
    cluster.shutdown().await;
    Ok(())
}

/// Superseded while both are driven: the driver of the waiting one notices that it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_supersede_each_other_at_once_leave_one_that_succeeds() -> Result<()> {
    let cluster = cluster().await?;
    let old = begin_slowly(&cluster).await?;
    let requests = (0..16).map(|_| {
        let deployments = cluster.engine.deployments.clone();
        tokio::spawn(async move {
            let new = request("hello", "3.0.0", direct());
            deployments.create(new).await
        })
    });
    let requests: Vec<_> = requests.collect();
    let mut statuses = Vec::new();
    let mut created = Vec::new();
    for request in requests {
        created.push(request.await??);
    }
    for id in &created {
        statuses.push(cluster.wait_for_end(*id).await?.status());
    }
    assert!(statuses.contains(&Status::Succeeded), "{statuses:?}");
    assert_eq!(
        cluster.wait_for_end(old).await?.status(),
        Status::RolledBack
    );
    assert!(cluster.resources.store.open_deployments().await?.is_empty());
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_can_be_aborted_and_the_other_ends_all_the_same() -> Result<()> {
    let mut cluster = cluster().await?;
    let old = begin_slowly(&cluster).await?;
    cluster.engine.shutdown().await;
    let deployments = cluster.engine.deployments.clone();
    let new = deployments
        .create(request("hello", "3.0.0", direct()))
        .await?;
    deployments.abort(new, EMAIL, None).await?;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    assert_eq!(cluster.wait_for_end(new).await?.status(), Status::Failed);
    assert_eq!(
        cluster.wait_for_end(old).await?.status(),
        Status::RolledBack
    );
    let next = request("hello", "3.0.0", direct());
    let next = cluster.engine.deployments.create(next).await?;
    let next = cluster.wait_for_end(next).await?;
    assert_eq!(
        (next.status(), next.header.supersedes),
        (Status::Succeeded, None)
    );
    cluster.shutdown().await;
    Ok(())
}

/// Ends the other deployment right before the create that supersedes it.
#[derive(Default)]
struct EndsBefore {
    has_raced: AtomicBool,
}

/// What ends a deployment after all that its journal holds now.
async fn end_of(journal: &dyn Journal, deployment: DeploymentId, at: Timestamp) -> Append {
    Append {
        deployment,
        expected: journal.head(deployment).await.unwrap().next_seq,
        fence: None,
        at,
        bodies: vec![
            EventBody::Reverting {
                cause: Cause::new(CauseKind::Abort, "enough"),
            },
            EventBody::Ended {
                outcome: Outcome::Failed,
                failures: Vec::new(),
                not_updated: Vec::new(),
            },
        ],
    }
}

#[async_trait]
impl Interceptor for EndsBefore {
    async fn create(
        &self,
        journal: &dyn Journal,
        header: Header,
        at: Timestamp,
    ) -> Result<(), CreateError> {
        if let Some(old) = header.supersedes
            && !self.has_raced.swap(true, Ordering::SeqCst)
        {
            // The old one's driver may append at the same time.
            while let Err(error) = journal.append(end_of(journal, old, at).await).await {
                assert!(matches!(error, AppendError::Conflict(_)), "{error}");
            }
        }
        journal.create(header, at).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_old_one_ends_meanwhile_the_new_one_simply_begins() -> Result<()> {
    let mut cluster = cluster().await?;
    let journal = InterceptedJournal::new(
        Arc::new(cluster.resources.store.clone()),
        EndsBefore::default(),
    );
    cluster.restart_engine(journal).await?;
    let gated = NewDeployment {
        require_approval: true,
        supersede: false,
        ..request("hello", "2.0.0", direct())
    };
    let deployments = &cluster.engine.deployments;
    let old = deployments.create(gated).await?;
    let new = deployments
        .create(request("hello", "3.0.0", direct()))
        .await?;
    assert_eq!(deployments.get(old).await?.status(), Status::Failed);
    let state = cluster.wait_for_end(new).await?;
    assert_eq!(
        (state.status(), state.header.supersedes),
        (Status::Succeeded, None)
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_journal_cannot_be_read_is_not_superseded_but_terminated() -> Result<()> {
    let mut cluster = cluster().await?;
    let old = begin_slowly(&cluster).await?;
    cluster.engine.shutdown().await;
    ensure!(cluster.replace_in_journals("\"sleep\"", "\"slumber\"")? > 0);
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let deployments = cluster.engine.deployments.clone();
    let refused = deployments
        .create(request("hello", "3.0.0", direct()))
        .await;
    assert!(
        matches!(&refused, Err(Error::DamagedPredecessor { by, .. }) if *by == old),
        "{refused:?}"
    );
    deployments.terminate(old, EMAIL, None).await?;
    cluster.wait_for_end(old).await?;
    let new = deployments
        .create(request("hello", "3.0.0", direct()))
        .await?;
    let new = cluster.wait_for_end(new).await?;
    assert_eq!(new.status(), Status::Succeeded, "{:?}", new.cause);
    cluster.shutdown().await;
    Ok(())
}

/// What a person does: supersedes the old deployment once it waits. May be repeated.
async fn supersede(engine: Engine, module: String, old: DeploymentId) -> Result<DeploymentId> {
    wait_for_wait(&engine, old).await?;
    let key: IdempotencyKey = module.parse()?;
    let new = NewDeployment {
        idempotency_key: Some(key),
        ..request(&module, "3.0.0", direct())
    };
    Ok(engine.deployments.create(new).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supersession_survives_every_crash() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    let mut points = vec![None];
    let mut number = 0;
    while let Some(point) = points.pop() {
        let module = format!("module-{number}");
        number += 1;
        cluster.restart_engine(Arc::clone(&store)).await?;
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            cluster.upload(&module, version, component).await?;
        }
        cluster
            .roll_out((&module, "1.0.0"), PRODUCTION, direct())
            .await?;
        let crashing = CrashingJournal::at(Arc::clone(&store), point);
        cluster.restart_engine(crashing.clone()).await?;
        let old = cluster
            .deploy((&module, "2.0.0"), PRODUCTION, slow())
            .await?;
        let engine = cluster.engine.clone();
        let person = tokio::spawn(supersede(engine, module.clone(), old));
        if point.is_some() {
            let crash = crashing.wait_for_crash();
            tokio::time::timeout(Duration::from_secs(60), crash).await?;
            person.abort();
            cluster.restart_engine(Arc::clone(&store)).await?;
        } else {
            person.await??;
        }
        let new = supersede(cluster.engine.clone(), module.clone(), old).await?;
        let new_state = wait_for_end(&cluster.engine, new).await?;
        let old_state = wait_for_end(&cluster.engine, old).await?;
        let what = format!("crashed at {point:?}");
        assert_eq!(old_state.status(), Status::RolledBack, "{what}");
        assert_eq!(
            new_state.status(),
            Status::Succeeded,
            "{what}: {:?}",
            new_state.cause
        );
        let (_, old_end) = plan_and_end(store.as_ref(), old).await?;
        let (new_plan, _) = plan_and_end(store.as_ref(), new).await?;
        assert!(new_plan > Some(old_end), "{what}");
        for (node, running) in cluster.active_versions(PRODUCTION, &module).await? {
            assert_eq!(running.as_deref(), Some("3.0.0"), "{what}: {node}");
        }
        if point.is_none() {
            let count = crashing.append_count();
            ensure!(count >= 8, "{count}");
            points = (0..count)
                .flat_map(|append| {
                    let at = |timing| Some(CrashPoint { append, timing });
                    [at(CrashTiming::BeforeAppend), at(CrashTiming::AfterAppend)]
                })
                .collect();
        }
    }
    cluster.shutdown().await;
    Ok(())
}
