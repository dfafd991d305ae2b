//! Every golden journal folds to the state that the release which wrote it saw, and its
//! strategy, in the component that it pinned, makes the same calls again.

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, CallReplay, Cause, CauseKind, Deployment, Event, ReplayState, ReplayedCall,
    SCHEMA_VERSION,
};
use hotswap_plugins::{CallHandler, Exit, Host, Limits, Plan, Stop};
use serde_json::Value;

use crate::files::{self, GoldenJournal};
use crate::scenarios;

/// Answers calls from a journal, and stops where that ends.
struct Replayer(CallReplay);

#[async_trait]
impl CallHandler for Replayer {
    async fn call(&mut self, call: Call) -> Result<Answer, Stop> {
        match self.0.next(call) {
            Ok(ReplayedCall::Answered(call)) => Ok(call.answer()),
            Ok(ReplayedCall::Unanswered { .. } | ReplayedCall::New { .. }) => Err(Stop::Suspend),
            Err(mismatch) => Err(Stop::Fail(mismatch)),
        }
    }

    fn is_replaying(&self) -> bool {
        self.0.is_replaying()
    }
}

#[test]
fn there_is_a_golden_journal_of_each_scenario_and_schema_version() -> Result<()> {
    for version in 1..=SCHEMA_VERSION {
        let folder = format!("schema-{version}");
        let journals = files::journals(&folder)?;
        for scenario in scenarios::all() {
            if version < scenario.since {
                continue;
            }
            let found = journals.iter().any(|journal| journal.name == scenario.name);
            ensure!(found, "{folder} lacks {}", scenario.name);
        }
        // The first version did not say so.
        let expected = (version > 1).then_some(u64::from(version));
        for journal in &journals {
            let mut versions = journal.bodies.iter().map(|body| body["schema"].as_u64());
            ensure!(versions.all(|found| found == expected), "{}", journal.name);
        }
    }
    Ok(())
}

#[test]
fn golden_journals_fold_to_the_states_that_were_seen() -> Result<()> {
    for journal in all_journals()? {
        let state = Deployment::fold(&journal.events()?)?;
        let state = serde_json::to_value(state)?;
        // Later releases add fields.
        assert_contains(&state, &journal.state, &journal.name);
    }
    Ok(())
}

#[tokio::test]
async fn golden_journals_are_replayed_by_their_strategies() -> Result<()> {
    let host = Host::new(Limits::default())?;
    for journal in all_journals()? {
        let events = journal.events()?;
        let cause = Deployment::fold(&events)?.cause;
        let state = ReplayState::fold(events)?;
        // A deployment that was rejected at its start never ran.
        if state.nodes.is_empty() {
            continue;
        }
        let component = files::read_component(state.header.strategy.digest)?;
        let strategy = host.load(&component).await?;
        let plan = Plan {
            deployment: state.header.id,
            environment: state.header.environment.clone(),
            module: state.header.module.clone(),
            nodes: state.nodes,
            config: state.header.config.clone(),
            limits: state.header.limits,
        };
        let mut replayer = Replayer(CallReplay::new(state.calls));
        let exit = strategy.run(&plan, &mut replayer).await;
        check_end(exit, cause, &replayer).with_context(|| journal.name.clone())?;
    }
    Ok(())
}

/// Checks that the run ended as the journal says.
fn check_end(exit: Exit, cause: Option<Cause>, replayer: &Replayer) -> Result<()> {
    let kind = cause.as_ref().map(|cause| cause.kind);
    let message = cause.as_ref().map(|cause| cause.message.clone());
    // Where the policy ended it at a call, the strategy did not get that answer any more.
    let by_policy = kind == Some(CauseKind::Policy);
    match exit {
        Exit::Succeeded => {
            ensure!(by_policy || cause.is_none(), "{cause:?}");
            let finished = replayer.0.check_finished();
            finished.map_err(|mismatch| anyhow::anyhow!("{mismatch}"))
        }
        Exit::Failed(reason) => {
            let is_same = by_policy || message.as_ref() == Some(&reason);
            ensure!(is_same, "{reason}: {message:?}");
            Ok(())
        }
        Exit::Trapped(trap) => {
            ensure!(cause.as_ref() == Some(&trap), "{trap:?}: {cause:?}");
            Ok(())
        }
        Exit::Stopped(Stop::Suspend) => {
            // The engine ended it.
            let by_engine = [CauseKind::Abort, CauseKind::Deadline, CauseKind::Policy];
            ensure!(
                kind.is_some_and(|kind| by_engine.contains(&kind)),
                "{cause:?}"
            );
            Ok(())
        }
        Exit::NoRoom(reason) => anyhow::bail!("{reason}"),
        Exit::Stopped(Stop::Fail(mismatch)) => anyhow::bail!("{mismatch}"),
    }
}

fn all_journals() -> Result<Vec<GoldenJournal>> {
    let mut all = Vec::new();
    for version in 1..=SCHEMA_VERSION {
        all.extend(files::journals(&format!("schema-{version}"))?);
    }
    Ok(all)
}

impl GoldenJournal {
    fn events(&self) -> Result<Vec<Event>> {
        let lines = self.lines.iter().zip(&self.bodies);
        let events = lines.map(|(line, body)| {
            let body = serde_json::to_vec(body)?;
            let body = hotswap_core::decode_event(&body)?;
            let number = |name: &str| line[name].as_u64().context("a number");
            Ok(Event {
                seq: number("seq")?,
                position: number("position")?,
                at: hotswap_core::Timestamp::from_millis(number("at")?),
                body,
            })
        });
        events.collect()
    }
}

/// Checks that `whole` has everything that `part` has.
fn assert_contains(whole: &Value, part: &Value, place: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, part) in part {
                let place = format!("{place}/{name}");
                // A field without a value may be left out.
                let whole = whole.get(name).unwrap_or(&Value::Null);
                assert_contains(whole, part, &place);
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{place}");
            for (index, (whole, part)) in whole.iter().zip(part).enumerate() {
                assert_contains(whole, part, &format!("{place}/{index}"));
            }
        }
        _ => assert_eq!(whole, part, "{place}"),
    }
}
