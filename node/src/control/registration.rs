use std::future::Future;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_common::tls::{self, SettingNames};
use hotswap_core::NodeId;
use hotswap_protocol::{Heartbeat, HeartbeatAnswer, NodeHealth, Problem, Registered};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::reporter::Reporter;
use crate::addresses::{Addresses, UnknownAddress};
use crate::engine_client::EngineClient;
use crate::error::error_chain;

/// Bounds for the heartbeat interval that the engine asks for: shorter would load the node,
/// longer would make it look dead.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// Orders that are carried out within this time are reported together.
const GATHER: Duration = Duration::from_millis(50);

/// How long the engine may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the engine may take to hear that the node stops. Short: a stop must not wait for
/// an engine that is gone.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Delays between attempts to reach the engine.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Registers a node with its engine and sends heartbeats. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RegistrationClient {
    pub(crate) id: NodeId,
    pub(crate) engine: EngineClient,
    pub(crate) addresses: Addresses,
    pub(crate) reporter: Reporter,
}

/// How the engine answered a heartbeat.
enum HeartbeatOutcome {
    Accepted,
    /// The engine does not know the node at this address, for instance because its store is
    /// new, or another node has the id.
    NotRegistered(String),
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Address(#[from] UnknownAddress),
    #[error("the engine does not answer")]
    Send(#[source] reqwest::Error),
    #[error("the engine answered {status}: {detail}")]
    Status { status: StatusCode, detail: String },
}

impl RegistrationClient {
    /// Registers the node, then sends heartbeats. Registers again if the engine does not
    /// know the node any more. Never returns; drop it to end it.
    pub(crate) async fn run(self) {
        let mut last_failure = None;
        loop {
            let interval = self
                .retry_until_success("registration", &mut last_failure, || self.register())
                .await;
            tracing::info!(
                engine = self.engine.url(),
                heartbeat_interval = ?interval,
                "registered with the engine"
            );
            loop {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    // The engine should not act on what is no longer true.
                    () = self.reporter.modules.changed() => tokio::time::sleep(GATHER).await,
                }
                match self
                    .retry_until_success("heartbeat", &mut last_failure, || self.send_heartbeat())
                    .await
                {
                    HeartbeatOutcome::Accepted => {}
                    HeartbeatOutcome::NotRegistered(reason) => {
                        tracing::info!(
                            reason,
                            "the engine does not know this node, registering again"
                        );
                        break;
                    }
                }
            }
        }
    }

    /// Tells the engine that the node stops, so that its id is free at once. Waits only
    /// shortly; without this the engine notices that the heartbeats end.
    pub(crate) async fn report_stop(&self) {
        let heartbeat = Heartbeat {
            health: NodeHealth::Stopping,
            reason: None,
            highest_fence: self.reporter.modules.highest_fence(),
            boot: self.reporter.registration.boot.clone(),
            control_url: None,
            data_url: None,
            modules: None,
            readiness: None,
            traffic: None,
        };
        let request = self.heartbeat_request(&heartbeat).timeout(STOP_TIMEOUT);
        if let Err(error) = send(request).await {
            tracing::debug!(
                error = error_chain(&error),
                "cannot tell the engine that the node stops"
            );
        }
    }

    /// Repeats `attempt` with back-off until it succeeds. Logs each failure that differs from
    /// the one before, and the next success; `last_failure` carries that over from call to
    /// call.
    async fn retry_until_success<T, F>(
        &self,
        request: &str,
        last_failure: &mut Option<String>,
        mut attempt: impl FnMut() -> F,
    ) -> T
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        loop {
            match attempt().await {
                Ok(value) => {
                    if last_failure.take().is_some() {
                        tracing::info!(request, "the engine accepts this node again");
                    }
                    return value;
                }
                Err(error) => {
                    let engine = self.engine.host_and_port();
                    let failure = tls::explain(&error, engine, &SettingNames::FLAGS)
                        .unwrap_or_else(|| error_chain(&error));
                    if last_failure.as_ref() != Some(&failure) {
                        tracing::warn!(
                            request,
                            error = failure,
                            "the engine does not accept this node, retrying"
                        );
                        *last_failure = Some(failure);
                    }
                }
            }
            backoff.wait().await;
        }
    }

    /// Registers the node. Returns the interval for heartbeats.
    async fn register(&self) -> Result<Duration, Error> {
        let urls = self.addresses.urls().await?;
        let registration = self.reporter.registration(urls);
        let request = self
            .engine
            .request(Method::PUT, &format!("/api/v1/nodes/{}", self.id))
            .json(&registration)
            .timeout(REQUEST_TIMEOUT);
        let response = send(request).await?;
        let registered: Registered = response.json().await.map_err(Error::Send)?;
        let Registered {
            heartbeat_millis,
            environment,
            desired,
            cordon,
        } = registered;
        self.reporter.modules.tell_desired(desired, cordon);
        if self.reporter.registration.environment.is_none()
            && let Some(environment) = environment
        {
            tracing::info!(
                environment,
                "the node belongs to this environment by its labels"
            );
        }
        let interval = Duration::from_millis(heartbeat_millis);
        Ok(interval.clamp(MIN_HEARTBEAT_INTERVAL, MAX_HEARTBEAT_INTERVAL))
    }

    async fn send_heartbeat(&self) -> Result<HeartbeatOutcome, Error> {
        let urls = self.addresses.urls().await?;
        let heartbeat = Heartbeat {
            control_url: Some(urls.control),
            data_url: Some(urls.data),
            modules: Some(self.reporter.modules.report()),
            ..self.reporter.heartbeat()
        };
        let request = self.heartbeat_request(&heartbeat).timeout(REQUEST_TIMEOUT);
        let response = match send(request).await {
            Ok(response) => response,
            Err(Error::Status {
                status: StatusCode::NOT_FOUND | StatusCode::CONFLICT,
                detail,
            }) => return Ok(HeartbeatOutcome::NotRegistered(detail)),
            Err(error) => return Err(error),
        };
        // An engine that does not say what to run has not decided it.
        let answer = if response.status() == StatusCode::NO_CONTENT {
            HeartbeatAnswer::default()
        } else {
            response.json().await.map_err(Error::Send)?
        };
        let modules = &self.reporter.modules;
        modules.tell_desired(answer.desired, answer.cordon);
        Ok(HeartbeatOutcome::Accepted)
    }

    fn heartbeat_request(&self, heartbeat: &Heartbeat) -> RequestBuilder {
        let path = format!("/api/v1/nodes/{}/heartbeat", self.id);
        self.engine.request(Method::POST, &path).json(heartbeat)
    }
}

/// Sends a request. Fails unless the status is a success.
async fn send(request: RequestBuilder) -> Result<Response, Error> {
    let response = request.send().await.map_err(Error::Send)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem = response.json::<Problem>().await;
    let detail = problem.map_or_else(|_| "see its log".to_owned(), |problem| problem.detail);
    Err(Error::Status { status, detail })
}
