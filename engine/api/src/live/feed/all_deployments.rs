//! All deployments at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{Deployment, DeploymentId};
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use hotswap_signalr::Peer;
use hotswap_store::{Appended, Entry};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OnceCell, broadcast};

use super::offset::{Offset, Resume};
use super::pauses::Pauses;
use super::recent::Kept;
use super::tell::tell;
use super::topic::{Start, Topic};

/// Events that are read at once.
const PAGE: usize = 256;
/// Events before the present that are read for those who come back, for each message that
/// is kept: many an event is followed by none.
const BACK: usize = 4;

/// Reads the tail of all journals from when somebody first asks, and tells what follows
/// from each event.
#[derive(Debug)]
pub(super) struct Everything {
    kept: Kept,
    loaded: OnceCell<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Everything up to here has been told.
    position: u64,
    /// The states of those deployments of which something was told and that go on.
    states: HashMap<DeploymentId, Deployment>,
    topic: Topic,
}

impl Everything {
    /// Keeps so many messages for those who come back.
    pub fn new(kept: Kept) -> Self {
        Self {
            kept,
            loaded: OnceCell::new(),
            inner: Mutex::new(Inner {
                position: 0,
                states: HashMap::new(),
                topic: Topic::new(kept, Offset::after(0)),
            }),
        }
    }

    /// Takes somebody in, who is told nothing before [`Self::attach`].
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn join(
        self: &Arc<Self>,
        deployments: &Deployments,
        peer: &Peer,
        resume: Option<&Resume>,
    ) -> Result<Start, Error> {
        let load = || async {
            // Heard of from here on, so that nothing is missed after what is read.
            let appended = deployments.subscribe();
            let position = deployments.position().await?;
            let back = u64::try_from(BACK * self.kept.messages).unwrap_or(u64::MAX);
            self.lock().begin(self.kept, position.saturating_sub(back));
            self.catch_up(deployments).await?;
            let everything = Arc::clone(self);
            let deployments = deployments.clone();
            tokio::spawn(async move { everything.run(&deployments, appended).await });
            Ok::<(), Error>(())
        };
        self.loaded.get_or_try_init(load).await?;
        let mut inner = self.lock();
        let start = inner.topic.start(deployments.epoch(), resume);
        inner.topic.join(peer, start);
        Ok(start)
    }

    /// They have been answered.
    pub fn attach(&self, peer: u64) {
        self.lock().topic.attach(peer);
    }

    /// Tells them nothing more.
    pub fn leave(&self, peer: u64) {
        self.lock().topic.leave(peer);
    }

    /// Tells what is appended. Goes on where nobody listens: who comes back needs it.
    async fn run(&self, deployments: &Deployments, mut appended: broadcast::Receiver<Appended>) {
        let mut pauses = Pauses::new();
        loop {
            match self.catch_up(deployments).await {
                Ok(()) => pauses = Pauses::new(),
                Err(error) => {
                    pauses.pause(&error).await;
                    continue;
                }
            }
            loop {
                let position = self.lock().position;
                match appended.recv().await {
                    Ok(told) if told.position <= position => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    async fn catch_up(&self, deployments: &Deployments) -> Result<(), Error> {
        loop {
            let position = self.lock().position;
            let entries = deployments.tail(position, PAGE).await?;
            for entry in &entries {
                let state = self.before(deployments, entry).await?;
                self.lock().take(deployments.epoch(), entry, state)?;
            }
            if entries.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// The state before an event, where it has to be read.
    async fn before(
        &self,
        deployments: &Deployments,
        entry: &Entry,
    ) -> Result<Option<Deployment>, Error> {
        let known = self.lock().states.contains_key(&entry.deployment);
        if known || entry.event.seq == 0 {
            return Ok(None);
        }
        let state = deployments.at(entry.deployment, entry.event.seq).await?;
        Ok(Some(state))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin(&mut self, kept: Kept, position: u64) {
        self.position = position;
        self.states.clear();
        self.topic = Topic::new(kept, Offset::after(position));
    }

    fn take(&mut self, epoch: &str, entry: &Entry, read: Option<Deployment>) -> Result<(), Error> {
        let Entry { deployment, event } = entry;
        if let Some(state) = read {
            self.states.insert(*deployment, state);
        }
        let (before, state) = match self.states.get_mut(deployment) {
            None => {
                let state = Deployment::begin(event)?;
                (None, &*self.states.entry(*deployment).or_insert(state))
            }
            Some(state) => {
                let before = state.status();
                state.apply(event)?;
                (Some(before), &*state)
            }
        };
        let over = state.status().is_final();
        for told in tell(epoch, before, event, state) {
            self.topic.publish(told);
        }
        if over {
            self.states.remove(deployment);
        }
        self.position = event.position;
        Ok(())
    }
}
