//! `/hubs/metrics`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hotswap_core::Environment;
use hotswap_fleet::discovery::Sources;
use hotswap_runner::Engine;
use hotswap_signalr::{
    Caller, ConnectionHandle, Hub, HubError, Invocation, OutboundMessage, Reply, StreamItems,
};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::metrics_sampler::MetricsSampler;
use super::shared_samples::SharedSamples;
use super::source_feed::SourceFeed;
use crate::auth::Identity;

const METRICS_UPDATED: &str = "MetricsUpdated";

/// The hub of metrics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MetricsHub(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// The time between two readings.
    interval: Duration,
    /// The connections that subscribe to an environment, by connection id.
    subscribers: Mutex<HashMap<Environment, HashMap<u64, ConnectionHandle>>>,
    /// There may be an environment with its first subscriber.
    subscribed: Notify,
    samples: SharedSamples,
    sources: SourceFeed,
}

impl MetricsHub {
    pub fn new(engine: Engine, sources: Sources, interval: Duration) -> Self {
        let samples = SharedSamples::new(engine.metric_samples.clone());
        Self(Arc::new(Inner {
            engine,
            interval,
            subscribers: Mutex::default(),
            subscribed: Notify::new(),
            samples,
            sources: SourceFeed::new(sources),
        }))
    }

    /// Reads and sends metrics. Runs until dropped. The nodes of environments without
    /// subscribers are not read, and no environment waits for the nodes of another.
    pub async fn follow(&self) {
        let show = |environment: &Environment, sample| self.send(environment, sample);
        tokio::join!(
            self.follow_environments(),
            self.0.samples.receive(self.0.interval, show),
            self.0.sources.follow()
        );
    }

    async fn follow_environments(&self) {
        let mut followed: HashSet<Environment> = HashSet::new();
        let mut followers = FuturesUnordered::new();
        loop {
            let environments: Vec<_> = self.0.subscribers().keys().cloned().collect();
            for environment in environments {
                if followed.insert(environment.clone()) {
                    followers.push(self.follow_environment(environment));
                }
            }
            tokio::select! {
                () = self.0.subscribed.notified() => {}
                Some(environment) = followers.next() => {
                    followed.remove(&environment);
                }
            }
        }
    }

    /// Reads at once, then at each tick sends what happened since the reading before; leaves it
    /// to another engine that shares what it reads. Returns the environment once it has no
    /// subscribers.
    async fn follow_environment(&self, environment: Environment) -> Environment {
        let samples = &self.0.samples;
        let mut sampler = None;
        let mut ticks = tokio::time::interval(self.0.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.0.subscribers().contains_key(&environment) {
                if sampler.is_some() {
                    samples.end(&environment).await;
                }
                return environment;
            }
            if samples.are_read_elsewhere(&environment) {
                sampler = None;
                continue;
            }
            let sampler = sampler.get_or_insert_with(|| MetricsSampler::new(environment.clone()));
            if let Some(sample) = sampler.sample(&self.0.engine).await {
                let show = |sample| self.send(&environment, sample);
                samples.share(&environment, sample, show).await;
            }
        }
    }

    fn send(&self, environment: &Environment, sample: Value) {
        let key = format!("{METRICS_UPDATED} {environment}");
        let message = OutboundMessage::replaceable(key, METRICS_UPDATED, sample);
        let mut subscribers = self.0.subscribers();
        if let Some(connections) = subscribers.get_mut(environment) {
            connections.retain(|_, connection| connection.send(&message));
        }
        subscribers.retain(|_, connections| !connections.is_empty());
    }
}

impl Inner {
    fn subscribers(&self) -> MutexGuard<'_, HashMap<Environment, HashMap<u64, ConnectionHandle>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Unsubscribes a connection from one environment, or without one from all.
    fn unsubscribe(&self, connection_id: u64, environment: Option<&Environment>) {
        let mut subscribers = self.subscribers();
        for (subscribed, connections) in &mut *subscribers {
            if environment.is_none_or(|environment| environment == subscribed) {
                connections.remove(&connection_id);
            }
        }
        subscribers.retain(|_, connections| !connections.is_empty());
    }

    fn is_known(&self, environment: &Environment) -> bool {
        let engine = &self.engine;
        engine.registry.environments().contains(environment)
            || engine.environments.configured().contains(environment)
    }
}

impl Hub for MetricsHub {
    type User = Identity;

    async fn invoke(
        &self,
        caller: &Caller<Identity>,
        mut invocation: Invocation,
    ) -> Result<Reply, HubError> {
        let is_subscribe = match invocation.method.as_str() {
            "SubscribeToMetrics" => true,
            "UnsubscribeFromMetrics" => false,
            "SubscribeToSources" => {
                invocation.expect_at_most(0)?;
                let feed = self.0.sources.clone();
                return Ok(feed.subscribe(&caller.connection));
            }
            "UnsubscribeFromSources" => {
                invocation.expect_at_most(0)?;
                self.0.sources.unsubscribe(caller.connection.id());
                return Ok(Value::Null.into());
            }
            _ => return Err(HubError::UnknownMethod),
        };
        invocation.expect_at_most(1)?;
        let environment: Environment = invocation.argument(0)?;
        let connection_id = caller.connection.id();
        if !is_subscribe {
            self.0.unsubscribe(connection_id, Some(&environment));
            return Ok(Value::Null.into());
        }
        if !self.0.is_known(&environment) {
            return Err(HubError::Exception(format!(
                "no environment '{environment}'"
            )));
        }
        let inner = Arc::clone(&self.0);
        let connection = caller.connection.clone();
        Ok(Reply::with_follow_up(Value::Null, move || {
            let mut subscribers = inner.subscribers();
            subscribers
                .entry(environment)
                .or_default()
                .insert(connection_id, connection.clone());
            drop(subscribers);
            // `on_disconnected` may have been called before.
            if connection.is_closed() {
                inner.unsubscribe(connection_id, None);
            }
            inner.subscribed.notify_one();
        }))
    }

    async fn stream(&self, _: &Caller<Identity>, _: Invocation) -> Result<StreamItems, HubError> {
        Err(HubError::UnknownMethod)
    }

    fn on_disconnected(&self, connection: &ConnectionHandle) {
        self.0.unsubscribe(connection.id(), None);
        self.0.sources.unsubscribe(connection.id());
    }
}
