use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_plugins::discovery::{
    BackendComponent, BackendError, BackendInstance, BackendLimits, BackendSettings, DiscoveryHost,
    RegistryError, Resolver,
};

/// Small limits, so that tests that reach them are fast.
pub fn limits() -> BackendLimits {
    BackendLimits {
        memory_bytes: 16 << 20,
        fuel: 200_000_000,
        call_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_millis(500),
        response_bytes: 1 << 20,
        ..BackendLimits::default()
    }
}

pub async fn probe() -> BackendComponent {
    let host = DiscoveryHost::new(limits()).expect("it starts");
    let loaded = host.load(hotswap_guests::DISCOVERY_PROBE).await;
    loaded.expect("it loads")
}

/// Settings that allow one origin.
pub fn settings(origin: &str) -> BackendSettings {
    BackendSettings {
        origins: vec![origin.parse().expect("an origin")],
        ..BackendSettings::new("probe")
    }
}

pub async fn start(settings: BackendSettings) -> BackendInstance {
    probe().await.start(settings).await.expect("it starts")
}

/// Has the probe do something, and returns the outcome of it.
pub async fn act(instance: &mut BackendInstance, act: &str) -> Result<String, BackendError> {
    let watched = instance.watch(act.to_owned(), None, Duration::from_millis(500));
    let snapshot = watched.await?;
    Ok(snapshot.instances[0].address.clone())
}

/// The error of the registry, as the component saw it.
pub async fn registry_error(settings: BackendSettings, what: &str) -> RegistryError {
    let mut instance = start(settings).await;
    match act(&mut instance, what).await {
        Err(BackendError::Registry(error)) => error,
        other => panic!("{what}: {other:?}"),
    }
}

/// A resolver for which every name has these addresses.
pub struct Fixed(pub Vec<&'static str>);

impl Fixed {
    pub fn new(addresses: &[&'static str]) -> Arc<Self> {
        Arc::new(Self(addresses.to_vec()))
    }
}

#[async_trait]
impl Resolver for Fixed {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = self.0.iter().map(|text| text.parse());
        addresses
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)
    }
}
