//! Calls that wait: sleep, soak and approval.

use hotswap_core::{Answer, Call, Decision, ModuleVersion, RecordedCall};

use super::context::DriverContext;
use super::journal_writer::JournalWriter;
use super::soak::Soak;
use super::wait_scope::{Interrupt, WaitScope};

/// Waits until a call that waits is over, and returns its answer. After a restart only the
/// rest of the time is waited.
///
/// # Errors
/// [`Interrupt`].
pub(super) async fn complete(
    context: &DriverContext,
    scope: &WaitScope,
    module: &ModuleVersion,
    call: RecordedCall,
    writer: &mut JournalWriter,
) -> Result<Answer, Interrupt> {
    let RecordedCall {
        request,
        at,
        due,
        readings,
        ..
    } = call;
    let due = due.unwrap_or(at);
    match request {
        Call::Approval { .. } => {
            let decision = scope.wait_for(writer, due, JournalWriter::take_decision);
            Ok(Answer::Decision(decision.await?.unwrap_or_else(timed_out)))
        }
        soak @ Call::Soak { .. } => {
            let Some(mut soak) = Soak::resume(soak, module, (at, due), readings) else {
                return Ok(Answer::Done);
            };
            let verdict = soak.run(context.fleet.as_ref(), context.clock.as_ref());
            Ok(Answer::Verdict(scope.run(writer, verdict).await?))
        }
        _ => {
            scope.run(writer, scope.sleep_until(due)).await?;
            Ok(Answer::Done)
        }
    }
}

/// The decision on a question that was not answered before its time-out.
fn timed_out() -> Decision {
    Decision {
        approved: false,
        by: String::new(),
        comment: Some("no decision in time".to_owned()),
    }
}
