use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use tokio::sync::broadcast::error::RecvError;

use super::channel::Channel;
use super::offset::ResumePosition;
use super::replay_buffer::Retention;
use super::retry::run_to_end;

/// The channels of all deployments that have subscribers or streams.
#[derive(Debug)]
pub(crate) struct Channels {
    retention: Retention,
    open: Mutex<HashMap<DeploymentId, Arc<Channel>>>,
}

impl Channels {
    /// `retention` applies to each channel.
    pub fn new(retention: Retention) -> Self {
        let open = Mutex::default();
        Self { retention, open }
    }

    /// Returns the channel of a deployment. Opens it where there is none: reads the journal
    /// and spawns a task that follows it. The channel has published everything up to `resume`.
    /// Another caller may close it at any time before it is used.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment; others if the store fails.
    pub async fn get_or_open(
        self: &Arc<Self>,
        id: DeploymentId,
        deployments: &Deployments,
        resume: Option<&ResumePosition>,
    ) -> Result<Arc<Channel>, Error> {
        let channel = {
            let mut channels = self.lock();
            let channel = channels.entry(id);
            Arc::clone(channel.or_insert_with(|| Arc::new(Channel::new(id, self.retention))))
        };
        let loaded = channel.load(deployments).await;
        if let Ok(true) = loaded {
            let (channels, channel) = (Arc::clone(self), Arc::clone(&channel));
            let deployments = deployments.clone();
            tokio::spawn(async move {
                run_to_end(|| Arc::clone(&channel).run(deployments.clone())).await;
                channels.remove(id, &channel);
            });
        }
        let reached = match loaded {
            Ok(_) => channel.reach(deployments, resume).await,
            Err(error) => Err(error),
        };
        if reached.is_err() {
            self.close_if_unused(id, &channel);
        }
        reached.map(|()| channel)
    }

    /// Closes and removes a channel without subscribers and streams.
    pub fn close_if_unused(&self, id: DeploymentId, channel: &Arc<Channel>) {
        let mut channels = self.lock();
        if channel.close_if_unused() {
            remove(&mut channels, id, channel);
        }
    }

    /// Removes a channel that is closed.
    fn remove(&self, id: DeploymentId, channel: &Arc<Channel>) {
        remove(&mut self.lock(), id, channel);
    }

    /// Unsubscribes a connection from a deployment.
    pub fn unsubscribe(&self, id: DeploymentId, connection_id: u64) {
        let mut channels = self.lock();
        if channels
            .get(&id)
            .is_some_and(|channel| channel.unsubscribe(connection_id))
        {
            channels.remove(&id);
        }
    }

    /// Wakes the channels of deployments to which events are appended, or whose soaks make
    /// progress. Returns only when the engine ends.
    pub async fn follow(&self, deployments: &Deployments) {
        let mut appended = deployments.subscribe();
        let mut epochs = deployments.epochs();
        let mut soaks = deployments.subscribe_to_soaks();
        loop {
            let appended = tokio::select! {
                appended = appended.recv() => appended,
                // All of them start over.
                Ok(()) = epochs.changed() => Err(RecvError::Lagged(0)),
                deployment = soaks.next() => {
                    self.show_soak(deployment, deployments);
                    continue;
                }
            };
            match appended {
                Ok(append) => {
                    if let Some(channel) = self.lock().get(&append.deployment) {
                        channel.wake();
                    }
                }
                // It is unknown which deployments were missed.
                Err(RecvError::Lagged(_)) => {
                    self.lock().values().for_each(|channel| channel.wake());
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// `None`: of every deployment.
    fn show_soak(&self, deployment: Option<DeploymentId>, deployments: &Deployments) {
        let channels: Vec<_> = match deployment {
            Some(id) => self.lock().get(&id).into_iter().cloned().collect(),
            None => self.lock().values().cloned().collect(),
        };
        for channel in channels {
            channel.show_soak(deployments);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Channel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another channel of the deployment may have been opened meanwhile.
fn remove(
    channels: &mut HashMap<DeploymentId, Arc<Channel>>,
    id: DeploymentId,
    channel: &Arc<Channel>,
) {
    let current = channels.get(&id);
    if current.is_some_and(|current| Arc::ptr_eq(current, channel)) {
        channels.remove(&id);
    }
}
