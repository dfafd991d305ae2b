//! A request that was accepted holds: an abort is never followed by a success, and of two
//! decisions exactly one counts. Raced at the one point where it matters, and at random.

use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use hotswap_core::{
    Answer, Append, CauseKind, Decision, Deployment, DeploymentId, EventBody, Outcome, Status, Step,
};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Engine, NewDeployment};
use hotswap_store::{AppendError, Head, Journal};
use hotswap_tests::{
    EMAIL, InterceptedJournal, Interceptor, StaticCluster, new_deployment, wait_for_end,
    wait_for_state,
};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// Rounds of each random race.
const ROUNDS: u32 = 1000;

async fn deploy(
    engine: &Engine,
    strategy: (&str, Value),
    require_approval: bool,
) -> Result<DeploymentId> {
    let new = NewDeployment {
        require_approval,
        ..new_deployment(("hello", "1.0.0"), PRODUCTION, strategy)?
    };
    Ok(engine.deployments.create(new).await?)
}

fn decision(approved: bool) -> Decision {
    Decision {
        approved,
        by: EMAIL.to_owned(),
        comment: None,
    }
}

fn abort() -> EventBody {
    EventBody::AbortRequested {
        by: EMAIL.to_owned(),
        reason: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_accepted_right_before_the_success_rolls_back() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_success = |body: &EventBody| matches!(body, EventBody::Settling(_));
    let (engine, journal) = cluster.start_racing(is_success, abort()).await?;
    let id = deploy(&engine, ("direct", json!({})), false).await?;
    let state = wait_for_end(&engine, id).await?;
    journal
        .take_result()
        .await
        .context("the abort did not race")??;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    engine.shutdown().await;
    Ok(())
}

/// The append that the abort precedes is not the success, so only a check of the driver before
/// the success can see the abort.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_accepted_right_before_a_call_rolls_back() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_last_intent = |body: &EventBody| matches!(body, EventBody::Called { answer: None, .. });
    let (engine, journal) = cluster.start_racing(is_last_intent, abort()).await?;
    let id = deploy(&engine, ("direct", json!({})), false).await?;
    let state = wait_for_end(&engine, id).await?;
    journal
        .take_result()
        .await
        .context("the abort did not race")??;
    assert_ne!(state.status(), Status::Succeeded);
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_after_the_success_is_rejected_and_says_so() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_end = |body: &EventBody| {
        matches!(
            body,
            EventBody::Ended {
                outcome: Outcome::Succeeded,
                ..
            }
        )
    };
    let (engine, journal) = cluster.start_racing(is_end, abort()).await?;
    let id = deploy(&engine, ("direct", json!({})), false).await?;
    let state = wait_for_end(&engine, id).await?;
    let result = journal
        .take_result()
        .await
        .context("the abort did not race")?;
    let Err(AppendError::IllegalTransition(reason)) = result else {
        panic!("{result:?}");
    };
    assert!(reason.to_string().contains("succeeded"), "{reason}");
    assert_eq!(state.status(), Status::Succeeded);
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_accepted_right_before_the_success_holds_it_back() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_success = |body: &EventBody| matches!(body, EventBody::Settling(_));
    let pause = EventBody::Paused {
        by: EMAIL.to_owned(),
        reason: None,
    };
    let (engine, journal) = cluster.start_racing(is_success, pause).await?;
    let id = deploy(&engine, ("direct", json!({})), false).await?;
    wait_for_state(&engine, id, |state| state.status() == Status::Paused).await?;
    journal
        .take_result()
        .await
        .context("the pause did not race")??;
    engine.shutdown().await;
    // Neither this engine nor the next one goes on.
    let engine = cluster.start_engine().await?;
    engine.deployments.resume(id, EMAIL).await?;
    let state = wait_for_end(&engine, id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let events = cluster.journal().events(id, 0, usize::MAX).await?;
    let position = |is_wanted: fn(&EventBody) -> bool| {
        let found = events.iter().position(|event| is_wanted(&event.body));
        found.context("no such event")
    };
    let resumed = position(|body| matches!(body, EventBody::Resumed { .. }))?;
    assert!(resumed < position(is_success)?);
    engine.shutdown().await;
    Ok(())
}

/// Other deployments run their strategies meanwhile, as many as may at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_a_deployment_that_waits_for_its_turn() -> Result<()> {
    let mut cluster = StaticCluster::new().await?;
    cluster.resources.limits.instances = 1;
    cluster.resources.limits.suspend_after = Duration::from_secs(3600);
    let engine = cluster.start_engine().await?;
    let mut upload = engine.modules.upload().await?;
    upload.write(hotswap_guests::HELLO_V1).await?;
    upload
        .finish("other".parse()?, "1.0.0".parse()?, EMAIL)
        .await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "10m" }));
    let running = deploy(&engine, rolling, false).await?;
    wait_for_state(&engine, running, |state| state.lifecycle.waiting).await?;
    let new = new_deployment(("other", "1.0.0"), PRODUCTION, ("direct", json!({})))?;
    let waiting = engine.deployments.create(new).await?;
    let is_running = |state: &Deployment| state.lifecycle.step == Step::Running;
    wait_for_state(&engine, waiting, is_running).await?;
    engine.deployments.abort(waiting, EMAIL, None).await?;
    let state = wait_for_end(&engine, waiting).await?;
    let cause = state.cause.context("no cause")?;
    assert_eq!(cause.kind, CauseKind::Abort, "{cause:?}");
    let state = engine.deployments.get(running).await?;
    assert!(state.lifecycle.waiting, "{:?}", state.lifecycle);
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_accepted_right_before_its_time_out_counts() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let is_time_out = |body: &EventBody| {
        matches!(
            body,
            EventBody::Answered {
                answer: Answer::Decision(_),
                ..
            }
        )
    };
    let approved = EventBody::Decided {
        decision: decision(true),
    };
    let (engine, journal) = cluster.start_racing(is_time_out, approved).await?;
    let config = json!({ "approval": true, "approvalTimeout": "50ms", "soak": "1ms" });
    let id = deploy(&engine, ("blue-green", config), false).await?;
    let state = wait_for_end(&engine, id).await?;
    journal
        .take_result()
        .await
        .context("the approval did not race")??;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    engine.shutdown().await;
    Ok(())
}

/// Lets another person decide first: right before the decision of [`EMAIL`], `eve` approves, and
/// the deployment goes on to its next question.
struct FasterDecision;

#[async_trait]
impl Interceptor for FasterDecision {
    async fn append(
        &self,
        journal: &dyn Journal,
        append: Append,
    ) -> std::result::Result<Head, AppendError> {
        let [EventBody::Decided { decision }] = &append.bodies[..] else {
            return journal.append(append).await;
        };
        if decision.by != EMAIL {
            return journal.append(append).await;
        }
        let id = append.deployment;
        if step(journal, id).await == Step::Gated {
            let mut appended = journal.subscribe();
            let by = "eve".to_owned();
            let decision = Decision {
                by,
                ..decision.clone()
            };
            let bodies = vec![EventBody::Decided { decision }];
            let first = Append {
                bodies,
                ..append.clone()
            };
            journal.append(first).await?;
            while step(journal, id).await != Step::Asking {
                appended.recv().await.expect("the engine appends");
            }
        }
        journal.append(append).await
    }
}

async fn step(journal: &dyn Journal, id: DeploymentId) -> Step {
    let head = journal.head(id).await;
    head.expect("the store can be read").lifecycle.step
}

/// A strategy that asks once more after the approval to start.
fn asking() -> (&'static str, Value) {
    let config = json!({ "approval": true, "approvalTimeout": "1m", "soak": "1ms" });
    ("blue-green", config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_does_not_count_for_a_question_that_was_asked_after_it() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let journal = InterceptedJournal::new(cluster.journal(), FasterDecision);
    let engine = cluster.resources.start_engine(journal).await?;
    let id = deploy(&engine, asking(), true).await?;
    let decided = engine.deployments.decide(id, decision(true)).await;
    assert!(matches!(decided, Err(Error::WaitOver(_))), "{decided:?}");
    let state = engine.deployments.get(id).await?;
    assert_eq!(state.status(), Status::AwaitingApproval);
    let start = engine
        .deployments
        .decide_wait(id, decision(true), Some("start"));
    let start = start.await;
    assert!(matches!(start, Err(Error::WaitOver(_))), "{start:?}");
    let wait = state.wait_id().context("it asks nothing")?.to_string();
    let decided = engine
        .deployments
        .decide_wait(id, decision(true), Some(&wait));
    decided.await?;
    let state = wait_for_end(&engine, id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_approvals_of_one_question_at_random_exactly_one_counts() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let engine = cluster.start_engine().await?;
    for round in 0..ROUNDS {
        let id = deploy(&engine, asking(), true).await?;
        let approve = |delay: u32| {
            let deployments = engine.deployments.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(delay.into())).await;
                let start = Some("start");
                deployments.decide_wait(id, decision(true), start).await
            })
        };
        let (one, other) = (approve(round % 7 * 100), approve(round % 11 * 100));
        let (one, other) = (one.await?, other.await?);
        assert_ne!(one.is_ok(), other.is_ok(), "round {round}");
        let error = one.err().or(other.err()).context("no error")?;
        assert!(
            matches!(error, Error::IllegalTransition(_) | Error::WaitOver(_)),
            "{error}"
        );
        engine.deployments.abort(id, EMAIL, None).await?;
        let state = wait_for_end(&engine, id).await?;
        assert_ne!(state.status(), Status::Succeeded, "round {round}");
    }
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_approval_and_a_rejection_at_random_exactly_one_counts() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let engine = cluster.start_engine().await?;
    for round in 0..ROUNDS {
        let id = deploy(&engine, ("direct", json!({})), true).await?;
        let decide = |approved: bool, delay: u32| {
            let deployments = engine.deployments.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(delay.into())).await;
                deployments.decide(id, decision(approved)).await
            })
        };
        let approval = decide(true, round % 7 * 100);
        let rejection = decide(false, round % 11 * 100);
        let (approval, rejection) = (approval.await?, rejection.await?);
        assert_ne!(approval.is_ok(), rejection.is_ok(), "round {round}");
        let expected = if approval.is_ok() {
            Status::Succeeded
        } else {
            Status::Failed
        };
        for error in [approval.err(), rejection.err()].into_iter().flatten() {
            assert!(matches!(error, Error::IllegalTransition(_)), "{error}");
        }
        let state = wait_for_end(&engine, id).await?;
        assert_eq!(state.status(), expected, "round {round}");
    }
    engine.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_accepted_at_random_a_deployment_never_succeeds() -> Result<()> {
    let cluster = StaticCluster::new().await?;
    let engine = cluster.start_engine().await?;
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let id = deploy(&engine, ("direct", json!({})), false).await?;
        tokio::time::sleep(Duration::from_micros((round % 40 * 50).into())).await;
        let abort = engine.deployments.abort(id, EMAIL, None).await;
        let state = wait_for_end(&engine, id).await?;
        match abort {
            Ok(_) => {
                accepted += 1;
                assert_ne!(state.status(), Status::Succeeded, "round {round}");
            }
            Err(Error::IllegalTransition(_)) => {
                assert_eq!(state.status(), Status::Succeeded, "round {round}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    // A race that one side always wins tests nothing.
    assert!(accepted > 0 && accepted < ROUNDS, "{accepted} of {ROUNDS}");
    engine.shutdown().await;
    Ok(())
}
