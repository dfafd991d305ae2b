//! Registers this program in the registries of the configuration, so that others find it.

mod engine;
mod node;
mod node_sources;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use hotswap_common::Backoff;
use hotswap_core::{Clock, SystemClock};
use hotswap_plugins::discovery::{
    self, BackendComponent, BackendSettings, HealthCheck, HttpCheck, InstanceHealth, Registration,
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

const MIN_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Registrations, which are kept alive until [`Self::stop`].
pub struct Registrations {
    health: watch::Sender<InstanceHealth>,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// A registration in one source.
#[derive(Clone)]
struct KeptRegistration {
    source: String,
    service: String,
    /// The servers of the registry, each as `host:port`.
    peers: Vec<String>,
    registrant: Arc<dyn Registrant>,
    component: BackendComponent,
    settings: BackendSettings,
    /// Its kind and interval.
    check: (CheckKind, Duration),
    health: watch::Receiver<InstanceHealth>,
    stop: CancellationToken,
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
            if !component.descriptor().can_register {
                continue;
            }
            let kept = KeptRegistration {
                source: source.name.clone(),
                service: registrant.service(source),
                peers: peers(source).with_context(context)?,
                registrant: Arc::clone(&registrant),
                component,
                settings,
                check: (source.check, source.check_interval.0),
                health: health.subscribe(),
                stop: stop.clone(),
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(kept.keep())));
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
            // None panics.
            let _ = task.await;
        }
    }
}

impl KeptRegistration {
    /// Registers until the program stops, then deregisters.
    async fn keep(self) {
        let (source, stop) = (self.source.clone(), self.stop.clone());
        begin_anew(&source, &stop, || self.clone().register()).await;
    }

    async fn register(self) {
        let (registrant, source) = (self.registrant.as_ref(), &*self.source);
        let located = locate(registrant, source, &self.service, &self.peers);
        let Some(located) = self.stop.run_until_cancelled(located).await else {
            return;
        };
        let (kind, interval) = self.check;
        let registrar = Registrar::new(
            self.component,
            self.settings,
            located.checked(kind, interval),
            Arc::new(SystemClock),
            match kind {
                CheckKind::Ttl => RegistrarOptions::for_ttl(TTL),
                CheckKind::Http => RegistrarOptions::for_http(interval),
            },
        );
        let registrar = registrar.with_health(self.health);
        if let Err(error) = registrar.run(self.stop.cancelled_owned()).await {
            tracing::warn!(source, %error, "cannot deregister; the registration expires");
        }
    }
}

/// Keeps a registration until it ends. Restarts after a panic: otherwise the instance would
/// vanish from the registry unnoticed. Cancel safe if `register` is.
async fn begin_anew<F: Future<Output = ()>>(
    source: &str,
    stop: &CancellationToken,
    register: impl Fn() -> F,
) {
    let mut backoff = Backoff::new(MIN_RETRY, MAX_RETRY);
    while AssertUnwindSafe(register()).catch_unwind().await.is_err() {
        tracing::error!(
            source,
            "keeping a registration panicked, which is a bug: please report it; it begins anew"
        );
        let pause = stop.run_until_cancelled(sleep(backoff.next_delay()));
        if pause.await.is_none() {
            return;
        }
    }
}

/// Finds out how others reach the registrant, from the first server of the registry that leads to an
/// answer. Their names may not resolve yet.
async fn locate(
    registrant: &dyn Registrant,
    source: &str,
    service: &str,
    peers: &[String],
) -> Located {
    let mut backoff = Backoff::new(MIN_RETRY, MAX_RETRY);
    let mut is_told = false;
    loop {
        for peer in peers {
            match registrant.registration(service, peer).await {
                Ok(located) => return located,
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let error = format!("{error:#}");
                        tracing::warn!(source, error, "cannot register yet, trying again");
                    }
                }
            }
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn sleep(span: Duration) {
    let clock = SystemClock;
    clock.sleep_until(clock.instant() + span).await;
}

/// The servers of a registry, each as `host:port`. At least one.
fn peers(source: &DiscoverySource) -> Result<Vec<String>> {
    ensure!(!source.origins.is_empty(), "it has no origins");
    let peer = |origin: &String| {
        let url = reqwest::Url::parse(origin).context("origins")?;
        let host = url.host_str().context("origins: there is no host")?;
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(format!("{host}:{port}"))
    };
    source.origins.iter().map(peer).collect()
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Is reached only where this server of the registry can be asked.
    struct Behind(&'static str);

    #[async_trait]
    impl Registrant for Behind {
        async fn registration(&self, service: &str, peer: &str) -> Result<Located> {
            ensure!(peer == self.0, "{peer} does not resolve");
            Ok(Located {
                registration: registration(service, "a", peer, &[]),
                health: String::new(),
            })
        }

        fn service(&self, _: &DiscoverySource) -> String {
            "node".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_first_server_has_no_address_the_next_one_leads_to_the_registrant() {
        let table = serde_json::json!({
            "name": "main",
            "backend": "consul",
            "origins": ["http://gone:8500", "https://there"],
        });
        let source: DiscoverySource = serde_json::from_value(table).unwrap();
        let peers = peers(&source).unwrap();
        assert_eq!(peers, ["gone:8500", "there:443"]);
        let found = locate(&Behind("there:443"), "main", "node", &peers).await;
        assert_eq!(found.registration.address, "there:443");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registration_that_panics_begins_anew_until_it_ends_or_is_to_stop() {
        let begun = AtomicU32::new(0);
        let stop = CancellationToken::new();
        let register = || async {
            let count = begun.fetch_add(1, Ordering::Relaxed);
            assert!(count == 2, "as the test wants");
        };
        begin_anew("main", &stop, register).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        stop.cancel();
        begin_anew("main", &stop, || async { panic!("as the test wants") }).await;
    }

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
