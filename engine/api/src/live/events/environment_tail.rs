use std::time::Duration;

use hotswap_core::Environment;
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Engine, Reconciler};
use hotswap_store::{EnvironmentAppended, EnvironmentEntry};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::event_cursor::EventCursor;

/// The events of one environment, in order, from a position on.
pub(super) struct EnvironmentTail {
    deployments: Deployments,
    reconciler: Reconciler,
    environment: Environment,
    appended: broadcast::Receiver<EnvironmentAppended>,
    /// Without a cursor the tail begins with the last events, this many.
    count: usize,
    /// Every event up to this position was returned.
    pub position: u64,
    /// What was deleted up to this position was deleted before the tail began.
    deleted_before: u64,
}

impl EnvironmentTail {
    /// Begins after the cursor; without one, or where that is not possible any more, with the
    /// last `count` events. Returns whether it was not possible.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn begin(
        engine: &Engine,
        (environment, count): (Environment, usize),
        cursor: Option<&EventCursor>,
    ) -> Result<(Self, bool), Error> {
        let mut tail = Self {
            appended: engine.reconciler.subscribe(),
            deployments: engine.deployments.clone(),
            reconciler: engine.reconciler.clone(),
            environment,
            count,
            position: 0,
            deleted_before: 0,
        };
        let now = tail.deployments.position().await?;
        let complete_from = tail.deployments.deleted_through().await?;
        let valid = cursor.filter(|cursor| {
            let is_of_store = cursor.is_of_epoch(&tail.deployments.epoch());
            is_of_store && (complete_from..=now).contains(&cursor.number)
        });
        match valid {
            Some(cursor) => {
                tail.position = cursor.number;
                tail.deleted_before = complete_from;
            }
            None => tail.rewind().await?,
        }
        Ok((tail, cursor.is_some() && valid.is_none()))
    }

    /// Starts over, with the last events.
    pub async fn rewind(&mut self) -> Result<(), Error> {
        // First: nothing that is deleted from here on may be missed.
        let deleted = self.deployments.deleted_through().await?;
        let now = self.deployments.position().await?;
        let last = self
            .reconciler
            .events_before(&self.environment, u64::MAX, self.count);
        let last = last.await?;
        self.position = last
            .last()
            .map_or(now, |oldest| oldest.position.saturating_sub(1));
        self.deleted_before = deleted;
        Ok(())
    }

    /// The next events, at most `limit`. Where there are none, waits for one, at most for `wait`.
    /// `None` if some were deleted before they were read: the tail then starts over.
    ///
    /// Cancel safe: the position advances only with what is returned.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Option<Vec<EnvironmentEntry>>, Error> {
        let (mut end, mut entries) = self.read(limit).await?;
        if entries.is_empty() && !wait.is_zero() {
            let appended = wait_for_append(&mut self.appended, &self.environment, self.position);
            if tokio::time::timeout(wait, appended).await.is_ok() {
                (end, entries) = self.read(limit).await?;
            }
        }
        // Looked up after the read: what was deleted before it may be missing in it.
        let deleted = self.deployments.deleted_through().await?;
        if deleted > self.position.max(self.deleted_before) {
            self.rewind().await?;
            return Ok(None);
        }
        self.position = match entries.last() {
            Some(last) if entries.len() == limit => last.position,
            _ => self.position.max(end),
        };
        Ok(Some(entries))
    }

    /// The next events, and a position up to which they are all that there are, unless they are
    /// `limit`.
    async fn read(&self, limit: usize) -> Result<(u64, Vec<EnvironmentEntry>), Error> {
        // Positions become visible in order, so the events up to this one are.
        let end = self.deployments.position().await?;
        let events = self
            .reconciler
            .events_after(Some(&self.environment), self.position, limit);
        let events = events.await?;
        let last = events.last().map_or(0, |last| last.position);
        Ok((end.max(last), events))
    }
}

/// Waits until something is appended to the environment's journal after this position.
async fn wait_for_append(
    appended: &mut broadcast::Receiver<EnvironmentAppended>,
    environment: &Environment,
    position: u64,
) {
    loop {
        match appended.recv().await {
            Ok(append) if append.environment != *environment || append.position <= position => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
