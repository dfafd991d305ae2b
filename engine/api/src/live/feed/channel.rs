//! One deployment that somebody watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::{Deployment, DeploymentId, Event, IllegalTransition};
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use hotswap_signalr::Peer;
use poem_openapi::types::ToJSON;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell, watch};

use super::offset::{Offset, Resume};
use super::pauses::Pauses;
use super::recent::Kept;
use super::tell::{Told, tell};
use super::topic::{Start, Topic};
use crate::view;

/// Events that are read at once.
const PAGE: usize = 256;

/// Folds the journal from its beginning once, and from then on whatever is appended, each
/// event once; and tells what follows from each.
#[derive(Debug)]
pub(super) struct Channel {
    id: DeploymentId,
    /// Something was appended.
    appended: Notify,
    loaded: OnceCell<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Option<Deployment>,
    topic: Topic,
    /// Nobody watches any more; whoever wants to takes a new one.
    closed: bool,
}

/// Nobody watched a moment ago, and so the channel was closed.
#[derive(Debug)]
pub(super) struct Closed;

impl Channel {
    pub fn new(id: DeploymentId, kept: Kept) -> Self {
        let inner = Inner {
            state: None,
            topic: Topic::new(kept, Offset::after(0)),
            closed: false,
        };
        Self {
            id,
            appended: Notify::new(),
            loaded: OnceCell::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Reads the journal, unless somebody has or does. True for the one who has: it should
    /// be [`run`](Self::run) from then on.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment, and where the store fails.
    pub async fn load(&self, deployments: &Deployments) -> Result<bool, Error> {
        let mut mine = false;
        let load = async {
            mine = true;
            self.catch_up(deployments).await.map(drop)
        };
        self.loaded.get_or_try_init(|| load).await?;
        Ok(mine)
    }

    /// Says that something was appended.
    pub fn wake(&self) {
        self.appended.notify_one();
    }

    /// Tells what is appended, until nobody watches. Whatever fails is tried again.
    pub async fn run(self: Arc<Self>, deployments: Deployments) {
        let mut pauses = Pauses::new();
        loop {
            match self.catch_up(&deployments).await {
                Ok(true) => {
                    pauses = Pauses::new();
                    self.appended.notified().await;
                }
                Ok(false) => return,
                Err(error) => {
                    pauses.pause(&error).await;
                }
            }
        }
    }

    /// Reads what was appended and tells it. False where nobody watches.
    async fn catch_up(&self, deployments: &Deployments) -> Result<bool, Error> {
        loop {
            let from = {
                let inner = self.lock();
                if inner.closed {
                    return Ok(false);
                }
                inner.state.as_ref().map_or(0, |state| state.next_seq)
            };
            let events = deployments
                .events(self.id, from, PAGE, Duration::ZERO)
                .await?;
            let mut inner = self.lock();
            for event in &events {
                inner.take(deployments.epoch(), event)?;
            }
            if events.len() < PAGE {
                return Ok(true);
            }
        }
    }

    /// Takes somebody in, who is told nothing before [`Self::attach`]; and the state at the
    /// place where they start, where they need it.
    pub fn join(
        &self,
        epoch: &str,
        peer: &Peer,
        resume: Option<&Resume>,
    ) -> Result<(Start, Option<Value>), Closed> {
        let mut inner = self.open()?;
        let start = inner.topic.start(epoch, resume);
        inner.topic.join(peer, start);
        Ok((start, inner.snapshot(start)))
    }

    /// They have been answered.
    pub fn attach(&self, peer: u64) {
        self.lock().topic.attach(peer);
    }

    /// Tells them nothing more. True where nobody is left, and so the channel is closed.
    pub fn leave(&self, peer: u64) -> bool {
        self.lock().topic.leave(peer);
        self.close_if_deserted()
    }

    /// For a stream, which looks for itself.
    pub fn watch(
        &self,
        epoch: &str,
        resume: Option<&Resume>,
    ) -> Result<(Start, Option<Value>, watch::Receiver<Offset>), Closed> {
        let inner = self.open()?;
        let start = inner.topic.start(epoch, resume);
        Ok((start, inner.snapshot(start), inner.topic.watch()))
    }

    /// At most `most` messages after this place, and whether there will be no more after
    /// these. Nothing where some of them are not kept any more.
    pub fn after(&self, seen: Offset, most: usize) -> Option<(Vec<Told>, bool)> {
        let inner = self.lock();
        let told = inner.topic.after(seen, most)?;
        let ended = inner
            .state
            .as_ref()
            .is_some_and(|state| state.status().is_final());
        let over = ended && told.len() < most;
        Some((told, over))
    }

    /// True where nobody is left, and so the channel is closed.
    pub fn close_if_deserted(&self) -> bool {
        let mut inner = self.lock();
        inner.closed |= inner.topic.is_deserted();
        let closed = inner.closed;
        drop(inner);
        if closed {
            self.wake();
        }
        closed
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, Closed> {
        let inner = self.lock();
        if inner.closed { Err(Closed) } else { Ok(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What has been taken before changes nothing.
    fn take(&mut self, epoch: &str, event: &Event) -> Result<(), IllegalTransition> {
        let (before, state) = match &mut self.state {
            Some(state) if event.seq < state.next_seq => return Ok(()),
            Some(state) => {
                let before = state.status();
                state.apply(event)?;
                (Some(before), &*state)
            }
            none => (None, &*none.insert(Deployment::begin(event)?)),
        };
        for told in tell(epoch, before, event, state) {
            self.topic.publish(told);
        }
        Ok(())
    }

    fn snapshot(&self, start: Start) -> Option<Value> {
        if start.recovered {
            return None;
        }
        let state = self.state.clone()?;
        view::Deployment::from(state).to_json()
    }
}
