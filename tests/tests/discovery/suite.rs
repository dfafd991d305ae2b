//! What every registry must do alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use hotswap_common::free_ports;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind, Instance, Liveness, Prober};
use hotswap_plugins::discovery::{BackendError, InstanceHealth, RegistryError};
use hotswap_tests::SilentServer;
use tokio::sync::watch;

use crate::fixture::{Fixture, SERVICE, registration};
use crate::slow_proxy::SlowProxy;
use crate::writer::Writer;

/// A change must be seen so soon after the registry knows of it.
const LATENCY: Duration = Duration::from_secs(1);

/// How late each part of an answer of a slow registry comes.
const DELAY: Duration = Duration::from_millis(700);

/// Every node answers.
pub struct AllAlive;

#[async_trait]
impl Prober for AllAlive {
    async fn probe(&self, _: &Instance) -> Liveness {
        Liveness::Alive
    }
}

pub async fn an_instance_is_found_changes_its_health_and_is_gone(fixture: Fixture) -> Result<()> {
    let watched = fixture.watch(None);
    watched
        .until("an answer", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    let mut writer = fixture.writer().await?;
    for id in ["node-1", "node-2", "node-3"] {
        writer.register(id).await?;
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
        writer.report("node-2", health).await?;
        let latency = watched.until_health("node-2", expected).await?;
        ensure!(
            latency < LATENCY,
            "a change of health was seen after {latency:?}"
        );
    }
    // Another instance of the component, as after a crash.
    let mut other = fixture.writer().await?;
    other.remove("node-1").await?;
    let latency = watched.until_ids(&["node-2", "node-3"]).await?;
    ensure!(
        latency < LATENCY,
        "a deregistration was seen after {latency:?}"
    );
    if let Writer::Component(instance) = &mut writer {
        let (service, id) = (SERVICE.to_owned(), "node-1".to_owned());
        instance.deregister(service.clone(), id.clone()).await?;
        let lost = instance
            .heartbeat(service, id, InstanceHealth::Passing)
            .await;
        ensure!(
            matches!(lost, Err(BackendError::Registry(RegistryError::NotFound))),
            "{lost:?}"
        );
    }
    Ok(())
}

/// Whoever asks the registry for healthy instances must not get one that has not said that it is
/// ready.
pub async fn a_registered_instance_is_critical_until_it_reports(fixture: Fixture) -> Result<()> {
    let watched = fixture.watch(None);
    let mut instance = fixture.instance().await?;
    instance.register(registration("node-1")).await?;
    watched.until_ids(&["node-1"]).await?;
    let found = watched.get("node-1").context("it was found")?;
    assert_eq!(found.health, Health::Critical);
    let (service, id) = (SERVICE.to_owned(), "node-1".to_owned());
    let passing = InstanceHealth::Passing;
    instance.heartbeat(service, id, passing).await?;
    let is_passing = |source: &hotswap_fleet::discovery::WatchedSource| source.state().passing == 1;
    watched.until("it is passing", is_passing).await?;
    Ok(())
}

/// Nothing gives up on a registry that answers late.
pub async fn a_slow_registry_is_waited_for(mut fixture: Fixture) -> Result<()> {
    let url = fixture.server.url();
    let (_, addr) = url.split_once("://").context("no URL")?;
    let proxy = SlowProxy::start(addr.parse()?, DELAY).await?;
    fixture.go_through(&[proxy.addr])?;
    let watched = fixture.watch(None);
    let mut writer = fixture.writer().await?;
    writer.register("node-1").await?;
    watched.until_ids(&["node-1"]).await?;
    writer.register("node-2").await?;
    let took = watched.until_ids(&["node-1", "node-2"]).await?;
    // Kubernetes is asked over three connections: for the watch, the slices and the pods. The busier
    // the machine, the more parts each answer comes in.
    ensure!(
        took < 20 * DELAY + LATENCY,
        "a change was seen after {took:?}"
    );
    let state = watched.source.state();
    assert_eq!(state.condition, Condition::Healthy);
    assert_eq!(state.last_error, None);
    writer.remove("node-1").await?;
    watched.until_ids(&["node-2"]).await?;
    Ok(())
}

/// The first endpoint refuses connections, the second never answers, and the one after these, which
/// is used, dies.
pub async fn another_endpoint_is_asked_where_one_does_not_answer(
    mut fixture: Fixture,
) -> Result<()> {
    let url = fixture.server.url();
    let (_, addr) = url.split_once("://").context("no URL")?;
    let addr: SocketAddr = addr.parse()?;
    let dead = SocketAddr::from(([127, 0, 0, 1], free_ports(1)?[0]));
    let silent = SilentServer::start().await?;
    let used = SlowProxy::start(addr, Duration::ZERO).await?;
    let spare = SlowProxy::start(addr, Duration::ZERO).await?;
    fixture.go_through(&[dead, silent.addr(), used.addr, spare.addr])?;
    let watched = fixture.watch(None);
    let is_healthy = |source: &hotswap_fleet::discovery::WatchedSource| {
        source.state().condition == Condition::Healthy
    };
    watched.until("an answer", is_healthy).await?;
    let mut writer = fixture.writer().await?;
    writer.register("node-1").await?;
    watched.until_ids(&["node-1"]).await?;
    let state = watched.source.state();
    assert_eq!(
        (state.condition, state.last_error),
        (Condition::Healthy, None)
    );
    drop(used);
    writer.register("node-2").await?;
    watched.until_ids(&["node-1", "node-2"]).await?;
    watched.until("it is healthy again", is_healthy).await?;
    // It waits for changes there.
    writer.remove("node-1").await?;
    let latency = watched.until_ids(&["node-2"]).await?;
    ensure!(latency < LATENCY, "a change was seen after {latency:?}");
    Ok(())
}

/// The first endpoint never answers, and the one that is used instead stands still later. The times
/// are those of a node.
pub async fn a_registration_is_kept_where_endpoints_hang(mut fixture: Fixture) -> Result<()> {
    let watched = fixture.watch(None);
    let url = fixture.server.url();
    let (_, addr) = url.split_once("://").context("no URL")?;
    let addr: SocketAddr = addr.parse()?;
    let silent = SilentServer::start().await?;
    let used = SlowProxy::start(addr, Duration::ZERO).await?;
    let spare = SlowProxy::start(addr, Duration::ZERO).await?;
    fixture.go_through(&[silent.addr(), used.addr, spare.addr])?;
    let (health, reported) = watch::channel(InstanceHealth::Passing);
    let kept = fixture.keep_as_a_node("node-1", reported);
    watched.until_health("node-1", Health::Passing).await?;
    used.freeze();
    health.send_replace(InstanceHealth::Warning);
    // It is heard through the spare one.
    watched.until_health("node-1", Health::Warning).await?;
    ensure!(
        !kept.failure.has_changed()?,
        "it failed: {:?}",
        *kept.failure.borrow()
    );
    kept.stop().await?;
    watched.until_ids(&[]).await?;
    Ok(())
}

/// With `loses_data` the registry comes back empty, and its index or revision has gone back.
pub async fn the_view_outlives_the_registry_and_registrations_are_made_again(
    mut fixture: Fixture,
    loses_data: bool,
) -> Result<()> {
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
    match loses_data {
        true => fixture.server.restart_empty().await?,
        false => fixture.server.restart().await?,
    }
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

/// The registry comes back without its data: its index or revision is lower than the one from which
/// a watch goes on.
pub async fn a_watch_from_before_a_loss_is_answered_with_what_is_there(
    mut fixture: Fixture,
) -> Result<()> {
    let mut instance = fixture.instance().await?;
    for number in 0..20 {
        instance
            .register(registration(&format!("old-{number}")))
            .await?;
    }
    let service = || SERVICE.to_owned();
    let before = instance.watch(service(), None, Duration::ZERO).await?;
    assert_eq!(before.instances.len(), 20);
    fixture.server.kill().await?;
    fixture.server.restart_empty().await?;
    instance.register(registration("new")).await?;
    // Consul answers only when this is over.
    let patience = Duration::from_secs(10);
    let cursor = Some(before.cursor.clone());
    let after = instance.watch(service(), cursor, patience).await?;
    let ids: Vec<_> = after.instances.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["new"]);
    // From here on a change is seen at once.
    let again = instance
        .watch(service(), Some(after.cursor), Duration::ZERO)
        .await?;
    let mut other = fixture.instance().await?;
    let long = Duration::from_secs(120);
    let (changed, registered) = tokio::join!(
        instance.watch(service(), Some(again.cursor), long),
        other.register(registration("newer"))
    );
    registered?;
    assert_eq!(changed?.instances.len(), 2);
    Ok(())
}

pub async fn a_registry_that_loses_living_nodes_is_not_believed(fixture: Fixture) -> Result<()> {
    let watched = fixture.watch(Some(Arc::new(AllAlive)));
    let mut writer = fixture.writer().await?;
    for id in ["a", "b", "c"] {
        writer.register(id).await?;
    }
    watched.until_ids(&["a", "b", "c"]).await?;
    for id in ["a", "b", "c"] {
        writer.remove(id).await?;
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
    // What is still missing is as doubtful as before, until it is registered again.
    writer.register("d").await?;
    watched.until_ids(&["c", "d"]).await?;
    assert_eq!(watched.source.state().condition, Condition::Held);
    writer.register("c").await?;
    watched
        .until("it is healthy", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    assert_eq!(watched.ids(), ["c", "d"]);
    Ok(())
}
