//! A deployment that waits without an instance of its strategy.

use hotswap_core::{EventBody, ModuleVersion, RecordedCall, Timestamp};

use super::context::DriverContext;
use super::error::Error;
use super::gate;
use super::journal_writer::JournalWriter;
use super::revert;
use super::wait_scope::WaitScope;
use super::waiting_call;

/// What comes after a step.
pub(super) enum StepOutcome {
    /// The next step: the journal has grown.
    Advanced,
    /// A wait without an instance, then the next step.
    Suspended(Box<Suspended>),
    /// Nothing: the deployment has ended.
    Ended,
}

/// All that is kept of a deployment while it waits. Thousands may wait.
pub(super) struct Suspended {
    pub(super) writer: JournalWriter,
    pub(super) scope: WaitScope,
    pub(super) module: ModuleVersion,
    pub(super) reason: WaitReason,
}

/// What a suspended deployment waits for.
pub(super) enum WaitReason {
    /// The approval to start.
    Approval {
        /// When waiting for it ends.
        due: Timestamp,
    },
    /// The end of a pause.
    Resume,
    /// The end of a call that waits.
    Call {
        number: u32,
        call: Box<RecordedCall>,
    },
}

impl Suspended {
    /// Waits, and journals the result.
    ///
    /// Boxed, because the future would hold an unboxed `self` twice: as its argument, and
    /// as the parts that it is taken apart into.
    pub(super) async fn wait(self: Box<Self>, context: &DriverContext) -> Result<(), Error> {
        let Self {
            mut writer,
            scope,
            module,
            reason,
        } = *self;
        let result = match reason {
            WaitReason::Approval { due } => {
                gate::wait(&scope, &mut writer, due).await.map(|()| None)
            }
            WaitReason::Resume => scope
                .wait_while_paused(&mut writer, Timestamp::MAX)
                .await
                .map(|_| None),
            WaitReason::Call {
                number: call,
                call: recorded,
            } => waiting_call::complete(context, &scope, &module, *recorded, &mut writer)
                .await
                .map(|answer| Some(EventBody::Answered { call, answer })),
        };
        revert::append_or_begin(writer, result).await
    }
}
