//! One deployment, from wherever its journal ends to its end.

mod ending;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use futures_util::FutureExt;
use hotswap_core::{
    Cause, CauseKind, DeploymentId, EventBody, Fence, Health, ModuleVersion, Node, Step, Timestamp,
};
use hotswap_plugins::{Exit, Plan, Stop};
use hotswap_store::{Lease, ReadError};
use tokio::sync::Notify;

use crate::execution::{Execution, Parked, wait_out};
use crate::history::{self, History};
use crate::supervisor::Shared;
use crate::tape::{self, Tape};
use crate::wait::{Cut, Guard};

/// The deadline of a deployment that has not been planned.
const NEVER: Timestamp = Timestamp::MAX;

/// Drives a deployment to its end. Comes back early only when another engine has taken
/// the lease. Safe to drop at any moment, which is the same as a crash.
pub(crate) async fn drive(shared: Arc<Shared>, deployment: DeploymentId, bell: Arc<Notify>) {
    let mut pauses = backoff();
    loop {
        let attempt = AssertUnwindSafe(attempt(&shared, deployment, &bell)).catch_unwind();
        match attempt.await {
            Ok(Ok(())) => return,
            Ok(Err(Error::Tape(tape::Error::Lost))) => {
                tracing::info!(%deployment, "another engine has taken the deployment over");
                return;
            }
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%deployment, error, "deployment interrupted, trying again");
            }
            Err(_) => tracing::error!(%deployment, "driver panicked, trying again"),
        }
        tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(30))).await;
    }
}

/// Why a driver cannot go on for now. Nothing is lost: the journal tells how far it came.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the lease could not be taken")]
    Lease(#[source] ReadError),
    #[error("the journal's end could not be read")]
    Head(#[source] ReadError),
    #[error(transparent)]
    History(#[from] history::Error),
    #[error(transparent)]
    Tape(#[from] tape::Error),
}

/// What comes after a step.
enum Next {
    /// The journal is longer: look at it again.
    Again,
    /// Something to wait for without an instance.
    Wait(Waiting),
    /// The deployment has ended.
    Over,
}

/// All that is kept of a deployment while it waits: thousands may.
struct Waiting {
    module: ModuleVersion,
    /// How long the policy gives it, and when that is over.
    allowed: Duration,
    deadline: Timestamp,
    parked: For,
}

/// What a deployment waits for.
enum For {
    Gate(Timestamp),
    Parked(Parked),
}

async fn attempt(
    shared: &Shared,
    deployment: DeploymentId,
    bell: &Arc<Notify>,
) -> Result<(), Error> {
    let lease = shared
        .journal
        .acquire_lease(deployment)
        .await
        .map_err(Error::Lease)?;
    let driver = Driver {
        shared,
        deployment,
        bell,
        fence: lease.fence,
    };
    loop {
        // Boxed, so that a deployment that waits does not keep the room that a run takes.
        match Box::pin(driver.step()).await? {
            Next::Again => {}
            Next::Over => return Ok(()),
            Next::Wait(waiting) => driver.wait(waiting).await?,
        }
    }
}

struct Driver<'a> {
    shared: &'a Shared,
    deployment: DeploymentId,
    bell: &'a Arc<Notify>,
    fence: Fence,
}

impl Driver<'_> {
    /// Reads the journal and does what comes next.
    async fn step(&self) -> Result<Next, Error> {
        let journal = self.shared.journal.as_ref();
        let mut tape = self.tape(self.fence).await?;
        let history = History::read(journal, self.deployment, &mut tape).await?;
        match tape.step() {
            Step::Ended(_) => Ok(Next::Over),
            Step::Reverting => self.revert(history).await,
            Step::Settling => self.settle(history, tape).await,
            Step::Gated => Ok(wait(history, |history| {
                For::Gate(history.gate.unwrap_or(NEVER))
            })),
            Step::Requested if history.header.require_approval => self.gate(history, tape).await,
            Step::Requested | Step::Approved => self.plan(history, tape).await,
            Step::Running | Step::Asking => self.run(history, tape).await,
        }
    }

    async fn tape(&self, fence: Fence) -> Result<Tape, Error> {
        let head = self
            .shared
            .journal
            .head(self.deployment)
            .await
            .map_err(Error::Head)?;
        let (journal, clock) = (
            Arc::clone(&self.shared.journal),
            Arc::clone(&self.shared.clock),
        );
        Ok(Tape::new(
            journal,
            clock,
            self.deployment,
            Lease { fence, head },
        ))
    }

    fn guard(&self, allowed: Duration, deadline: Timestamp) -> Guard {
        Guard {
            bell: Arc::clone(self.bell),
            clock: Arc::clone(&self.shared.clock),
            deadline,
            allowed,
        }
    }

    async fn gate(&self, history: History, mut tape: Tape) -> Result<Next, Error> {
        let header = &history.header;
        let prompt = format!("roll {} out to {}?", header.module, header.environment);
        let due = self.shared.clock.now() + header.policy.deadline;
        tape.push(EventBody::Gated { prompt, due });
        tape.flush().await?;
        Ok(Next::Again)
    }

    async fn plan(&self, history: History, mut tape: Tape) -> Result<Next, Error> {
        let (environment, module) = (&history.header.environment, &history.header.module.name);
        let guard = self.guard(history.header.policy.deadline, NEVER);
        let found = guard
            .wait(&mut tape, self.shared.fleet.nodes(environment, module))
            .await;
        let found = match found {
            Ok(found) => found,
            Err(cut) => return fail(tape, cut).await,
        };
        // A node that does not answer is no part of the plan: it would fail every deployment,
        // and what it runs, to which it would have to be put back, is not known.
        let alive = |node: &Node| matches!(node.health, Health::Passing | Health::Warning);
        let nodes: Vec<_> = found
            .unwrap_or_default()
            .into_iter()
            .filter(alive)
            .collect();
        if nodes.is_empty() {
            let message = format!("no node of {environment} is alive; see: hotswap nodes");
            let cause = Cause::new(CauseKind::Unavailable, message);
            return fail(tape, Cut::Fail(cause)).await;
        }
        tape.push(EventBody::Planned { nodes });
        tape.flush().await?;
        Ok(Next::Again)
    }

    async fn run(&self, mut history: History, mut tape: Tape) -> Result<Next, Error> {
        if let Some((number, recorded)) = history.open_wait()
            && recorded.due.is_some_and(|due| {
                due.since(self.shared.clock.now()) > self.shared.limits.park_after
            })
        {
            let parked = Parked::Call(number, Box::new(recorded.clone()));
            return Ok(wait(history, |_| For::Parked(parked)));
        }
        let deadline = history.deadline();
        let guard = self.guard(history.header.policy.deadline, deadline);
        let strategy = match self
            .shared
            .strategies
            .pinned(&history.header.strategy)
            .await
        {
            Ok(strategy) => strategy,
            Err(cause) => return fail(tape, Cut::Fail(cause)).await,
        };
        let (nodes, _) = history.plan.take().unwrap_or_default();
        let plan = Plan {
            deployment: self.deployment,
            environment: history.header.environment.clone(),
            module: history.header.module.clone(),
            nodes,
            config: history.header.config.clone(),
        };
        let calls = std::mem::take(&mut history.calls);
        let header = &history.header;
        // The semaphore is never closed; a run without a permit would only be one too many.
        let _permit = self.shared.instances.acquire().await.ok();
        let mut execution =
            Execution::new(self.shared, &guard, header, &plan.nodes, &mut tape, calls);
        let cause = match strategy.run(&plan, &mut execution).await {
            Exit::Succeeded => execution.conclude().err(),
            Exit::Failed(message) => Some(Cause::new(CauseKind::Strategy, message)),
            Exit::Trapped(cause) | Exit::Stopped(Stop::Fail(cause)) => Some(cause),
            Exit::Stopped(Stop::Suspend) => {
                let parked = execution.suspended()?;
                drop(execution);
                tape.flush().await?;
                return Ok(parked.map_or(Next::Again, |parked| {
                    Next::Wait(Waiting {
                        module: history.header.module,
                        allowed: history.header.policy.deadline,
                        deadline,
                        parked: For::Parked(parked),
                    })
                }));
            }
        };
        drop(execution);
        match cause {
            Some(cause) => fail(tape, Cut::Fail(cause)).await,
            None => {
                tape.push(EventBody::Settling);
                tape.flush().await?;
                Ok(Next::Again)
            }
        }
    }

    /// Waits without an instance, and journals what came of it.
    async fn wait(&self, waiting: Waiting) -> Result<(), Error> {
        let Waiting {
            module,
            allowed,
            deadline,
            parked,
        } = waiting;
        let mut tape = self.tape(self.fence).await?;
        // What was asked for between the reading of the journal and now is in it.
        let journal = self.shared.journal.as_ref();
        drop(History::read(journal, self.deployment, &mut tape).await?);
        let guard = self.guard(allowed, deadline);
        let waited = match parked {
            For::Gate(due) => match guard.hear(&mut tape, due, Tape::take_decision).await {
                Ok(Some(decision)) if decision.approved => Ok(()),
                Ok(decision) => {
                    let message = decision.map_or_else(
                        || "nobody approved it in time".to_owned(),
                        |decision| rejection(&decision),
                    );
                    Err(Cut::Fail(Cause::new(CauseKind::Rejected, message)))
                }
                Err(cut) => Err(cut),
            },
            For::Parked(Parked::Held) => {
                let resumed = |tape: &mut Tape| (!tape.is_paused()).then_some(());
                guard.hear(&mut tape, NEVER, resumed).await.map(drop)
            }
            For::Parked(Parked::Call(call, recorded)) => {
                let answer = wait_out(self.shared, &guard, &module, *recorded, &mut tape).await;
                answer.map(|answer| tape.push(EventBody::Answered { call, answer }))
            }
        };
        match waited {
            Ok(()) => tape.flush().await?,
            Err(cut) => {
                fail(tape, cut).await?;
            }
        }
        Ok(())
    }
}

impl History {
    fn deadline(&self) -> Timestamp {
        self.plan
            .as_ref()
            .map_or(NEVER, |(_, planned)| *planned + self.header.policy.deadline)
    }
}

fn wait(history: History, parked: impl FnOnce(&History) -> For) -> Next {
    Next::Wait(Waiting {
        parked: parked(&history),
        deadline: history.deadline(),
        allowed: history.header.policy.deadline,
        module: history.header.module,
    })
}

/// Ends what the strategy does: what follows is the engine's own.
async fn fail(mut tape: Tape, cut: Cut) -> Result<Next, Error> {
    match cut {
        Cut::Fail(cause) => {
            tape.push(EventBody::Reverting { cause });
            tape.flush().await?;
            Ok(Next::Again)
        }
        Cut::Tape(error) => Err(error.into()),
    }
}

fn rejection(decision: &hotswap_core::Decision) -> String {
    let comment = decision
        .comment
        .as_ref()
        .map(|comment| format!(": {comment}"));
    format!("rejected by {}{}", decision.by, comment.unwrap_or_default())
}

fn backoff() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
        .build()
}
