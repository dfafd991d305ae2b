//! Requests of people to a running deployment. Each request is an event without a fence; the
//! driver reads it.

use std::time::Duration;

use hotswap_core::{Append, Decision, Deployment, DeploymentId, EventBody, Step};
use hotswap_store::{AppendError, Appended};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Deployments, Error};

/// How long a decision waits for the question of a new deployment, which asks it first.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

impl Deployments {
    /// Requests that a deployment ends and is rolled back. The request is durable once this
    /// returns; reverting the nodes follows.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] if it has ended, or an abort was requested before.
    pub async fn abort(
        &self,
        id: DeploymentId,
        by: &str,
        reason: Option<String>,
    ) -> Result<Deployment, Error> {
        let by = by.to_owned();
        self.append(id, EventBody::AbortRequested { by, reason })
            .await
    }

    /// Ends the wait of a deployment's strategy that is under way: a sleep or a soak. `full`: and
    /// every later one. Ends no wait that begins only after this was called, unless `full`. A soak then judges what it has measured, and checks that could not be
    /// judged yet do not hold the deployment up. The request is durable once this returns.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] if nothing waits, unless `full`; where a person has to
    /// decide; and where it is paused, ends or has ended.
    pub async fn promote(
        &self,
        id: DeploymentId,
        by: &str,
        reason: Option<String>,
        full: bool,
    ) -> Result<Deployment, Error> {
        self.promote_wait(id, by, reason, full, None).await
    }

    /// As [`Self::promote`], for the wait with this id only.
    ///
    /// # Errors
    /// As [`Self::promote`]; [`Error::WaitOver`] where something else is waited for, or, with `full`,
    /// nothing.
    pub async fn promote_wait(
        &self,
        id: DeploymentId,
        by: &str,
        reason: Option<String>,
        full: bool,
        wait: Option<&str>,
    ) -> Result<Deployment, Error> {
        let by = by.to_owned();
        let body = EventBody::PromoteRequested { by, reason, full };
        if full && wait.is_none() {
            return self.append(id, body).await;
        }
        self.append_to_wait(id, body, wait).await
    }

    /// Requests the end of a deployment whose journal cannot be read. It ends without its
    /// strategy, and the nodes of its plan are reverted by what can still be read. The request
    /// is durable once this returns.
    ///
    /// # Errors
    /// [`Error::NotDamaged`] where its journal can be read; [`Error::IllegalTransition`] where
    /// it has ended.
    pub async fn terminate(
        &self,
        id: DeploymentId,
        by: &str,
        reason: Option<String>,
    ) -> Result<Deployment, Error> {
        let state = self.get(id).await?;
        if state.damage.is_none() && !state.lifecycle.is_ended() {
            return Err(Error::NotDamaged(id));
        }
        let by = by.to_owned();
        self.append_unchecked(id, EventBody::TerminationRequested { by, reason })
            .await
    }

    /// Holds the next call of a deployment's strategy until it is resumed. A wait that is
    /// under way continues. The policy says whether the deadline does; the deadline of the
    /// returned state tells when it falls.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] if it has ended, or is paused.
    pub async fn pause(&self, id: DeploymentId, by: &str) -> Result<Deployment, Error> {
        let by = by.to_owned();
        let reason = None;
        self.append(id, EventBody::Paused { by, reason }).await
    }

    /// Resumes a paused deployment.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] if it is not paused.
    pub async fn resume(&self, id: DeploymentId, by: &str) -> Result<Deployment, Error> {
        let by = by.to_owned();
        self.append(id, EventBody::Resumed { by }).await
    }

    /// Answers the question of a deployment. Waits some seconds for the question of a new
    /// deployment that needs an approval to start. Answers no question that is asked only after
    /// that: nobody has read it.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] if it asks nothing; [`Error::WaitOver`] if it asks something
    /// else by now.
    pub async fn decide(&self, id: DeploymentId, decision: Decision) -> Result<Deployment, Error> {
        self.decide_wait(id, decision, None).await
    }

    /// As [`Self::decide`], for the question with this id only.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_wait(
        &self,
        id: DeploymentId,
        decision: Decision,
        wait: Option<&str>,
    ) -> Result<Deployment, Error> {
        let appended = self.journal.subscribe();
        if self.will_ask_to_start(id).await? {
            let question = self.wait_for_question(id, appended);
            // After the time-out the append below is rejected and says why.
            drop(tokio::time::timeout(QUESTION_TIMEOUT, question).await);
        }
        self.append_to_wait(id, EventBody::Decided { decision }, wait)
            .await
    }

    async fn will_ask_to_start(&self, id: DeploymentId) -> Result<bool, Error> {
        let is_new = self.journal.head(id).await?.lifecycle.step == Step::Requested;
        Ok(is_new && self.get(id).await?.header.require_approval)
    }

    /// Returns once the deployment is no longer new, or the store is closed.
    async fn wait_for_question(
        &self,
        id: DeploymentId,
        mut appended: broadcast::Receiver<Appended>,
    ) -> Result<(), Error> {
        let mut epochs = self.journal.epochs();
        loop {
            let appended = tokio::select! {
                appended = appended.recv() => appended,
                Ok(()) = epochs.changed() => Err(RecvError::Lagged(0)),
            };
            match appended {
                Ok(append) if append.deployment != id => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
            if self.journal.head(id).await?.lifecycle.step != Step::Requested {
                return Ok(());
            }
        }
    }

    /// Appends an event, and returns the state after it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the journal cannot be read: no driver would act on the event.
    async fn append(&self, id: DeploymentId, body: EventBody) -> Result<Deployment, Error> {
        self.readable(id).await?;
        self.append_unchecked(id, body).await
    }

    /// Appends an event about what the deployment waits for now: `wait`, where that is named. It
    /// must not count for what the deployment waits for next.
    ///
    /// # Errors
    /// As [`Self::append`]; [`Error::WaitOver`] where the deployment waits for something else.
    async fn append_to_wait(
        &self,
        id: DeploymentId,
        body: EventBody,
        wait: Option<&str>,
    ) -> Result<Deployment, Error> {
        let mut state = self.readable(id).await?;
        let found = state.wait_id();
        if let (Some(wait), Some(found)) = (wait, found)
            && found.to_string() != wait
        {
            return Err(Error::WaitOver(id));
        }
        let ends_later_waits = matches!(body, EventBody::PromoteRequested { full: true, .. });
        if wait.is_some() && found.is_none() && ends_later_waits && !state.lifecycle.is_ended() {
            return Err(Error::WaitOver(id));
        }
        loop {
            let append = Append {
                deployment: id,
                expected: state.next_seq,
                fence: None,
                at: self.clock.now(),
                bodies: vec![body.clone()],
            };
            match self.journal.append(append).await {
                Ok(_) => return self.get(id).await,
                Err(AppendError::Conflict(_)) => state = self.readable(id).await?,
                Err(error) => return Err(error.into()),
            }
            let now = state.wait_id();
            if now.is_some() && now != found {
                return Err(Error::WaitOver(id));
            }
        }
    }

    /// The state of a deployment.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its journal cannot be read.
    async fn readable(&self, id: DeploymentId) -> Result<Deployment, Error> {
        let state = self.get(id).await?;
        match state.damage {
            Some(damage) => Err(Error::Damaged(damage)),
            None => Ok(state),
        }
    }

    async fn append_unchecked(
        &self,
        id: DeploymentId,
        body: EventBody,
    ) -> Result<Deployment, Error> {
        let mut expected = self.journal.head(id).await?.next_seq;
        loop {
            let append = Append {
                deployment: id,
                expected,
                fence: None,
                at: self.clock.now(),
                bodies: vec![body.clone()],
            };
            match self.journal.append(append).await {
                Ok(_) => return self.get(id).await,
                // The driver appended first. The event may still be able to follow.
                Err(AppendError::Conflict(head)) => expected = head.next_seq,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
