//! `/hubs/metrics`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hotswap_core::Environment;
use hotswap_runner::Engine;
use hotswap_signalr::{Call, Caller, Event, Hub, HubError, Items, Peer, Reply};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::sampler::Sampler;
use crate::auth::Identity;

const UPDATED: &str = "MetricsUpdated";

/// The hub of metrics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MetricsHub(Arc<Inner>);

struct Inner {
    engine: Engine,
    every: Duration,
    members: Mutex<HashMap<Environment, HashMap<u64, Peer>>>,
    /// Somebody watches an environment that nobody watched.
    opened: Notify,
}

impl MetricsHub {
    /// Tells the metrics of the environments that somebody watches, this often.
    pub fn new(engine: Engine, every: Duration) -> Self {
        Self(Arc::new(Inner {
            engine,
            every,
            members: Mutex::default(),
            opened: Notify::new(),
        }))
    }

    /// Measures and tells, without end. Nothing is asked of the nodes of an environment that
    /// nobody watches, and no environment waits for the nodes of another.
    pub async fn follow(&self) {
        let mut followed: HashSet<Environment> = HashSet::new();
        let mut following = FuturesUnordered::new();
        loop {
            let watched: Vec<_> = self.0.members().keys().cloned().collect();
            for environment in watched {
                if followed.insert(environment.clone()) {
                    following.push(self.follow_one(environment));
                }
            }
            tokio::select! {
                () = self.0.opened.notified() => {}
                Some(left) = following.next() => {
                    followed.remove(&left);
                }
            }
        }
    }

    /// Reads at once, then tells what happened since at every tick, until nobody watches.
    async fn follow_one(&self, environment: Environment) -> Environment {
        let mut sampler = Sampler::new(environment.clone());
        let mut ticks = tokio::time::interval(self.0.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.0.members().contains_key(&environment) {
                return environment;
            }
            if let Some(sample) = sampler.sample(&self.0.engine).await {
                self.tell(&environment, sample);
            }
        }
    }

    fn tell(&self, environment: &Environment, sample: Value) {
        let event = Event::newest(format!("{UPDATED} {environment}"), UPDATED, sample);
        let mut members = self.0.members();
        if let Some(peers) = members.get_mut(environment) {
            peers.retain(|_, peer| peer.send(&event));
        }
        members.retain(|_, peers| !peers.is_empty());
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, HashMap<Environment, HashMap<u64, Peer>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, number: u64, environment: Option<&Environment>) {
        let mut members = self.members();
        for (one, peers) in &mut *members {
            if environment.is_none_or(|environment| environment == one) {
                peers.remove(&number);
            }
        }
        members.retain(|_, peers| !peers.is_empty());
    }
}

impl Hub for MetricsHub {
    type User = Identity;

    async fn invoke(&self, caller: &Caller<Identity>, mut call: Call) -> Result<Reply, HubError> {
        let subscribes = match call.method.as_str() {
            "SubscribeToMetrics" => true,
            "UnsubscribeFromMetrics" => false,
            _ => return Err(HubError::UnknownMethod),
        };
        call.at_most(1)?;
        let environment: Environment = call.argument(0)?;
        let number = caller.peer.number();
        if !subscribes {
            self.0.leave(number, Some(&environment));
            return Ok(Value::Null.into());
        }
        let engine = &self.0.engine;
        let known = engine.registry.environments().contains(&environment)
            || engine
                .environments
                .configured()
                .any(|it| *it == environment);
        if !known {
            return Err(HubError::Told(format!("no environment '{environment}'")));
        }
        let inner = Arc::clone(&self.0);
        let peer = caller.peer.clone();
        Ok(Reply::then(Value::Null, move || {
            let mut members = inner.members();
            members
                .entry(environment)
                .or_default()
                .insert(number, peer.clone());
            drop(members);
            if peer.is_closed() {
                inner.leave(number, None);
            }
            inner.opened.notify_one();
        }))
    }

    async fn stream(&self, _: &Caller<Identity>, _: Call) -> Result<Items, HubError> {
        Err(HubError::UnknownMethod)
    }

    fn disconnected(&self, peer: &Peer) {
        self.0.leave(peer.number(), None);
    }
}
