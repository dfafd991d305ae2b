//! The deployment that another one supersedes. Until it has ended, the nodes are its own.

use hotswap_core::DeploymentId;
use hotswap_store::{Journal, ReadError};
use tokio::sync::broadcast::error::RecvError;

use super::activity::PREDECESSOR;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::wait_scope::{Interrupt, WaitScope};

/// Whether a deployment has ended. One that was deleted has.
pub(super) async fn has_ended(
    journal: &dyn Journal,
    deployment: DeploymentId,
) -> Result<bool, Error> {
    match journal.head(deployment).await {
        Ok(head) => Ok(head.lifecycle.is_ended()),
        Err(ReadError::Unknown(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Waits until `predecessor` has ended.
///
/// # Errors
/// [`Interrupt`]: an abort ends this wait too, and so does another deployment that supersedes
/// this one.
pub(super) async fn wait_for_end(
    journal: &dyn Journal,
    scope: &WaitScope,
    writer: &mut JournalWriter,
    predecessor: DeploymentId,
) -> Result<(), Interrupt> {
    let ended = ended(journal, predecessor);
    Ok(scope.run(writer, &PREDECESSOR, ended).await??)
}

async fn ended(journal: &dyn Journal, deployment: DeploymentId) -> Result<(), Error> {
    // Subscribe before the first look, so that no end in between is missed.
    let mut appended = journal.subscribe();
    while !has_ended(journal, deployment).await? {
        loop {
            match appended.recv().await {
                Ok(append) if append.deployment != deployment => {}
                Ok(append) if !append.head.lifecycle.is_ended() => {}
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
    Ok(())
}
