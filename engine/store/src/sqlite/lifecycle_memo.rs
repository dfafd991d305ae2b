//! The lifecycle beside a journal: a memo of the fold over its events, which can be folded anew.

use hotswap_core::{Lifecycle, Outcome, Status, Step};
use rusqlite::{Connection, Row};

use super::stored_event::readable_events_of;

/// Reads the columns lifecycle, status and ended of deployment `number`, from `column` on.
/// Folds the lifecycle from the events where the column cannot be read, because it is damaged
/// or a newer engine wrote it.
pub(super) fn read_lifecycle(
    connection: &Connection,
    number: i64,
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Lifecycle> {
    if let Ok(lifecycle) = serde_json::from_slice(row.get_ref(column)?.as_bytes()?) {
        return Ok(lifecycle);
    }
    let folded = readable_events_of(connection, number, 0)?
        .iter()
        .fold(Lifecycle::INITIAL, |lifecycle, event| {
            lifecycle.next_past_damage(&event.body)
        });
    let status: String = row.get(column + 1)?;
    let has_ended: bool = row.get(column + 2)?;
    // What has ended stays so, whatever the events tell.
    if has_ended && !folded.is_ended() {
        let outcome = outcome(&status);
        return Ok(Lifecycle {
            step: Step::Ended(outcome),
            ..folded
        });
    }
    Ok(folded)
}

fn outcome(status: &str) -> Outcome {
    [
        (Status::Succeeded, Outcome::Succeeded),
        (Status::RolledBack, Outcome::RolledBack),
    ]
    .into_iter()
    .find(|(candidate, _)| candidate.as_str() == status)
    .map_or(Outcome::Failed, |(_, outcome)| outcome)
}
