//! `/hubs/deployments`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hotswap_core::DeploymentId;
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use hotswap_signalr::{Call, Caller, Capacity, Hub, HubError, Items, Peer, Reply};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::channel::Channel;
use super::channels::Channels;
use super::everything::Everything;
use super::offset::{Offset, Resume};
use super::recent::Kept;
use super::topic::subscription;
use crate::auth::{Identity, Role};
use crate::view;

/// Deployments that one connection may watch one by one.
const MOST: usize = 100;
/// Deployments that a snapshot of all shows.
const SHOWN: usize = 500;
/// Messages of a stream that are taken at once.
const PIECE: usize = 64;

/// The hub of deployments. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeploymentsHub(Arc<Inner>);

struct Inner {
    deployments: Deployments,
    channels: Channels,
    everything: Arc<Everything>,
    /// What each peer watches one by one.
    watched: Mutex<HashMap<u64, HashSet<DeploymentId>>>,
}

impl DeploymentsHub {
    /// Of clients for whom this much may wait.
    pub fn new(deployments: Deployments, capacity: &Capacity) -> Self {
        let kept = Kept::of(capacity);
        Self(Arc::new(Inner {
            deployments,
            channels: Channels::new(kept),
            everything: Arc::new(Everything::new(kept)),
            watched: Mutex::new(HashMap::new()),
        }))
    }

    /// Follows what happens, without end.
    pub async fn follow(&self) {
        self.0.channels.follow(&self.0.deployments).await;
    }

    async fn subscribe(
        &self,
        peer: &Peer,
        id: DeploymentId,
        resume: Option<Resume>,
    ) -> Result<Reply, HubError> {
        let inner = &self.0;
        {
            let mut watched = inner.watched();
            let watched = watched.entry(peer.number()).or_default();
            if watched.len() >= MOST && !watched.contains(&id) {
                let text = format!(
                    "this connection watches {MOST} deployments: unsubscribe from one first, or use a second connection"
                );
                return Err(HubError::Told(text));
            }
            watched.insert(id);
        }
        let joined = self.join(peer, id, resume.as_ref()).await;
        let (channel, answer) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                if let Some(watched) = inner.watched().get_mut(&peer.number()) {
                    watched.remove(&id);
                }
                return Err(error);
            }
        };
        // It may have gone while the journal was read; then nobody else will say so.
        if peer.is_closed() {
            self.gone(peer.number());
        }
        let number = peer.number();
        Ok(Reply::then(answer, move || channel.attach(number)))
    }

    async fn join(
        &self,
        peer: &Peer,
        id: DeploymentId,
        resume: Option<&Resume>,
    ) -> Result<(Arc<Channel>, Value), HubError> {
        let deployments = &self.0.deployments;
        loop {
            let channel = self.0.channels.of(id, deployments).await.map_err(told)?;
            // Whoever was the last to leave may have closed it just now.
            if let Ok((start, snapshot)) = channel.join(deployments.epoch(), peer, resume) {
                let answer = subscription(deployments.epoch(), start, snapshot);
                return Ok((channel, answer));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn subscribe_to_all(
        &self,
        caller: &Caller<Identity>,
        resume: Option<Resume>,
    ) -> Result<Reply, HubError> {
        if caller.user.role < Role::Admin {
            return Err(HubError::Unauthorized);
        }
        let inner = &self.0;
        let (deployments, everything) = (&inner.deployments, &inner.everything);
        let start = everything
            .join(deployments, &caller.peer, resume.as_ref())
            .await
            .map_err(told)?;
        let number = caller.peer.number();
        let snapshot = if start.recovered {
            None
        } else {
            let open = self.open().await;
            if open.is_err() {
                everything.leave(number);
            }
            Some(open.map_err(told)?)
        };
        if caller.peer.is_closed() {
            everything.leave(number);
        }
        let answer = subscription(deployments.epoch(), start, snapshot);
        let everything = Arc::clone(everything);
        Ok(Reply::then(answer, move || everything.attach(number)))
    }

    /// Those that have not ended, newest first. May show already what the first messages
    /// tell: it is read after the place where they begin.
    async fn open(&self) -> Result<Value, Error> {
        let deployments = &self.0.deployments;
        let open = deployments.open().await?;
        let more = open.len() > SHOWN;
        let mut shown = Vec::with_capacity(open.len().min(SHOWN));
        for (id, _) in open.into_iter().rev().take(SHOWN) {
            let summary = view::DeploymentSummary::from(deployments.get(id).await?);
            shown.push(summary.to_json().unwrap_or_default());
        }
        Ok(json!({ "deployments": shown, "more": more }))
    }

    async fn follow_one(
        &self,
        id: DeploymentId,
        resume: Option<Resume>,
    ) -> Result<BoxStream<'static, Result<Value, HubError>>, HubError> {
        let deployments = &self.0.deployments;
        let epoch = deployments.epoch().to_owned();
        let (channel, start, snapshot, last) = loop {
            let channel = self.0.channels.of(id, deployments).await.map_err(told)?;
            if let Ok((start, snapshot, last)) = channel.watch(&epoch, resume.as_ref()) {
                break (channel, start, snapshot, last);
            }
            tokio::task::yield_now().await;
        };
        let first = item("Subscribed", subscription(&epoch, start, snapshot));
        let watching = Watching {
            hub: self.clone(),
            id,
            channel,
            epoch,
            seen: start.offset,
            last: Some(last),
        };
        let rest = stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            let (items, over) = watching.next().await;
            Some((stream::iter(items).map(Ok), (!over).then_some(watching)))
        });
        Ok(stream::iter([Ok(first)]).chain(rest.flatten()).boxed())
    }

    fn gone(&self, number: u64) {
        let watched = self.0.watched().remove(&number);
        for id in watched.into_iter().flatten() {
            self.0.channels.leave(id, number);
        }
        self.0.everything.leave(number);
    }
}

impl Inner {
    fn watched(&self) -> MutexGuard<'_, HashMap<u64, HashSet<DeploymentId>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub for DeploymentsHub {
    type User = Identity;

    async fn invoke(&self, caller: &Caller<Identity>, mut call: Call) -> Result<Reply, HubError> {
        match call.method.as_str() {
            "SubscribeToDeployment" => {
                call.at_most(2)?;
                let (id, resume) = (execution_id(&mut call)?, call.argument(1)?);
                self.subscribe(&caller.peer, id, resume).await
            }
            "UnsubscribeFromDeployment" => {
                call.at_most(1)?;
                let id = execution_id(&mut call)?;
                let number = caller.peer.number();
                if let Some(watched) = self.0.watched().get_mut(&number) {
                    watched.remove(&id);
                }
                self.0.channels.leave(id, number);
                Ok(Value::Null.into())
            }
            "SubscribeToAllDeployments" => {
                call.at_most(1)?;
                let resume = call.argument(0)?;
                self.subscribe_to_all(caller, resume).await
            }
            "UnsubscribeFromAllDeployments" => {
                call.at_most(0)?;
                self.0.everything.leave(caller.peer.number());
                Ok(Value::Null.into())
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    async fn stream(&self, _: &Caller<Identity>, mut call: Call) -> Result<Items, HubError> {
        match call.method.as_str() {
            "StreamDeployment" => {
                call.at_most(2)?;
                let (id, resume) = (execution_id(&mut call)?, call.argument(1)?);
                self.follow_one(id, resume).await
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    fn disconnected(&self, peer: &Peer) {
        self.gone(peer.number());
    }
}

/// Somebody who reads a deployment as a stream, at their own pace.
struct Watching {
    hub: DeploymentsHub,
    id: DeploymentId,
    channel: Arc<Channel>,
    epoch: String,
    seen: Offset,
    last: Option<watch::Receiver<Offset>>,
}

impl Watching {
    /// What comes next, and whether nothing comes after that.
    async fn next(&mut self) -> (Vec<Value>, bool) {
        loop {
            if let Some(last) = &mut self.last {
                // Looked at first: what comes after is heard of below.
                last.mark_unchanged();
            }
            let Some((told, over)) = self.channel.after(self.seen, PIECE) else {
                return (vec![self.start_again()], false);
            };
            if let Some(newest) = told.last() {
                self.seen = newest.offset;
            }
            let items: Vec<_> = told
                .iter()
                .map(|told| {
                    item(
                        told.target,
                        told.event.argument().cloned().unwrap_or_default(),
                    )
                })
                .collect();
            if over || !items.is_empty() {
                return (items, over);
            }
            let changed = match &mut self.last {
                Some(last) => last.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                return (Vec::new(), true);
            }
        }
    }

    /// The reader is so slow that not all of what it missed is kept: the state instead.
    fn start_again(&mut self) -> Value {
        match self.channel.watch(&self.epoch, None) {
            Ok((start, snapshot, last)) => {
                self.seen = start.offset;
                self.last = Some(last);
                item("Subscribed", subscription(&self.epoch, start, snapshot))
            }
            // It is not deserted while this one watches.
            Err(_) => Value::Null,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.last = None;
        self.hub.0.channels.release(self.id, &self.channel);
    }
}

fn item(target: &str, argument: Value) -> Value {
    json!({ "target": target, "argument": argument })
}

fn execution_id(call: &mut Call) -> Result<DeploymentId, HubError> {
    let text: String = call.argument(0)?;
    text.parse().map_err(|_| {
        let text = "argument 1 is no execution id; it is what the deployment was accepted with";
        HubError::Told(text.to_owned())
    })
}

/// What the caller should read of it. What went wrong with the store is not theirs.
fn told(error: Error) -> HubError {
    match error {
        Error::Unknown(_) => HubError::Told(error.to_string()),
        error => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a subscription failed");
            HubError::Failed
        }
    }
}
