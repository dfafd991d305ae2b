//! The lifecycle beside a journal, folded again where it cannot be read.

use hotswap_core::{Event, Lifecycle, Outcome, Status, Step};

/// Folds the lifecycle of a deployment from those of its events that can be read. The status and
/// the end beside the journal are known.
pub(crate) fn fold_lifecycle(events: &[Event], status: &str, has_ended: bool) -> Lifecycle {
    let folded = events.iter().fold(Lifecycle::INITIAL, |lifecycle, event| {
        lifecycle.next_past_damage(&event.body)
    });
    // What has ended stays so, whatever the events tell.
    if has_ended && !folded.is_ended() {
        let step = Step::Ended(outcome(status));
        return Lifecycle { step, ..folded };
    }
    folded
}

fn outcome(status: &str) -> Outcome {
    [
        (Status::Succeeded, Outcome::Succeeded),
        (Status::Partial, Outcome::Succeeded),
        (Status::RolledBack, Outcome::RolledBack),
    ]
    .into_iter()
    .find(|(candidate, _)| candidate.as_str() == status)
    .map_or(Outcome::Failed, |(_, outcome)| outcome)
}
