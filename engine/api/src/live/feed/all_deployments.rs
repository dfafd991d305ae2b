use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{Damage, Deployment, DeploymentId, Event};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Reconciler};
use hotswap_signalr::ConnectionHandle;
use hotswap_store::Entry;
use tokio::sync::OnceCell;

use super::notification::{damaged, environment_changed, notifications};
use super::offset::{Offset, ResumePosition};
use super::replay_buffer::Retention;
use super::retry::{journal_backoff, log_retry, run_to_end};
use super::soak_message::soak_message;
use super::tail::{Appends, Tail, TailEntry};
use super::topic::{StartPoint, Topic};

/// How many past events to read at the start, per notification of the replay buffer. Many
/// events have no notification.
const EVENTS_PER_NOTIFICATION: usize = 4;

/// The notifications of all deployments, and of what happens in environments outside of them.
/// Starts with the first subscriber, then follows the
/// tail of all journals for as long as the engine runs.
#[derive(Debug)]
pub(crate) struct AllDeployments {
    retention: Retention,
    loaded: OnceCell<()>,
    /// Held while events are read and published: in order, each once.
    catching_up: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The epoch of what is published.
    epoch: Arc<str>,
    /// The notifications of all events up to this position are published.
    position: u64,
    /// The states of deployments that have had events here and have not ended.
    states: HashMap<DeploymentId, Deployment>,
    /// The deployments of whose damage the subscribers know.
    known_damage: HashSet<DeploymentId>,
    topic: Topic,
}

impl AllDeployments {
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            loaded: OnceCell::new(),
            catching_up: tokio::sync::Mutex::default(),
            inner: Mutex::new(Inner {
                epoch: "".into(),
                position: 0,
                states: HashMap::new(),
                known_damage: HashSet::new(),
                topic: Topic::new(retention, Offset::after(0)),
            }),
        }
    }

    /// Adds a subscriber. It gets no notifications before [`Self::activate`]. Returns the epoch and
    /// where the subscription starts.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn subscribe(
        self: &Arc<Self>,
        (deployments, reconciler): (&Deployments, &Reconciler),
        connection: &ConnectionHandle,
        resume: Option<&ResumePosition>,
    ) -> Result<(Arc<str>, StartPoint), Error> {
        let tail = Tail {
            deployments: deployments.clone(),
            reconciler: reconciler.clone(),
        };
        let load = || async {
            // Subscribed before the read, so that no event in between is missed.
            let appends = tail.subscribe();
            self.catch_up(&tail).await?;
            let (all_deployments, tail) = (Arc::clone(self), tail.clone());
            let mut appends = Some(appends);
            tokio::spawn(run_to_end(move || {
                let appends = appends.take().unwrap_or_else(|| tail.subscribe());
                Arc::clone(&all_deployments).run(tail.clone(), appends)
            }));
            Ok::<(), Error>(())
        };
        self.loaded.get_or_try_init(load).await?;
        let is_behind = {
            let inner = self.lock();
            inner.topic.may_be_behind(&inner.epoch, resume)
        };
        if is_behind {
            self.catch_up(&tail).await?;
        }
        let mut inner = self.lock();
        let start = inner.topic.start_point(&inner.epoch, resume);
        inner.topic.subscribe(connection, start);
        Ok((Arc::clone(&inner.epoch), start))
    }

    /// The answer to the subscription is sent: starts sending notifications.
    pub fn activate(&self, connection_id: u64) {
        self.lock().topic.activate(connection_id, None);
    }

    pub fn unsubscribe(&self, connection_id: u64) {
        self.lock().topic.unsubscribe(connection_id);
    }

    /// Publishes the notifications of appended events. Continues without subscribers: those
    /// that reconnect need the replay buffer.
    async fn run(self: Arc<Self>, tail: Tail, mut appends: Appends) {
        let mut backoff = journal_backoff();
        let mut soaks = tail.deployments.subscribe_to_soaks();
        loop {
            match self.catch_up(&tail).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    log_retry(&error);
                    backoff.wait().await;
                    continue;
                }
            }
            let position = self.lock().position;
            loop {
                tokio::select! {
                    has_more = appends.wait(position) => match has_more {
                        true => break,
                        false => return,
                    },
                    // Where too many have changed, their next progress is sent.
                    deployment = soaks.next() => if let Some(id) = deployment {
                        self.lock().show_soak(&tail.deployments, id);
                    },
                }
            }
        }
    }

    async fn catch_up(&self, tail: &Tail) -> Result<(), Error> {
        let deployments = &tail.deployments;
        let _catching_up = self.catching_up.lock().await;
        loop {
            let epoch = deployments.epoch();
            if self.lock().epoch != epoch {
                self.start_over(deployments, &epoch).await?;
            }
            let position = self.lock().position;
            let entries = tail.read(position).await?;
            // Some of them may be of another epoch.
            if deployments.epoch() != epoch {
                continue;
            }
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                match entry {
                    TailEntry::Deployment(entry) => {
                        let state = self.load_state(deployments, &entry).await?;
                        self.lock().apply(&epoch, &entry, state);
                    }
                    TailEntry::Environment(entry) => {
                        let mut inner = self.lock();
                        inner.position = entry.position;
                        let changed = environment_changed(&epoch, entry);
                        inner.topic.publish(changed);
                    }
                }
            }
        }
    }

    /// Begins some way before the end of what the store has in this epoch.
    async fn start_over(&self, deployments: &Deployments, epoch: &Arc<str>) -> Result<(), Error> {
        let position = deployments.position().await?;
        let lookback = EVENTS_PER_NOTIFICATION * self.retention.notifications;
        let lookback = u64::try_from(lookback).unwrap_or(u64::MAX);
        // A subscriber from before a deletion may have missed what is gone.
        let complete_from = deployments.deleted_through().await?;
        let start = position.saturating_sub(lookback).max(complete_from);
        self.lock().start(self.retention, epoch, start);
        Ok(())
    }

    /// The state before an event. `None` if it is in memory, or this is the first event,
    /// and it can be read.
    async fn load_state(
        &self,
        deployments: &Deployments,
        entry: &Entry,
    ) -> Result<Option<Deployment>, Error> {
        let in_memory = self.lock().states.contains_key(&entry.deployment);
        let seq = match &entry.event {
            _ if in_memory => return Ok(None),
            Ok(event) if event.seq == 0 => return Ok(None),
            Ok(event) => event.seq,
            // There is no state before event 0. Where that cannot be read, the state after it
            // is what remains.
            Err(damage) => damage.seq.max(1),
        };
        Ok(Some(deployments.at(entry.deployment, seq).await?))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn start(&mut self, retention: Retention, epoch: &Arc<str>, position: u64) {
        self.epoch = Arc::clone(epoch);
        self.position = position;
        self.states.clear();
        self.known_damage.clear();
        self.topic.restart(retention, Offset::after(position));
    }

    /// Sends what is known of a soak, unless subscribers know that it is over.
    fn show_soak(&mut self, deployments: &Deployments, id: DeploymentId) {
        if self.topic.is_unused() {
            return;
        }
        let progress = match self.states.get(&id) {
            Some(state) => deployments.soak_progress(state),
            None => deployments.last_soak_progress(id),
        };
        if let Some(progress) = progress {
            let message = soak_message(&self.epoch, id, &progress, self.topic.end());
            self.topic.send(&message);
        }
    }

    fn apply(&mut self, epoch: &str, entry: &Entry, loaded_state: Option<Deployment>) {
        let id = entry.deployment;
        if let Some(state) = loaded_state {
            self.states.insert(id, state);
        }
        match &entry.event {
            Ok(event) => self.apply_event(epoch, id, event),
            Err(damage) => self.mark_damaged(epoch, id, damage.clone(), entry.position),
        }
        self.position = entry.position;
    }

    fn apply_event(&mut self, epoch: &str, id: DeploymentId, event: &Event) {
        let status_before = self.states.get(&id).map(Deployment::status);
        let applied = match self.states.get_mut(&id) {
            Some(state) if state.damage.is_some() => {
                state.apply_past_damage(event);
                Ok(())
            }
            Some(state) => state.apply(event),
            None => Deployment::begin(event).map(|state| drop(self.states.insert(id, state))),
        };
        if let Err(why) = applied {
            let damage = Damage::illegal(event, &why);
            return self.mark_damaged(epoch, id, damage, event.position);
        }
        let Some(state) = self.states.get(&id) else {
            return;
        };
        for notification in notifications(epoch, status_before, event, state) {
            self.topic.publish(notification);
        }
        if state.status().is_final() {
            self.states.remove(&id);
        }
    }

    /// Notifies subscribers once: further damage changes nothing for them.
    fn mark_damaged(&mut self, epoch: &str, id: DeploymentId, damage: Damage, position: u64) {
        let is_known = self.known_damage.contains(&id);
        if let Some(state) = self.states.get_mut(&id)
            && state.damage.is_none()
        {
            state.mark_damaged(damage.clone());
        }
        if !is_known {
            self.known_damage.insert(id);
            self.topic.publish(damaged(epoch, id, damage, position));
        }
    }
}
