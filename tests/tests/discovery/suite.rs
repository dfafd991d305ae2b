//! What every registry must do alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind, Instance, Prober};
use hotswap_plugins::discovery::{BackendError, InstanceHealth, RegistryError};
use hotswap_tests::RegistryKind;

use crate::fixture::{Fixture, SERVICE, registration};

/// A change must be seen so soon after the registry knows of it.
const LATENCY: Duration = Duration::from_secs(1);

/// Every node answers.
struct AllAlive;

#[async_trait]
impl Prober for AllAlive {
    async fn is_alive(&self, _: &Instance) -> bool {
        true
    }
}

pub async fn an_instance_is_found_changes_its_health_and_is_gone(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    let watched = fixture.watch(None);
    watched
        .until("an answer", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    let mut instance = fixture.instance().await?;
    for id in ["node-1", "node-2", "node-3"] {
        instance.register(registration(id)).await?;
        watched
            .until("it is found", |_| watched.get(id).is_some())
            .await?;
    }
    let found = watched.get("node-2").context("it was found")?;
    assert_eq!(found.environment, Some("production".parse()?));
    assert_eq!(found.control_url.as_deref(), Some("http://10.0.0.1:5001"));
    assert_eq!(found.data_url.as_deref(), Some("http://10.0.0.1:8080"));
    assert_eq!(found.version.as_deref(), Some("0.1.0"));
    assert_eq!(found.zone.as_deref(), Some("eu"));
    assert_eq!(found.labels["hotswap.dev/tier"], "edge");
    assert_eq!(found.health, Health::Passing);
    for (health, expected) in [
        (InstanceHealth::Warning, Health::Warning),
        (InstanceHealth::Critical, Health::Critical),
        (InstanceHealth::Passing, Health::Passing),
    ] {
        let (service, id) = (SERVICE.to_owned(), "node-2".to_owned());
        instance.heartbeat(service, id, health).await?;
        let latency = watched
            .until("its health changes", |_| {
                watched
                    .get("node-2")
                    .is_some_and(|found| found.health == expected)
            })
            .await?;
        ensure!(
            latency < LATENCY,
            "a change of health was seen after {latency:?}"
        );
    }
    // Another instance of the component, as after a crash.
    let mut other = fixture.instance().await?;
    other
        .deregister(SERVICE.to_owned(), "node-1".to_owned())
        .await?;
    let latency = watched.until_ids(&["node-2", "node-3"]).await?;
    ensure!(
        latency < LATENCY,
        "a deregistration was seen after {latency:?}"
    );
    other
        .deregister(SERVICE.to_owned(), "node-1".to_owned())
        .await?;
    let unknown = ("unknown".to_owned(), InstanceHealth::Passing);
    let lost = instance
        .heartbeat(SERVICE.to_owned(), unknown.0, unknown.1)
        .await;
    ensure!(
        matches!(lost, Err(BackendError::Registry(RegistryError::NotFound))),
        "{lost:?}"
    );
    Ok(())
}

pub async fn the_view_outlives_the_registry_and_registrations_are_made_again(
    kind: RegistryKind,
) -> Result<()> {
    let mut fixture = Fixture::start(kind).await?;
    let watched = fixture.watch(None);
    let kept: Vec<_> = ["a", "b", "c"].map(|id| fixture.keep(id)).into();
    watched.until_ids(&["a", "b", "c"]).await?;
    fixture.server.kill().await?;
    watched
        .until("it is stale", |source| {
            source.state().condition == Condition::Stale
        })
        .await?;
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    let error = watched.source.state().last_error.context("it failed")?;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
    fixture.server.restart().await?;
    watched
        .until("it is healthy", |source| {
            source.state().condition == Condition::Healthy && source.state().passing == 3
        })
        .await?;
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    let [a, b, c] = <[_; 3]>::try_from(kept).ok().context("three")?;
    let mut failure = c.failure.clone();
    let repaired = failure.wait_for(Option::is_none);
    tokio::time::timeout(Duration::from_secs(60), repaired).await??;
    a.stop().await?;
    watched.until_ids(&["b", "c"]).await?;
    b.stop().await?;
    c.stop().await?;
    watched.until_ids(&[]).await?;
    Ok(())
}

pub async fn a_registry_that_loses_living_nodes_is_not_believed(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    let watched = fixture.watch(Some(Arc::new(AllAlive)));
    let mut instance = fixture.instance().await?;
    for id in ["a", "b", "c"] {
        instance.register(registration(id)).await?;
    }
    watched.until_ids(&["a", "b", "c"]).await?;
    for id in ["a", "b", "c"] {
        instance
            .deregister(SERVICE.to_owned(), id.to_owned())
            .await?;
        // One at a time is no loss of most, until there are two left.
        let is_seen = |_: &_| {
            watched
                .get(id)
                .is_none_or(|it| it.health == Health::Unknown)
        };
        watched.until("it is seen", is_seen).await?;
    }
    assert_eq!(watched.source.state().condition, Condition::Held);
    let held = watched.source.state().held.context("it is held")?;
    assert_eq!((held.lost, held.alive), (1, Some(1)));
    instance.register(registration("c")).await?;
    watched
        .until("it is healthy", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    assert_eq!(watched.ids(), ["c"]);
    Ok(())
}
