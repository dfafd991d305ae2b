use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use tokio::sync::broadcast::error::RecvError;

use super::channel::Channel;
use super::recent::Kept;

/// The deployments that somebody watches.
#[derive(Debug)]
pub(super) struct Channels {
    kept: Kept,
    open: Mutex<HashMap<DeploymentId, Arc<Channel>>>,
}

impl Channels {
    /// None yet; each will keep so many messages for those who come back.
    pub fn new(kept: Kept) -> Self {
        let open = Mutex::default();
        Self { kept, open }
    }

    /// The channel of a deployment, up to date. It may be closed by the time it is used.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment, and where the store fails.
    pub async fn of(
        &self,
        id: DeploymentId,
        deployments: &Deployments,
    ) -> Result<Arc<Channel>, Error> {
        let channel = {
            let mut channels = self.lock();
            let channel = channels.entry(id);
            Arc::clone(channel.or_insert_with(|| Arc::new(Channel::new(id, self.kept))))
        };
        match channel.load(deployments).await {
            Ok(mine) => {
                if mine {
                    tokio::spawn(Arc::clone(&channel).run(deployments.clone()));
                }
                Ok(channel)
            }
            Err(error) => {
                self.release(id, &channel);
                Err(error)
            }
        }
    }

    /// Forgets a channel that nobody watches.
    pub fn release(&self, id: DeploymentId, channel: &Arc<Channel>) {
        let mut channels = self.lock();
        if channel.close_if_deserted()
            && channels
                .get(&id)
                .is_some_and(|one| Arc::ptr_eq(one, channel))
        {
            channels.remove(&id);
        }
    }

    /// Tells a peer nothing more of a deployment.
    pub fn leave(&self, id: DeploymentId, peer: u64) {
        let mut channels = self.lock();
        if channels.get(&id).is_some_and(|channel| channel.leave(peer)) {
            channels.remove(&id);
        }
    }

    /// Wakes channels as their deployments go on, without end.
    pub async fn follow(&self, deployments: &Deployments) {
        let mut appended = deployments.subscribe();
        loop {
            match appended.recv().await {
                Ok(told) => {
                    if let Some(channel) = self.lock().get(&told.deployment) {
                        channel.wake();
                    }
                }
                // It is not known whose news were missed.
                Err(RecvError::Lagged(_)) => {
                    self.lock().values().for_each(|channel| channel.wake());
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Channel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
