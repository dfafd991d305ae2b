//! A person ends the waits of a deployment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hotswap_core::{
    Answer, Append, Deployment, DeploymentId, EventBody, Judgement, Status, Verdict,
};
use hotswap_runner::Engine;
use hotswap_runner::deployments::Error;
use hotswap_store::Journal;
use hotswap_tests::{
    Cluster, EMAIL, LeaselessJournal, StaticCluster, new_deployment, wait_for_end, wait_for_state,
};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// Rounds of the random race.
const ROUNDS: u32 = 300;

async fn cluster() -> Result<Cluster> {
    Cluster::start_with_hello(PRODUCTION, 3).await
}

/// Waits until the deployment is in a sleep or a soak that nobody has ended.
async fn wait_for_wait(engine: &Engine, id: DeploymentId) -> Result<Deployment> {
    wait_for_state(engine, id, |state| state.lifecycle.waiting).await
}

fn promote_requested(full: bool) -> EventBody {
    EventBody::PromoteRequested {
        by: EMAIL.to_owned(),
        reason: None,
        full,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_ends_one_sleep_and_one_in_full_ends_all() -> Result<()> {
    let cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    let deployments = &cluster.engine.deployments;
    let first = wait_for_wait(&cluster.engine, id).await?;
    let promoted = deployments.promote(id, EMAIL, None, false).await?;
    assert!(!promoted.lifecycle.promoted);
    // The next batch waits for its own hour.
    let second = wait_for_wait(&cluster.engine, id).await?;
    assert!(second.next_seq > first.next_seq + 1);
    let reason = Some("seen enough".to_owned());
    deployments.promote(id, EMAIL, reason, true).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    for (node, running) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(running.as_deref(), Some("2.0.0"), "{node}");
    }
    let late = deployments.promote(id, EMAIL, None, false).await;
    assert!(matches!(late, Err(Error::IllegalTransition(_))), "{late:?}");
    cluster.shutdown().await;
    Ok(())
}

fn verdicts<'a>(events: impl IntoIterator<Item = &'a hotswap_core::Event>) -> Vec<&'a Verdict> {
    let verdicts = events.into_iter().filter_map(|event| match &event.body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => Some(verdict),
        _ => None,
    });
    verdicts.collect()
}

/// Also with a strategy that rolls back where it cannot tell: nothing was measured, and the
/// journal says why the soak passed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_soak_does_not_hold_a_canary_up_and_its_verdict_names_the_person() -> Result<()>
{
    let cluster = cluster().await?;
    let config = json!({ "soak": "1h", "whenInconclusive": "rollBack" });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    wait_for_wait(&cluster.engine, id).await?;
    let deployments = &cluster.engine.deployments;
    deployments.promote(id, EMAIL, None, true).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    assert!(!verdicts.is_empty());
    for verdict in verdicts {
        assert_eq!(verdict.promoted_by.as_deref(), Some(EMAIL));
        assert_eq!(verdict.judgement, Judgement::Pass);
        let is_honest = verdict.findings.iter().any(|finding| {
            finding.judgement == Judgement::Inconclusive && finding.reason.contains(EMAIL)
        });
        assert!(is_honest, "{verdict:?}");
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_holds_over_a_restart_of_the_engine() -> Result<()> {
    let mut cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    wait_for_wait(&cluster.engine, id).await?;
    // Nobody drives it when the request is accepted.
    cluster.engine.shutdown().await;
    let deployments = &cluster.engine.deployments;
    deployments.promote(id, EMAIL, None, true).await?;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert!(state.lifecycle.promoted);
    cluster.shutdown().await;
    Ok(())
}

async fn deploy(engine: &Engine, strategy: (&str, Value)) -> Result<DeploymentId> {
    let new = new_deployment(("hello", "1.0.0"), PRODUCTION, strategy)?;
    Ok(engine.deployments.create(new).await?)
}

/// Without the promotion, the canary is rolled back: its nodes have no counters.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_accepted_right_before_the_verdict_of_a_soak_counts() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_verdict = |body: &EventBody| {
        matches!(
            body,
            EventBody::Answered {
                answer: Answer::Verdict(_),
                ..
            }
        )
    };
    let config = || json!({ "steps": [100], "soak": "300ms", "whenInconclusive": "rollBack" });
    let engine = cluster.start_engine().await?;
    let id = deploy(&engine, ("canary", config())).await?;
    let state = wait_for_end(&engine, id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    engine.shutdown().await;

    let promoted = promote_requested(false);
    let (engine, journal) = cluster.start_racing(is_verdict, promoted).await?;
    let id = deploy(&engine, ("canary", config())).await?;
    let state = wait_for_end(&engine, id).await?;
    journal
        .take_result()
        .await
        .context("the promotion did not race")??;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let events = cluster.resources.store.events(id, 0, usize::MAX).await?;
    let verdicts = verdicts(&events);
    assert_eq!(verdicts[0].promoted_by.as_deref(), Some(EMAIL));
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_after_the_last_wait_is_refused() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_end = |body: &EventBody| matches!(body, EventBody::Settling(_));
    let (engine, journal) = cluster
        .start_racing(is_end, promote_requested(false))
        .await?;
    let id = deploy(&engine, ("direct", json!({}))).await?;
    let state = wait_for_end(&engine, id).await?;
    let refused = journal
        .take_result()
        .await
        .context("the promotion did not race")?
        .unwrap_err();
    assert!(
        refused.to_string().contains("nothing to promote"),
        "{refused}"
    );
    assert_eq!(state.status(), Status::Succeeded);
    engine.shutdown().await;
    Ok(())
}

/// Each round, a promotion comes at some moment of a rollout whose waits are short. Whatever it
/// meets, it is accepted or refused with a reason, and the rollout succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_at_random_is_accepted_or_refused_and_harms_nothing() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let engine = cluster.start_engine().await?;
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let config = json!({ "batch": 1, "settle": "2ms" });
        let id = deploy(&engine, ("rolling", config)).await?;
        tokio::time::sleep(Duration::from_micros((round % 40 * 250).into())).await;
        match engine.deployments.promote(id, EMAIL, None, false).await {
            Ok(_) => accepted += 1,
            Err(Error::IllegalTransition(_) | Error::WaitOver(_)) => refused += 1,
            Err(error) => return Err(error.into()),
        }
        let state = wait_for_end(&engine, id).await?;
        assert_eq!(state.status(), Status::Succeeded, "round {round}");
    }
    // A race that one side always wins tests nothing.
    assert!(accepted > 0 && refused > 0, "{accepted}, {refused}");
    engine.shutdown().await;
    Ok(())
}

/// It names a wait that is over, and nothing else has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_in_full_of_a_wait_that_is_over_ends_no_later_one() -> Result<()> {
    let mut cluster = cluster().await?;
    let leaseless = LeaselessJournal::wrap(Arc::new(cluster.resources.store.clone()));
    cluster.restart_engine(leaseless).await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    let store = &cluster.resources.store;
    let planned = EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    let append = Append {
        deployment: id,
        expected: store.head(id).await?.next_seq,
        fence: None,
        at: Default::default(),
        bodies: vec![planned],
    };
    store.append(append).await?;
    let deployments = &cluster.engine.deployments;
    let promote = |wait| deployments.promote_wait(id, EMAIL, None, true, wait);
    let late = promote(Some("call-3")).await;
    assert!(matches!(late, Err(Error::WaitOver(_))), "{late:?}");
    assert!(!deployments.get(id).await?.lifecycle.promoted);
    assert!(promote(None).await?.lifecycle.promoted);
    cluster.shutdown().await;
    Ok(())
}
