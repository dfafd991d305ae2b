//! A deployment that waits without an instance of its strategy.

use hotswap_core::{DeploymentId, EventBody, ModuleVersion, RecordedCall, ReplayState};

use super::context::DriverContext;
use super::error::Error;
use super::gate;
use super::journal_writer::JournalWriter;
use super::predecessor;
use super::revert;
use super::soak_context::SoakContext;
use super::timers::End;
use super::wait_scope::WaitScope;
use super::waiting_call;

/// What comes after a step.
pub(super) enum StepOutcome {
    /// The next step: the journal has grown.
    Advanced,
    /// The next step, which settles or reverts, with what it needs of the journal: it is not
    /// read again.
    Finishing(Box<Finishing>),
    /// A wait without an instance, then the next step.
    Suspended(Box<Suspended>),
    /// The next step, under a new lease: another deployment has changed the nodes under a
    /// later one than this driver's.
    NewLease,
    /// Nothing: the deployment has ended.
    Ended,
}

/// What the last step needs of the journal.
pub(super) struct Finishing {
    pub(super) writer: JournalWriter,
    pub(super) state: ReplayState,
}

/// All that stays in memory of a deployment while it waits. Thousands may wait.
pub(super) struct Suspended {
    pub(super) writer: JournalWriter,
    pub(super) scope: WaitScope,
    pub(super) module: ModuleVersion,
    pub(super) reason: WaitReason,
}

/// What a suspended deployment waits for.
pub(super) enum WaitReason {
    /// The end of the deployment that this one supersedes.
    Predecessor(DeploymentId),
    /// The approval to start.
    Approval {
        /// When waiting for it ends.
        due: End,
    },
    /// The end of a pause.
    Resume,
    /// The end of a call that waits.
    Call {
        number: u32,
        call: Box<RecordedCall>,
        soaks: Box<SoakContext>,
    },
}

impl Suspended {
    /// Waits, and journals the result. Returns what comes next.
    pub(super) fn wait(
        self: Box<Self>,
        context: &DriverContext,
    ) -> impl Future<Output = Result<StepOutcome, Error>> {
        // Taken apart outside the future, which would keep the box until the end of the wait.
        let Self {
            mut writer,
            scope,
            module,
            reason,
        } = *self;
        async move {
            let mut outcome = StepOutcome::Advanced;
            let result = match reason {
                WaitReason::Predecessor(predecessor) => {
                    outcome = StepOutcome::NewLease;
                    let journal = context.journal.as_ref();
                    let ended =
                        predecessor::wait_for_end(journal, &scope, &mut writer, predecessor);
                    Box::pin(ended).await.map(|()| None)
                }
                WaitReason::Approval { due } => {
                    let approved = Box::pin(gate::wait(&scope, &mut writer, due)).await;
                    approved.map(|()| None)
                }
                WaitReason::Resume => {
                    let resumed = scope
                        .wait_while_paused(context, &mut writer, End::NEVER)
                        .await;
                    resumed.map(|_| None)
                }
                WaitReason::Call {
                    number,
                    call,
                    soaks,
                } => {
                    let call = (number, call);
                    waiting_call::complete(context, &scope, &module, call, soaks, &mut writer)
                        .await
                        .map(|answer| {
                            let call = number;
                            Some(EventBody::Answered { call, answer })
                        })
                }
            };
            // Boxed, so that what waits does not keep the memory of an append.
            Box::pin(revert::append_or_begin(&mut writer, result)).await?;
            Ok(outcome)
        }
    }
}
