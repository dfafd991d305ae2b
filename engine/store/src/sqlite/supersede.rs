//! The part of a create that ends the deployments that the new one supersedes.

use hotswap_core::{DeploymentId, EventBody, Header, Timestamp};
use rusqlite::Connection;

use super::encoded_events::EncodedEvents;
use super::error::Error;
use super::journal_executor::{JournalExecutor, set_lifecycle};
use super::query;
use super::row::to_json;
use crate::Appended;
use crate::supersede::{Superseding, keep_legal};

impl JournalExecutor {
    /// Appends an abort to the deployment `open`, and ends the one that waits for it, which has
    /// changed nothing yet. In the transaction that creates the deployment of `header`.
    pub(super) fn supersede(
        &mut self,
        connection: &Connection,
        open: DeploymentId,
        header: &Header,
        at: Timestamp,
    ) -> rusqlite::Result<Vec<Appended>> {
        let superseding = Superseding::by(header);
        let (module, environment) = (&header.module.name, &header.environment);
        let waiting = query::waiting_deployment(connection, module, environment)?;
        let aborted = self.append_legal(connection, open, superseding.open, at)?;
        let mut appended = Vec::from_iter(aborted);
        if let Some(waiting) = waiting {
            let end = self.append_legal(connection, waiting, superseding.waiting, at)?;
            appended.extend(end);
        }
        Ok(appended)
    }

    /// Appends those of the events that can follow.
    fn append_legal(
        &mut self,
        connection: &Connection,
        id: DeploymentId,
        mut bodies: Vec<EventBody>,
        at: Timestamp,
    ) -> rusqlite::Result<Option<Appended>> {
        let Some(mut deployment) = self.find(connection, id)? else {
            return Ok(None);
        };
        let lifecycle = keep_legal(deployment.head.lifecycle, &mut bodies);
        if bodies.is_empty() {
            return Ok(None);
        }
        let events = EncodedEvents::encode(&bodies).map_err(conversion)?;
        let json = to_json("a lifecycle", &lifecycle).map_err(conversion)?;
        set_lifecycle(connection, &mut deployment, lifecycle, &json)?;
        self.insert_events(connection, &mut deployment, at, &events)?;
        self.cache(id, deployment);
        Ok(Some(self.appended(id, deployment.head, false)))
    }
}

/// Fails the whole transaction: other events of it may be written already.
fn conversion(error: Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
