//! Soaks of this engine are told to the other engines on the store, and theirs are shown here.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::DeploymentId;
use hotswap_store::EngineMessages;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Change, LiveSoaks, Shown, SoakProgress, Source};

/// Interval at which each soak is sent again to the other engines: one may have started meanwhile,
/// or a message may have been lost.
const REPEAT: Duration = Duration::from_secs(10);

/// How long a soak of another engine is shown after its last message: the engine may have been
/// killed.
const MAX_SILENCE: Duration = REPEAT.saturating_mul(3);

/// The largest message. Answers of metric providers are left out of a larger one.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Message<P> {
    deployment: DeploymentId,
    /// `None`: the soak is over.
    progress: Option<P>,
}

impl LiveSoaks {
    /// Exchanges soaks with the other engines until it is dropped. Cancel safe.
    pub(crate) async fn exchange(self: Arc<Self>, engines: Arc<dyn EngineMessages>) {
        let mut received = engines.subscribe();
        let mut changes = self.changes.subscribe();
        let mut repeat = interval(REPEAT);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = received.recv() => match message {
                    Ok(message) => self.receive(&message),
                    // It is told again.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                change = changes.recv() => match change {
                    Ok(Change { deployment, is_own: true }) => {
                        self.pass_on(engines.as_ref(), deployment).await;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = repeat.tick() => {
                    self.forget_silent();
                    for deployment in self.own() {
                        self.pass_on(engines.as_ref(), deployment).await;
                    }
                }
            }
        }
    }

    fn own(&self) -> Vec<DeploymentId> {
        let soaks = self.lock();
        let own = soaks.iter().filter(|(_, it)| it.source == Source::Own);
        own.map(|(deployment, _)| *deployment).collect()
    }

    async fn pass_on(&self, engines: &dyn EngineMessages, deployment: DeploymentId) {
        let progress = self.get(deployment);
        let Some(message) = encode(deployment, progress.as_deref()) else {
            tracing::debug!(%deployment, "what is known of a soak is too large for the other engines");
            return;
        };
        if let Err(error) = engines.publish(&message).await {
            let error = &*error;
            tracing::debug!(error, "cannot tell the other engines of a soak");
        }
    }

    pub(super) fn receive(&self, message: &[u8]) {
        let Message::<SoakProgress> {
            deployment,
            progress,
        } = match serde_json::from_slice(message) {
            Ok(message) => message,
            // A newer engine may have written it.
            Err(error) => {
                tracing::debug!(%error, "a message of another engine cannot be read");
                return;
            }
        };
        let has_changed = match progress {
            None => self.remove(deployment, |source| source != Source::Own),
            Some(progress) => {
                self.warnings.hear(deployment, &progress.warnings);
                let source = Source::Other(Instant::now());
                self.insert(deployment, Arc::new(progress), source)
            }
        };
        if has_changed {
            self.tell(deployment, false);
        }
    }

    pub(super) fn forget_silent(&self) {
        let now = Instant::now();
        let is_silent = |shown: &Shown| match shown.source {
            Source::Own => false,
            Source::Other(heard) => now.duration_since(heard) >= MAX_SILENCE,
        };
        let mut silent = Vec::new();
        self.lock().retain(|deployment, shown| {
            let is_silent = is_silent(shown);
            silent.extend(is_silent.then_some(*deployment));
            !is_silent
        });
        for deployment in silent {
            self.tell(deployment, false);
        }
    }
}

/// `None` where the message would be too large.
fn encode(deployment: DeploymentId, progress: Option<&SoakProgress>) -> Option<Vec<u8>> {
    encode_whole(deployment, progress).or_else(|| {
        let mut without_answers = progress?.clone();
        for finding in &mut without_answers.findings {
            finding.queried.clear();
        }
        encode_whole(deployment, Some(&without_answers))
    })
}

fn encode_whole(deployment: DeploymentId, progress: Option<&SoakProgress>) -> Option<Vec<u8>> {
    let message = Message {
        deployment,
        progress,
    };
    let encoded = serde_json::to_vec(&message).ok();
    encoded.filter(|encoded| encoded.len() <= MAX_BYTES)
}
