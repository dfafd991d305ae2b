//! Registers this program in the registries of the configuration, so that others find it.

mod engine;
mod node;
mod node_sources;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hotswap_common::Backoff;
use hotswap_core::{Clock, SystemClock};
use hotswap_plugins::discovery::{
    self, BackendSettings, HealthCheck, HttpCheck, InstanceHealth, Registration,
};
use hotswap_runner::discovery::{Registrar, RegistrarOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use engine::EngineRegistrant;
pub use node::NodeRegistrant;
pub use node_sources::read_node_sources;

use crate::config::{CheckKind, DiscoverySource, STATIC};
use crate::discovery::Components;

/// An instance that does not report in for this long is critical.
const TTL: Duration = Duration::from_secs(30);

/// How long an instance may take to answer a registry that asks it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A registry forgets an instance that was critical for this long.
const DEREGISTER_AFTER: Duration = Duration::from_secs(600);

/// How long a registry may take to answer one call, within the time-outs of the registrar.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const MIN_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Registrations, which are kept alive until [`Self::stop`].
pub struct Registrations {
    health: watch::Sender<InstanceHealth>,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// What is registered. Where it is reached may depend on who asks.
#[async_trait]
pub trait Registrant: Send + Sync + 'static {
    /// How it wants to be found in the registry at `peer`, which is `host:port`.
    ///
    /// # Errors
    /// If it is not known how others reach it.
    async fn registration(&self, service: &str, peer: &str) -> Result<Located>;

    /// The service that it is an instance of, as the source configures it for nodes.
    fn service(&self, source: &DiscoverySource) -> String;
}

/// What is registered, once it is known how others reach it.
pub struct Located {
    /// Without a check.
    registration: Registration,
    /// The URL that answers 200 while the instance can do its work, without a token.
    health: String,
}

impl Registrations {
    /// Registers in each source that has `register` set and can register. Waits for no registry.
    ///
    /// # Errors
    /// If a component does not load, its settings are invalid, or a secret cannot be read.
    pub async fn start(
        sources: &[DiscoverySource],
        health: InstanceHealth,
        registrant: Arc<dyn Registrant>,
        components: &Components,
    ) -> Result<Self> {
        let (health, stop) = (watch::Sender::new(health), CancellationToken::new());
        let mut tasks = Vec::new();
        let is_registrable = |it: &&DiscoverySource| it.register && it.backend != STATIC;
        for source in sources.iter().filter(is_registrable) {
            let context = || format!("discovery source '{}'", source.name);
            let prepared = components.prepare(source).await;
            let (component, settings) = prepared.with_context(context)?;
            let settings = BackendSettings {
                call_timeout: Some(CALL_TIMEOUT),
                ..settings
            };
            if !component.descriptor().can_register {
                continue;
            }
            let peer = peer(source).with_context(context)?;
            let (registrant, service) = (Arc::clone(&registrant), registrant.service(source));
            let (health, stop) = (health.subscribe(), stop.clone());
            let name = source.name.clone();
            let (kind, interval) = (source.check, source.check_interval.0);
            let work = async move {
                let located = locate(registrant.as_ref(), &name, &service, &peer);
                let Some(located) = stop.run_until_cancelled(located).await else {
                    return;
                };
                let registrar = Registrar::new(
                    component,
                    settings,
                    located.checked(kind, interval),
                    Arc::new(SystemClock),
                    match kind {
                        CheckKind::Ttl => RegistrarOptions::for_ttl(TTL),
                        CheckKind::Http => RegistrarOptions::for_http(interval),
                    },
                );
                let registrar = registrar.with_health(health);
                if let Err(error) = registrar.run(stop.cancelled_owned()).await {
                    tracing::warn!(source = name, %error, "cannot deregister; the registration expires");
                }
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(work)));
        }
        Ok(Self {
            health,
            stop,
            tasks,
        })
    }

    /// Reports whether the program can do its work. A change is reported at once.
    pub fn report(&self, health: InstanceHealth) {
        self.health.send_if_modified(|now| {
            let is_new = *now != health;
            *now = health;
            is_new
        });
    }

    /// Deregisters everywhere, and waits for that, some seconds at most. What a registry does not
    /// hear of expires there. Does nothing the second time.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            // One that has panicked has said so.
            let _ = task.await;
        }
    }
}

/// Finds out how others reach the registrant. The name of the registry may not resolve yet.
async fn locate(registrant: &dyn Registrant, source: &str, service: &str, peer: &str) -> Located {
    let mut backoff = Backoff::new(MIN_RETRY, MAX_RETRY);
    let mut is_told = false;
    loop {
        match registrant.registration(service, peer).await {
            Ok(located) => return located,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    let error = format!("{error:#}");
                    tracing::warn!(source, error, "cannot register yet, trying again");
                }
            }
        }
        let clock = SystemClock;
        clock
            .sleep_until(clock.instant() + backoff.next_delay())
            .await;
    }
}

/// The first server of a registry, as `host:port`.
fn peer(source: &DiscoverySource) -> Result<String> {
    let origin = source.origins.first().context("it has no origins")?;
    let url = reqwest::Url::parse(origin).context("origins")?;
    let host = url.host_str().context("origins: there is no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    Ok(format!("{host}:{port}"))
}

impl Located {
    /// The registration with a check of this kind.
    fn checked(self, kind: CheckKind, interval: Duration) -> Registration {
        let check = match kind {
            CheckKind::Ttl => HealthCheck::Ttl(millis(TTL)),
            CheckKind::Http => HealthCheck::Http(HttpCheck {
                url: self.health,
                interval: millis(interval),
                timeout: millis(CHECK_TIMEOUT.min(interval)),
            }),
        };
        Registration {
            check: Some(check),
            ..self.registration
        }
    }
}

/// A registration that the registry forgets if it stays critical.
fn registration(service: &str, id: &str, host: &str, ports: &[(&str, u16)]) -> Registration {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    Registration {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        deregister_after: Some(millis(DEREGISTER_AFTER)),
        ..discovery::registration(service, id, address, ports)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interval 30 s, time limit 5 s, forgotten after 10 minutes, unless the configuration says
    /// otherwise.
    #[test]
    fn a_registration_has_a_check_with_the_usual_times() {
        let table = serde_json::json!({ "name": "main", "backend": "consul" });
        let source: DiscoverySource = serde_json::from_value(table).unwrap();
        let checked = |kind, interval| {
            let located = Located {
                registration: registration("node", "a", "10.0.0.1", &[("control", 1)]),
                health: "http://10.0.0.1:1/health/ready".to_owned(),
            };
            located.checked(kind, interval)
        };
        let usual = checked(CheckKind::Ttl, source.check_interval.0);
        assert_eq!(usual.deregister_after, Some(600_000));
        assert!(matches!(usual.check, Some(HealthCheck::Ttl(30_000))));
        for (interval, timeout) in [
            (source.check_interval.0, 5000),
            (Duration::from_secs(2), 2000),
        ] {
            let http = checked(CheckKind::Http, interval).check;
            let Some(HealthCheck::Http(http)) = http else {
                panic!("{http:?}")
            };
            assert_eq!(http.url, "http://10.0.0.1:1/health/ready");
            assert_eq!((http.interval, http.timeout), (millis(interval), timeout));
        }
        assert_eq!(source.check_interval.0, Duration::from_secs(30));
    }
}
