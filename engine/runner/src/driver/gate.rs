//! The approval that a deployment may need before it starts.

use hotswap_core::{Cause, CauseKind, Decision, EventBody, Header};

use super::activity::APPROVAL_TO_START;
use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::timers::End;
use super::wait_scope::{Interrupt, WaitScope};

/// Journals the question whether the deployment may start.
pub(super) async fn request_approval(
    context: &DriverContext,
    header: &Header,
    mut writer: JournalWriter,
) -> Result<(), Error> {
    let prompt = format!("roll {} out to {}?", header.module, header.scope());
    let due = context.clock.now() + header.policy.deadline;
    writer.push(EventBody::Gated { prompt, due });
    writer.flush().await
}

/// Waits for the approval.
///
/// # Errors
/// [`Interrupt`], also where a person rejects the deployment or `due` comes first.
pub(super) async fn wait(
    scope: &WaitScope,
    writer: &mut JournalWriter,
    due: End,
) -> Result<(), Interrupt> {
    // There is no plan yet, so no node to repair.
    let decision = scope.wait_for(
        (None, writer),
        &APPROVAL_TO_START,
        due,
        JournalWriter::take_decision,
    );
    Ok(check_approved(decision.await?)?)
}

fn check_approved(decision: Option<Decision>) -> Result<(), Cause> {
    let message = match decision {
        Some(decision) if decision.approved => return Ok(()),
        Some(Decision {
            by,
            comment: Some(comment),
            ..
        }) => format!("rejected by {by}: {comment}"),
        Some(Decision { by, .. }) => format!("rejected by {by}"),
        None => "not approved in time".to_owned(),
    };
    Err(Cause::new(CauseKind::Rejected, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(approved: bool, comment: Option<&str>) -> Decision {
        Decision {
            approved,
            by: "ada".to_owned(),
            comment: comment.map(str::to_owned),
        }
    }

    #[test]
    fn an_approval_lets_the_deployment_start() {
        let approval = decision(true, Some("go"));
        assert_eq!(check_approved(Some(approval)), Ok(()));
    }

    #[test]
    fn a_rejection_names_its_author_and_the_comment() {
        for (decision, message) in [
            (Some(decision(false, None)), "rejected by ada"),
            (
                Some(decision(false, Some("not on a Friday"))),
                "rejected by ada: not on a Friday",
            ),
            (None, "not approved in time"),
        ] {
            let rejected = Cause::new(CauseKind::Rejected, message);
            assert_eq!(check_approved(decision), Err(rejected));
        }
    }
}
