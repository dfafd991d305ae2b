use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::{Damage, Deployment, DeploymentId, Event};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, SoakProgress};
use hotswap_signalr::{ConnectionHandle, OutboundMessage};
use poem_openapi::types::ToJSON;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell, watch};

use super::notification::{Notification, damaged, notifications};
use super::offset::{Offset, ResumePosition};
use super::replay_buffer::Retention;
use super::retry::{journal_backoff, log_retry};
use super::soak_message::{soak_argument, soak_message};
use super::topic::{StartPoint, Subscription, Topic};
use crate::view;

/// The maximum number of events per read.
const PAGE_SIZE: usize = 256;

/// The notifications of one deployment. Folds the journal from its beginning, each event
/// once, and publishes the notifications of each event.
#[derive(Debug)]
pub(crate) struct Channel {
    id: DeploymentId,
    /// Events were appended.
    appended: Notify,
    loaded: OnceCell<()>,
    retention: Retention,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The epoch of the events that were applied.
    epoch: Arc<str>,
    /// `None` until event 0 is read.
    state: Option<Deployment>,
    topic: Topic,
    /// What subscribers know of the soak that is under way.
    soak: Option<Arc<SoakProgress>>,
    /// There are no subscribers left, or the deployment is gone. New ones have to open another
    /// channel.
    is_closed: bool,
}

/// The channel was closed because its last subscriber left, or the deployment is gone. Open another
/// one.
#[derive(Debug)]
pub(crate) struct ChannelClosed;

impl Channel {
    pub fn new(id: DeploymentId, retention: Retention) -> Self {
        let inner = Inner {
            epoch: "".into(),
            state: None,
            topic: Topic::new(retention, Offset::after(0)),
            soak: None,
            is_closed: false,
        };
        Self {
            id,
            appended: Notify::new(),
            loaded: OnceCell::new(),
            retention,
            inner: Mutex::new(inner),
        }
    }

    /// Reads the journal up to its end, or waits until another caller has. Returns true
    /// where this call read it: the caller then has to spawn [`Self::run`].
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment; others where the store fails.
    pub async fn load(&self, deployments: &Deployments) -> Result<bool, Error> {
        let mut loaded_here = false;
        let load = async {
            loaded_here = true;
            self.catch_up(deployments).await.map(drop)
        };
        self.loaded.get_or_try_init(|| load).await?;
        Ok(loaded_here)
    }

    /// Reads on where a subscriber with this position may have seen more than was published here.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn reach(
        &self,
        deployments: &Deployments,
        resume: Option<&ResumePosition>,
    ) -> Result<(), Error> {
        let is_behind = {
            let inner = self.lock();
            inner.topic.may_be_behind(&inner.epoch, resume)
        };
        if is_behind {
            self.catch_up(deployments).await?;
        }
        Ok(())
    }

    /// Wakes [`Self::run`]: events were appended.
    pub fn wake(&self) {
        self.appended.notify_one();
    }

    /// Sends what is known of the soak that is under way, where that is news.
    pub fn show_soak(&self, deployments: &Deployments) {
        self.lock().show_soak(deployments);
    }

    /// Publishes the notifications of appended events until the channel is closed. Retries
    /// after failures.
    pub async fn run(self: Arc<Self>, deployments: Deployments) {
        let mut backoff = journal_backoff();
        loop {
            match self.catch_up(&deployments).await {
                Ok(true) => {
                    backoff.reset();
                    self.appended.notified().await;
                }
                Ok(false) => return,
                // It was deleted after its end, which subscribers have seen, or the store has lost it.
                Err(Error::Unknown(_)) => {
                    self.abandon(&deployments.epoch());
                    return;
                }
                Err(error) => {
                    log_retry(&error);
                    backoff.wait().await;
                }
            }
        }
    }

    /// Reads events up to the journal's end. Returns false where the channel is closed.
    async fn catch_up(&self, deployments: &Deployments) -> Result<bool, Error> {
        loop {
            let epoch = deployments.epoch();
            let next_seq = {
                let inner = self.lock();
                if inner.is_closed {
                    return Ok(false);
                }
                let known = inner.state.as_ref().filter(|_| inner.epoch == epoch);
                known.map_or(0, |state| state.next_seq)
            };
            let page = deployments
                .events(self.id, next_seq, PAGE_SIZE, Duration::ZERO)
                .await?;
            // Where event 0 cannot be read, the state before event 1 is what remains.
            let without_request = match &page.damage {
                Some(damage) if damage.seq == 0 => Some(deployments.at(self.id, 1).await?),
                _ => None,
            };
            // Some of this may be of another epoch.
            if deployments.epoch() != epoch {
                continue;
            }
            let mut inner = self.lock();
            if inner.epoch != epoch {
                inner.restart(&epoch, self.retention);
            }
            for event in &page.events {
                inner.apply(&epoch, event);
            }
            if let Some(state) = without_request {
                inner.state.get_or_insert(state).damage = None;
            }
            match page.damage {
                Some(damage) => inner.mark_damaged(&epoch, damage),
                None if page.events.len() < PAGE_SIZE => {
                    inner.show_soak(deployments);
                    return Ok(true);
                }
                None => {}
            }
        }
    }

    /// Adds a subscriber. It gets no notifications before [`Self::activate`]. Returns where
    /// the subscription starts, and a snapshot where the subscriber needs one.
    pub fn subscribe(
        &self,
        connection: &ConnectionHandle,
        resume: Option<&ResumePosition>,
    ) -> Result<Subscription, ChannelClosed> {
        let mut inner = self.lock_open()?;
        let subscription = inner.subscription(resume);
        inner.topic.subscribe(connection, subscription.start);
        Ok(subscription)
    }

    /// The answer to the subscription is sent: starts sending notifications.
    pub fn activate(&self, epoch: &str, connection_id: u64) {
        let mut inner = self.lock();
        let soak = inner.soak_message(epoch);
        inner.topic.activate(connection_id, soak.as_ref());
    }

    /// Returns true where this was the last subscriber: the channel is then closed.
    pub fn unsubscribe(&self, connection_id: u64) -> bool {
        self.lock().topic.unsubscribe(connection_id);
        self.close_if_unused()
    }

    /// Starts a stream, which reads notifications with [`Self::notifications_after`]. The
    /// channel stays open while the receiver lives.
    pub fn watch(
        &self,
        resume: Option<&ResumePosition>,
    ) -> Result<(Subscription, watch::Receiver<Offset>), ChannelClosed> {
        let inner = self.lock_open()?;
        Ok((inner.subscription(resume), inner.topic.watch()))
    }

    /// At most `limit` notifications after this offset, and whether there will be no more
    /// after these. `None` where some of them were discarded, or the offset is of another epoch.
    pub fn notifications_after(
        &self,
        epoch: &str,
        offset: Offset,
        limit: usize,
    ) -> Option<(Vec<Notification>, bool)> {
        let inner = self.lock();
        if *inner.epoch != *epoch {
            return None;
        }
        let notifications = inner.topic.after(offset, limit)?;
        let has_ended = inner
            .state
            .as_ref()
            .is_some_and(|state| state.status().is_final());
        let is_last = has_ended && notifications.len() < limit;
        Some((notifications, is_last))
    }

    /// What is known of the soak that is under way, unless that is `last`, and the argument of its
    /// message to a stream whose last notification has this offset.
    pub fn soak_after(
        &self,
        (epoch, offset): (&str, Offset),
        last: Option<&Arc<SoakProgress>>,
    ) -> Option<(Arc<SoakProgress>, Value)> {
        let inner = self.lock();
        let soak = inner.soak.as_ref()?;
        if last.is_some_and(|last| Arc::ptr_eq(last, soak)) {
            return None;
        }
        let argument = soak_argument(epoch, self.id, soak, offset);
        Some((Arc::clone(soak), argument))
    }

    /// Closes the channel where it has no subscribers and no streams. Returns whether it is
    /// closed.
    pub fn close_if_unused(&self) -> bool {
        let mut inner = self.lock();
        inner.is_closed |= inner.topic.is_unused();
        let is_closed = inner.is_closed;
        drop(inner);
        if is_closed {
            self.wake();
        }
        is_closed
    }

    /// The deployment is gone: nobody can subscribe any more.
    fn abandon(&self, epoch: &Arc<str>) {
        let mut inner = self.lock();
        inner.is_closed = true;
        if inner.epoch != *epoch {
            inner.restart(epoch, self.retention);
        }
    }

    fn lock_open(&self) -> Result<MutexGuard<'_, Inner>, ChannelClosed> {
        let inner = self.lock();
        if inner.is_closed {
            Err(ChannelClosed)
        } else {
            Ok(inner)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets everything: the store has lost events.
    fn restart(&mut self, epoch: &Arc<str>, retention: Retention) {
        let is_first = self.state.is_none();
        self.epoch = Arc::clone(epoch);
        self.state = None;
        self.soak = None;
        if !is_first {
            self.topic.restart(retention, Offset::after(0));
        }
    }

    fn subscription(&self, resume: Option<&ResumePosition>) -> Subscription {
        let start = self.topic.start_point(&self.epoch, resume);
        Subscription {
            epoch: Arc::clone(&self.epoch),
            start,
            snapshot: self.snapshot(start),
        }
    }

    /// Ignores events that were applied before.
    fn apply(&mut self, epoch: &str, event: &Event) {
        let status_before = self.state.as_ref().map(Deployment::status);
        let applied = match &mut self.state {
            Some(state) if event.seq < state.next_seq => return,
            Some(state) if state.damage.is_some() => {
                state.apply_past_damage(event);
                Ok(())
            }
            Some(state) => state.apply(event),
            none => Deployment::begin(event).map(|state| *none = Some(state)),
        };
        match (applied, &self.state) {
            (Ok(()), Some(state)) => {
                for notification in notifications(epoch, status_before, event, state) {
                    self.topic.publish(notification);
                }
            }
            (Err(why), _) => self.mark_damaged(epoch, Damage::illegal(event, &why)),
            (Ok(()), None) => {}
        }
    }

    /// Notifies subscribers once: further damage changes nothing for them.
    fn mark_damaged(&mut self, epoch: &str, damage: Damage) {
        let Some(state) = &mut self.state else {
            return;
        };
        if state.damage.is_some() {
            state.next_seq = state.next_seq.max(damage.next_seq);
            return;
        }
        state.mark_damaged(damage.clone());
        let position = damage.position.unwrap_or_default();
        let notification = damaged(epoch, state.header.id, damage, position);
        self.topic.publish(notification);
    }

    /// Sends what is known of the soak that is under way, where that is news. Not before its
    /// subscribers know that it has begun, nor after they know that it is over.
    fn show_soak(&mut self, deployments: &Deployments) {
        let Some(state) = &self.state else {
            return;
        };
        let soak = deployments.soak_progress(state);
        let is_known = match (&self.soak, &soak) {
            (Some(known), Some(soak)) => known.says_the_same_as(soak),
            (known, soak) => known.is_none() && soak.is_none(),
        };
        if is_known {
            return;
        }
        self.soak = soak;
        if let Some(message) = self.soak_message(&self.epoch) {
            self.topic.send(&message);
        }
    }

    fn soak_message(&self, epoch: &str) -> Option<OutboundMessage> {
        let (state, soak) = (self.state.as_ref()?, self.soak.as_ref()?);
        Some(soak_message(epoch, state.header.id, soak, self.topic.end()))
    }

    fn snapshot(&self, start: StartPoint) -> Option<Value> {
        if start.recovered {
            return None;
        }
        let state = self.state.clone()?;
        let deployment = view::Deployment::new(state, None, None);
        let soak = self.soak.as_deref();
        let warnings = soak.map(|soak| soak.warnings.clone());
        deployment
            .with_soak_progress(soak)
            .with_warnings(warnings.unwrap_or_default())
            .to_json()
    }
}
