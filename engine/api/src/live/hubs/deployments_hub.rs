//! `/hubs/deployments`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use hotswap_core::DeploymentId;
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Engine, Reconciler};
use hotswap_signalr::{
    Caller, ConnectionHandle, Hub, HubError, Invocation, QueueCapacity, Reply, StreamItems,
};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};

use super::deployment_stream::stream_deployment;
use crate::auth::{Identity, Role};
use crate::live::feed::{
    AllDeployments, Channel, Channels, ResumePosition, Retention, Subscription,
};
use crate::view;

/// The maximum number of deployments that one connection subscribes to.
const MAX_SUBSCRIPTIONS: usize = 100;
/// The maximum number of deployments in a snapshot of all.
const MAX_SNAPSHOT: usize = 500;

/// The hub of deployments. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeploymentsHub(Arc<Inner>);

struct Inner {
    deployments: Deployments,
    reconciler: Reconciler,
    channels: Arc<Channels>,
    all_deployments: Arc<AllDeployments>,
    /// The deployments that each connection subscribes to, by connection id.
    subscriptions: Mutex<HashMap<u64, HashSet<DeploymentId>>>,
}

impl DeploymentsHub {
    /// `capacity`: the capacity of the clients' send queues.
    pub fn new(engine: &Engine, capacity: &QueueCapacity) -> Self {
        let retention = Retention::half_of(capacity);
        Self(Arc::new(Inner {
            deployments: engine.deployments.clone(),
            reconciler: engine.reconciler.clone(),
            channels: Arc::new(Channels::new(retention)),
            all_deployments: Arc::new(AllDeployments::new(retention)),
            subscriptions: Mutex::new(HashMap::new()),
        }))
    }

    /// Publishes notifications as events are appended. Returns only when the engine ends.
    pub async fn follow(&self) {
        self.0.channels.follow(&self.0.deployments).await;
    }

    async fn subscribe(
        &self,
        connection: &ConnectionHandle,
        id: DeploymentId,
        resume: Option<ResumePosition>,
    ) -> Result<Reply, HubError> {
        self.add_subscription(connection.id(), id)?;
        let subscribed = self.subscribe_to_channel(connection, id, resume.as_ref());
        let (channel, response) = match subscribed.await {
            Ok(subscribed) => subscribed,
            Err(error) => {
                self.remove_subscription(connection.id(), id);
                return Err(error);
            }
        };
        // It may have disconnected while the journal was read. `on_disconnected` is not
        // called again.
        if connection.is_closed() {
            self.remove_connection(connection.id());
        }
        let connection_id = connection.id();
        let epoch = self.0.deployments.epoch();
        Ok(Reply::with_follow_up(response, move || {
            channel.activate(&epoch, connection_id);
        }))
    }

    async fn subscribe_to_channel(
        &self,
        connection: &ConnectionHandle,
        id: DeploymentId,
        resume: Option<&ResumePosition>,
    ) -> Result<(Arc<Channel>, Value), HubError> {
        let deployments = &self.0.deployments;
        loop {
            let channel = self.0.channels.get_or_open(id, deployments, resume).await;
            let channel = channel.map_err(to_hub_error)?;
            // Its last subscriber may have left just now.
            if let Ok(subscription) = channel.subscribe(connection, resume) {
                return Ok((channel, subscription.into_response()));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn subscribe_to_all(
        &self,
        caller: &Caller<Identity>,
        resume: Option<ResumePosition>,
    ) -> Result<Reply, HubError> {
        if caller.user.role < Role::Admin {
            return Err(HubError::Unauthorized);
        }
        let inner = &self.0;
        let (deployments, all_deployments) = (&inner.deployments, &inner.all_deployments);
        let (epoch, start) = all_deployments
            .subscribe(
                (deployments, &inner.reconciler),
                &caller.connection,
                resume.as_ref(),
            )
            .await
            .map_err(to_hub_error)?;
        let connection_id = caller.connection.id();
        let snapshot = if start.recovered {
            None
        } else {
            let snapshot = self.snapshot_of_all().await;
            if snapshot.is_err() {
                all_deployments.unsubscribe(connection_id);
            }
            Some(snapshot.map_err(to_hub_error)?)
        };
        if caller.connection.is_closed() {
            all_deployments.unsubscribe(connection_id);
        }
        let subscription = Subscription {
            epoch,
            start,
            snapshot,
        };
        let response = subscription.into_response();
        let all_deployments = Arc::clone(all_deployments);
        Ok(Reply::with_follow_up(response, move || {
            all_deployments.activate(connection_id);
        }))
    }

    /// The deployments that have not ended, newest first. It is read after the start point,
    /// so it may already include the changes of the first notifications.
    async fn snapshot_of_all(&self) -> Result<Value, Error> {
        let deployments = &self.0.deployments;
        let open = deployments.open().await?;
        let has_more = open.len() > MAX_SNAPSHOT;
        let mut summaries = Vec::with_capacity(open.len().min(MAX_SNAPSHOT));
        for (id, _) in open.into_iter().rev().take(MAX_SNAPSHOT) {
            let summary = view::DeploymentSummary::from(deployments.get(id).await?.summary());
            summaries.push(summary.to_json().unwrap_or_default());
        }
        Ok(json!({ "deployments": summaries, "more": has_more }))
    }

    /// # Errors
    /// Where the connection has the maximum number of subscriptions.
    fn add_subscription(&self, connection_id: u64, id: DeploymentId) -> Result<(), HubError> {
        let mut subscriptions = self.0.subscriptions();
        let subscriptions = subscriptions.entry(connection_id).or_default();
        if subscriptions.len() >= MAX_SUBSCRIPTIONS && !subscriptions.contains(&id) {
            let text = format!(
                "this connection subscribes to {MAX_SUBSCRIPTIONS} deployments, the maximum: unsubscribe from one first, or use a second connection"
            );
            return Err(HubError::Exception(text));
        }
        subscriptions.insert(id);
        Ok(())
    }

    fn remove_subscription(&self, connection_id: u64, id: DeploymentId) {
        if let Some(subscriptions) = self.0.subscriptions().get_mut(&connection_id) {
            subscriptions.remove(&id);
        }
    }

    fn remove_connection(&self, connection_id: u64) {
        let subscriptions = self.0.subscriptions().remove(&connection_id);
        for id in subscriptions.into_iter().flatten() {
            self.0.channels.unsubscribe(id, connection_id);
        }
        self.0.all_deployments.unsubscribe(connection_id);
    }
}

impl Inner {
    fn subscriptions(&self) -> MutexGuard<'_, HashMap<u64, HashSet<DeploymentId>>> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub for DeploymentsHub {
    type User = Identity;

    async fn invoke(
        &self,
        caller: &Caller<Identity>,
        mut invocation: Invocation,
    ) -> Result<Reply, HubError> {
        match invocation.method.as_str() {
            "SubscribeToDeployment" => {
                invocation.expect_at_most(2)?;
                let id = execution_id(&mut invocation)?;
                let resume = invocation.argument(1)?;
                self.subscribe(&caller.connection, id, resume).await
            }
            "UnsubscribeFromDeployment" => {
                invocation.expect_at_most(1)?;
                let id = execution_id(&mut invocation)?;
                let connection_id = caller.connection.id();
                self.remove_subscription(connection_id, id);
                self.0.channels.unsubscribe(id, connection_id);
                Ok(Value::Null.into())
            }
            "SubscribeToAllDeployments" => {
                invocation.expect_at_most(1)?;
                let resume = invocation.argument(0)?;
                self.subscribe_to_all(caller, resume).await
            }
            "UnsubscribeFromAllDeployments" => {
                invocation.expect_at_most(0)?;
                self.0.all_deployments.unsubscribe(caller.connection.id());
                Ok(Value::Null.into())
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    async fn stream(
        &self,
        _: &Caller<Identity>,
        mut invocation: Invocation,
    ) -> Result<StreamItems, HubError> {
        match invocation.method.as_str() {
            "StreamDeployment" => {
                invocation.expect_at_most(2)?;
                let id = execution_id(&mut invocation)?;
                let resume = invocation.argument(1)?;
                let channels = Arc::clone(&self.0.channels);
                let items = stream_deployment(channels, &self.0.deployments, id, resume).await;
                Ok(items.map_err(to_hub_error)?.boxed())
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    fn on_disconnected(&self, connection: &ConnectionHandle) {
        self.remove_connection(connection.id());
    }
}

fn execution_id(invocation: &mut Invocation) -> Result<DeploymentId, HubError> {
    let text: String = invocation.argument(0)?;
    text.parse().map_err(|_| {
        let text = "argument 1 is not an execution id: use the executionId that the deployment was accepted with";
        HubError::Exception(text.to_owned())
    })
}

/// The caller learns of an unknown deployment. Failures of the store are logged, without
/// details for the caller.
fn to_hub_error(error: Error) -> HubError {
    match error {
        Error::Unknown(_) => HubError::Exception(error.to_string()),
        error => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a subscription failed");
            HubError::Internal
        }
    }
}
