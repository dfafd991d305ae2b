//! The reports of nodes to other engines that share the store.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::NodeId;
use hotswap_protocol::{Heartbeat, NodeHealth, PollAnswer, Registration};
use hotswap_store::{CatalogueError, EngineMessages, NodeRecord};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Registry;
use super::error::Error;
use super::node_entry::{NodeEntry, Report};
use super::report::parse_modules;
use super::validate::validate_registration;

#[cfg(test)]
mod tests;

/// How long reports are collected before they are passed on together.
const COLLECT: Duration = Duration::from_millis(250);

/// Reports in one message.
const MAX_REPORTS: usize = 64;

/// The last report of each node that this engine has not passed on to the others yet.
pub(super) type Outbox = BTreeMap<NodeId, PollAnswer>;

/// A message to the other engines.
#[derive(Serialize, Deserialize)]
struct Message {
    reports: Vec<SharedReport>,
}

#[derive(Serialize, Deserialize)]
struct SharedReport {
    node: NodeId,
    #[serde(flatten)]
    answer: PollAnswer,
}

impl Registry {
    /// Exchanges reports with the other engines until it is dropped. Cancel safe.
    pub(super) async fn exchange(&self, reports: Arc<dyn EngineMessages>) {
        // Subscribes first: the echo of the first message counts.
        let received = self.receive_all(reports.subscribe(), reports.echoes());
        // Apart, because a message may take long to send.
        tokio::select! {
            () = received => {}
            () = self.send_all(reports.as_ref()) => {}
        }
    }

    async fn receive_all(
        &self,
        mut received: broadcast::Receiver<Arc<[u8]>>,
        mut echoes: watch::Receiver<u64>,
    ) {
        loop {
            tokio::select! {
                message = received.recv() => match message {
                    Ok(message) => {
                        let new = self.receive(&message);
                        if let Err(error) = self.drop_forgotten(&new).await {
                            tracing::debug!(%error, "cannot ask the store for nodes that are new here");
                        }
                    }
                    // The next reports tell the same.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = echoes.changed() => self.listened(),
            }
        }
    }

    /// Sends what is collected, and at least twice in an interval of heartbeats something, because
    /// its echo tells that the channel works.
    async fn send_all(&self, reports: &dyn EngineMessages) {
        let rest = self.inner.heartbeat_interval / 2;
        let mut ticks = interval(COLLECT.min(rest));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent_at: Option<Instant> = None;
        let mut fails = false;
        loop {
            ticks.tick().await;
            let sent = match self.pass_on(reports).await {
                Ok(false) if sent_at.is_none_or(|at| at.elapsed() >= rest) => {
                    let empty = send(reports, Vec::new()).await;
                    empty.map(|()| true)
                }
                sent => sent,
            };
            let error = match sent {
                Ok(false) => continue,
                Ok(true) => {
                    sent_at = Some(Instant::now());
                    if std::mem::take(&mut fails) {
                        tracing::info!("tells the other engines of the nodes again");
                    }
                    continue;
                }
                Err(error) => error,
            };
            // Once for each row of failures.
            if std::mem::replace(&mut fails, true) {
                tracing::debug!(
                    error = &*error,
                    "cannot tell the other engines of the nodes, retrying"
                );
            } else {
                tracing::warn!(
                    error = &*error,
                    "cannot tell the other engines of the nodes that report here, retrying"
                );
            }
        }
    }

    /// Remembers to tell the other engines of a heartbeat.
    pub(super) fn share(&self, entry: &NodeEntry, heartbeat: Heartbeat) {
        let record = &entry.record;
        let registration = Registration {
            environment: Some(record.environment.to_string()),
            zone: record.zone.clone(),
            labels: record.labels.clone(),
            control_url: record.control_url.clone(),
            data_url: record.data_url.clone(),
            highest_fence: 0,
            boot: entry.boot.clone(),
            instance: record.instance.clone(),
            modules: None,
        };
        let answer = PollAnswer {
            registration,
            heartbeat,
        };
        self.lock_outbox().insert(record.id.clone(), answer);
    }

    pub(super) fn lock_outbox(&self) -> MutexGuard<'_, Outbox> {
        let outbox = self.inner.outbox.lock();
        outbox.unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what was collected. Returns whether there was something. What cannot be sent is
    /// made up for by the next heartbeats.
    async fn pass_on(&self, reports: &dyn EngineMessages) -> Result<bool, CatalogueError> {
        let outbox = std::mem::take(&mut *self.lock_outbox());
        let is_something = !outbox.is_empty();
        let collected: Vec<_> = outbox
            .into_iter()
            .map(|(node, answer)| SharedReport { node, answer })
            .collect();
        let mut collected = collected.into_iter();
        loop {
            let reports_of_message: Vec<_> = collected.by_ref().take(MAX_REPORTS).collect();
            if reports_of_message.is_empty() {
                return Ok(is_something);
            }
            send(reports, reports_of_message).await?;
        }
    }

    /// Counts the reports of a message. Returns the nodes that were not known here.
    fn receive(&self, message: &[u8]) -> Vec<NodeId> {
        let mut new = Vec::new();
        match serde_json::from_slice::<Message>(message) {
            Ok(message) => {
                for SharedReport { node, answer } in message.reports {
                    let is_new = self.member(&node).is_none();
                    match self.heard_elsewhere(&node, answer) {
                        Ok(()) if is_new => new.push(node),
                        Ok(()) => {}
                        Err(error) => {
                            tracing::debug!(%node, %error, "a report to another engine cannot be used");
                        }
                    }
                }
            }
            // A newer engine may have written it.
            Err(error) => tracing::debug!(%error, "a message of another engine cannot be read"),
        }
        new
    }

    /// Counts what a node reported to another engine, as if it had reported it here. That engine
    /// has stored its registration.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn heard_elsewhere(&self, id: &NodeId, answer: PollAnswer) -> Result<(), Error> {
        let PollAnswer {
            registration,
            heartbeat,
        } = answer;
        let boot = registration.boot.clone();
        let selectors = self.environment_selectors();
        let now = self.inner.clock.now();
        let (mut record, control_url) =
            validate_registration(id.clone(), registration, &selectors, now)?;
        let is_known = {
            let mut nodes = self.write();
            let known = nodes.get(id);
            if let Some(known) = known {
                record.registered_at = known.record.registered_at;
            }
            let is_old = |entry: &NodeEntry| {
                let boot = boot.as_ref();
                boot.is_some_and(|boot| entry.replaced_boots.contains(boot))
            };
            match known {
                // It was sent before the node was restarted.
                Some(entry) if is_old(entry) => return Ok(()),
                Some(entry) if entry.boot == boot && *entry.record == record => true,
                _ => {
                    let replaced_boots = known
                        .map(|entry| entry.replaced_by(boot.as_deref()))
                        .unwrap_or_default();
                    let modules = heartbeat.modules.clone();
                    let entry = NodeEntry {
                        last_heard: Some(self.inner.heard_now()),
                        last_report: Some(Report {
                            health: NodeHealth::Passing,
                            reason: None,
                        }),
                        boot: boot.clone(),
                        // The other engine may not have had the new selectors yet.
                        must_register: known.is_some_and(|known| known.must_register),
                        replaced_boots,
                        modules: modules.map(parse_modules).transpose()?,
                        ..NodeEntry::unheard(record, control_url)
                    };
                    nodes.insert(id.clone(), entry);
                    false
                }
            }
        };
        if !is_known {
            self.inner.members_changed.send_modify(|count| *count += 1);
            self.inner.reports.send_modify(|count| *count += 1);
        }
        // Addresses and start are those of the record by now.
        let heartbeat = Heartbeat {
            boot,
            control_url: None,
            data_url: None,
            ..heartbeat
        };
        self.count_heartbeat(id, heartbeat, false)?;
        Ok(())
    }

    /// Forgets the nodes whose records another engine has deleted.
    ///
    /// # Errors
    /// [`Error::Load`] if the store cannot be read.
    pub async fn drop_deleted(&self) -> Result<(), Error> {
        self.drop_unstored(|_| true).await
    }

    /// Forgets those of some new nodes that are not in the store: a report may arrive after its node
    /// has been deleted.
    async fn drop_forgotten(&self, new: &[NodeId]) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        self.drop_unstored(|id| new.contains(id)).await
    }

    async fn drop_unstored(&self, may_be_gone: impl Fn(&NodeId) -> bool) -> Result<(), Error> {
        // A node that registers from here on may be in the store after it was read. It has another
        // record then.
        let mut gone: BTreeMap<NodeId, Arc<NodeRecord>> = {
            let nodes = self.read();
            let known = nodes.iter().filter(|(id, _)| may_be_gone(id));
            known
                .map(|(id, entry)| (id.clone(), Arc::clone(&entry.record)))
                .collect()
        };
        for stored in self.inner.catalogue.nodes().await.map_err(Error::Load)? {
            gone.remove(&stored.id);
        }
        for (id, record) in gone {
            {
                let mut nodes = self.write();
                let known = nodes.get(&id);
                if !known.is_some_and(|known| Arc::ptr_eq(&known.record, &record)) {
                    continue;
                }
                nodes.remove(&id);
                self.lock_outbox().remove(&id);
            }
            tracing::info!(node = %id, "node deregistered by another engine");
            self.notify(id, None);
        }
        Ok(())
    }
}

async fn send(
    channel: &dyn EngineMessages,
    reports: Vec<SharedReport>,
) -> Result<(), CatalogueError> {
    match serde_json::to_vec(&Message { reports }) {
        Ok(message) => channel.publish(&message).await,
        Err(error) => Err(error.into()),
    }
}
