use std::future::Future;
use std::time::Duration;

use backon::BackoffBuilder as _;
use backon::ExponentialBuilder;
use hotswap_core::NodeId;
use hotswap_protocol::{Heartbeat, NodeHealth, Registered, Registration};
use reqwest::StatusCode;

use crate::artifacts::Source;
use crate::modules::{Modules, chain};

/// Bounds for what the engine may ask for: it must not make nodes fall silent, nor busy.
const FASTEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(60);

/// How long the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells the engine of a node, and that it is still there.
pub(crate) struct Reporter {
    pub(crate) id: NodeId,
    pub(crate) engine: Source,
    pub(crate) registration: Registration,
    pub(crate) modules: Modules,
}

/// What the engine made of a heartbeat.
enum Heard {
    Yes,
    /// It has forgotten the node.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the engine does not answer")]
    Send(#[source] reqwest::Error),
    #[error("the engine answered {0}")]
    Status(StatusCode),
}

impl Reporter {
    /// Registers, then sends heartbeats, and registers again where the engine has
    /// forgotten the node. Never gives up; ends when it is dropped.
    pub(crate) async fn run(self) {
        let mut silent = false;
        loop {
            let every = self
                .until_done("registration", &mut silent, || self.register())
                .await;
            tracing::info!(
                engine = self.engine.engine,
                ?every,
                "registered with the engine"
            );
            loop {
                tokio::time::sleep(every).await;
                match self
                    .until_done("heartbeat", &mut silent, || self.beat())
                    .await
                {
                    Heard::Yes => {}
                    Heard::Unknown => {
                        tracing::info!("the engine has forgotten this node, registering again");
                        break;
                    }
                }
            }
        }
    }

    /// Tries again and again, ever more slowly. Says so once when it begins to fail and
    /// once when it works again.
    async fn until_done<T, F>(
        &self,
        what: &str,
        silent: &mut bool,
        mut attempt: impl FnMut() -> F,
    ) -> T
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        loop {
            match attempt().await {
                Ok(done) => {
                    if std::mem::take(silent) {
                        tracing::info!(what, "the engine answers again");
                    }
                    return done;
                }
                Err(error) => {
                    if !std::mem::replace(silent, true) {
                        tracing::warn!(
                            what,
                            error = chain(&error),
                            "cannot reach the engine, trying on"
                        );
                    }
                }
            }
            tokio::time::sleep(delays.next().unwrap_or(SLOWEST)).await;
        }
    }

    async fn register(&self) -> Result<Duration, Error> {
        let url = format!("{}/api/v1/nodes/{}", self.engine.engine, self.id);
        let answer = self
            .engine
            .client
            .put(url)
            .bearer_auth(self.engine.token.reveal())
            .json(&self.registration)
            .timeout(PATIENCE)
            .send()
            .await
            .map_err(Error::Send)?;
        if !answer.status().is_success() {
            return Err(Error::Status(answer.status()));
        }
        let registered: Registered = answer.json().await.map_err(Error::Send)?;
        Ok(Duration::from_millis(registered.heartbeat_millis).clamp(FASTEST, SLOWEST))
    }

    async fn beat(&self) -> Result<Heard, Error> {
        let complaint = self.modules.complaint();
        let heartbeat = Heartbeat {
            health: match complaint {
                None => NodeHealth::Passing,
                Some(_) => NodeHealth::Warning,
            },
            reason: complaint,
        };
        let url = format!("{}/api/v1/nodes/{}/heartbeat", self.engine.engine, self.id);
        let answer = self
            .engine
            .client
            .post(url)
            .bearer_auth(self.engine.token.reveal())
            .json(&heartbeat)
            .timeout(PATIENCE)
            .send()
            .await
            .map_err(Error::Send)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Heard::Unknown),
            status if status.is_success() => Ok(Heard::Yes),
            status => Err(Error::Status(status)),
        }
    }
}
