use std::future::Future;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::NodeId;
use hotswap_protocol::{Heartbeat, NodeHealth, Registered, Registration};
use reqwest::{Method, StatusCode};

use super::Modules;
use crate::engine_client::EngineClient;
use crate::error::error_chain;

/// Bounds for the heartbeat interval that the engine asks for: shorter would load the node,
/// longer would make it look dead.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// How long the engine may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays between attempts to reach the engine.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Registers a node with its engine and sends heartbeats.
pub(crate) struct RegistrationClient {
    pub(crate) id: NodeId,
    pub(crate) engine: EngineClient,
    pub(crate) registration: Registration,
    pub(crate) modules: Modules,
}

/// How the engine answered a heartbeat.
enum HeartbeatOutcome {
    Accepted,
    /// The engine does not know the node, for instance because its store is new.
    NotRegistered,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the engine does not answer")]
    Send(#[source] reqwest::Error),
    #[error("the engine answered {0}")]
    Status(StatusCode),
}

impl RegistrationClient {
    /// Registers the node, then sends heartbeats. Registers again if the engine does not
    /// know the node any more. Never returns; drop it to end it.
    pub(crate) async fn run(self) {
        let mut is_failing = false;
        loop {
            let interval = self
                .retry_until_success("registration", &mut is_failing, || self.register())
                .await;
            tracing::info!(
                engine = self.engine.url(),
                heartbeat_interval = ?interval,
                "registered with the engine"
            );
            loop {
                tokio::time::sleep(interval).await;
                match self
                    .retry_until_success("heartbeat", &mut is_failing, || self.send_heartbeat())
                    .await
                {
                    HeartbeatOutcome::Accepted => {}
                    HeartbeatOutcome::NotRegistered => {
                        tracing::info!("the engine does not know this node, registering again");
                        break;
                    }
                }
            }
        }
    }

    /// Repeats `attempt` with back-off until it succeeds. Logs only the first failure and
    /// the next success; `is_failing` carries that over from call to call.
    async fn retry_until_success<T, F>(
        &self,
        request: &str,
        is_failing: &mut bool,
        mut attempt: impl FnMut() -> F,
    ) -> T
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        loop {
            match attempt().await {
                Ok(value) => {
                    if std::mem::take(is_failing) {
                        tracing::info!(request, "the engine answers again");
                    }
                    return value;
                }
                Err(error) => {
                    if !std::mem::replace(is_failing, true) {
                        tracing::warn!(
                            request,
                            error = error_chain(&error),
                            "cannot reach the engine, retrying"
                        );
                    }
                }
            }
            backoff.wait().await;
        }
    }

    /// Registers the node. Returns the interval for heartbeats.
    async fn register(&self) -> Result<Duration, Error> {
        let registration = Registration {
            highest_fence: self.modules.highest_fence(),
            ..self.registration.clone()
        };
        let response = self
            .engine
            .request(Method::PUT, &format!("/api/v1/nodes/{}", self.id))
            .json(&registration)
            .timeout(REQUEST_TIMEOUT)
            .send()
            .await
            .map_err(Error::Send)?;
        if !response.status().is_success() {
            return Err(Error::Status(response.status()));
        }
        let registered: Registered = response.json().await.map_err(Error::Send)?;
        let interval = Duration::from_millis(registered.heartbeat_millis);
        Ok(interval.clamp(MIN_HEARTBEAT_INTERVAL, MAX_HEARTBEAT_INTERVAL))
    }

    async fn send_heartbeat(&self) -> Result<HeartbeatOutcome, Error> {
        let warning = self.modules.health_warning();
        let heartbeat = Heartbeat {
            health: match warning {
                None => NodeHealth::Passing,
                Some(_) => NodeHealth::Warning,
            },
            reason: warning,
            highest_fence: self.modules.highest_fence(),
        };
        let response = self
            .engine
            .request(
                Method::POST,
                &format!("/api/v1/nodes/{}/heartbeat", self.id),
            )
            .json(&heartbeat)
            .timeout(REQUEST_TIMEOUT)
            .send()
            .await
            .map_err(Error::Send)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(HeartbeatOutcome::NotRegistered),
            status if status.is_success() => Ok(HeartbeatOutcome::Accepted),
            status => Err(Error::Status(status)),
        }
    }
}
