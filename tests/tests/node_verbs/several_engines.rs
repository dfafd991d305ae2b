//! Engines that share a store decide about nodes at the same moment. Each has its own memory and
//! its own locks, so only the store can tell that another one was first.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::EnvironmentEventBody as Body;
use hotswap_runner::nodes::Error;
use hotswap_runner::{Engine, ExpiryLimits};
use hotswap_tests::{Cluster, RacingEnvironmentJournal};
use tokio::sync::oneshot;

use super::{ada, cluster, events, node, production, stop_node, wait_until};

/// The engine of a cluster, which always loses the race, and another one on the same store.
struct TwoEngines {
    cluster: Cluster,
    race: Arc<RacingEnvironmentJournal>,
    other: Engine,
}

impl TwoEngines {
    async fn start(nodes: usize) -> Result<Self> {
        let mut cluster = cluster(nodes).await?;
        let store = Arc::new(cluster.resources.store.clone());
        let other = cluster.resources.start_engine(Arc::clone(&store) as _);
        let other = other.await?;
        let race = RacingEnvironmentJournal::wrap(Arc::clone(&store) as _);
        cluster.resources.environment_journal = Arc::clone(&race) as _;
        cluster.restart_engine(store).await?;
        Ok(Self {
            cluster,
            race,
            other,
        })
    }

    /// Lets the other engine drain a node right before this one appends the next event that
    /// `is_target` accepts. Returns what came of that.
    fn other_drains(
        &self,
        is_target: fn(&Body) -> bool,
        number: u32,
    ) -> oneshot::Receiver<Result<(), Error>> {
        let (tell, told) = oneshot::channel();
        let nodes = self.other.nodes.clone();
        self.race.before(is_target, async move {
            let _ = tell.send(nodes.drain(&node(number), ada(), None, false).await);
        });
        told
    }

    async fn end(self) {
        self.other.shutdown().await;
        self.cluster.shutdown().await;
    }
}

fn is_drained(body: &Body) -> bool {
    matches!(body, Body::Drained { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_drains_on_two_engines_only_one_is_made_where_the_policy_allows_one() -> Result<()> {
    // Of two, half is one.
    let engines = TwoEngines::start(2).await?;
    let nodes = &engines.cluster.engine.nodes;
    let other = engines.other_drains(is_drained, 2);
    let drained = nodes.drain(&node(1), ada(), None, false).await;
    other.await?.context("the other engine was first")?;
    ensure!(
        matches!(drained, Err(Error::TooManyUnavailable { .. })),
        "{drained:?}"
    );
    let is_drained_here = |number| {
        let cordon = nodes.cordon_of(&production(), &node(number));
        cordon.is_some_and(|cordon| cordon.drained)
    };
    ensure!(!is_drained_here(1) && is_drained_here(2));
    // What the other engine decides counts at once, although this one does not follow it.
    let others = &engines.other.nodes;
    others.uncordon(&node(2), ada(), None).await?;
    nodes.drain(&node(1), ada(), None, false).await?;
    ensure!(is_drained_here(1) && !is_drained_here(2));
    let names: Vec<_> = events(&engines.cluster).await?;
    let names: Vec<_> = names.iter().map(Body::name).collect();
    ensure!(names == ["drained", "uncordoned", "drained"], "{names:?}");
    engines.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_another_engine_came_before_is_decided_anew() -> Result<()> {
    // Of four, half is two.
    let engines = TwoEngines::start(4).await?;
    let nodes = &engines.cluster.engine.nodes;
    let other = engines.other_drains(is_drained, 2);
    nodes.drain(&node(1), ada(), None, false).await?;
    other.await??;
    let third = nodes.drain(&node(3), ada(), None, false).await;
    ensure!(
        matches!(third, Err(Error::TooManyUnavailable { .. })),
        "{third:?}"
    );
    nodes.uncordon(&node(1), ada(), None).await?;
    // A cordon of a node that another engine has drained just now leaves it drained.
    let is_cordoned = |body: &Body| matches!(body, Body::Cordoned { .. });
    let other = engines.other_drains(is_cordoned, 3);
    nodes.cordon(&node(3), ada(), None).await?;
    other.await??;
    let cordon = nodes.cordon_of(&production(), &node(3));
    ensure!(
        cordon.as_ref().is_some_and(|cordon| cordon.drained),
        "{cordon:?}"
    );
    engines.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_has_lost_the_environment_removes_no_node() -> Result<()> {
    let mut cluster = cluster(2).await?;
    let store = Arc::new(cluster.resources.store.clone());
    let race = RacingEnvironmentJournal::wrap(Arc::clone(&store) as _);
    cluster.resources.environment_journal = Arc::clone(&race) as _;
    cluster.resources.limits.expiry = ExpiryLimits {
        silent: Duration::from_secs(1),
        stopped: Duration::from_secs(1),
    };
    cluster.restart_engine(store).await?;
    // Another engine takes over when this one has decided already.
    let taken = Arc::clone(&race);
    let is_expired = |body: &Body| matches!(body, Body::Expired { .. });
    race.before(
        is_expired,
        async move { taken.take_lease(&production()).await },
    );
    stop_node(&mut cluster, 2).await?;
    let nodes = cluster.engine.nodes.clone();
    wait_until("the node is to expire", async || {
        nodes.expire_once().await?;
        Ok(race.has_raced())
    })
    .await?;
    ensure!(nodes.expire_once().await? == 0, "it is not this engine's");
    let registry = cluster.resources.registry.clone();
    ensure!(registry.member(&node(2)).is_some());
    ensure!(!events(&cluster).await?.iter().any(is_expired));
    race.give_lease_back();
    wait_until("the node has expired", async || {
        nodes.expire_once().await?;
        Ok(registry.member(&node(2)).is_none())
    })
    .await?;
    let expired = events(&cluster).await?;
    ensure!(expired.iter().filter(|body| is_expired(body)).count() == 1);
    ensure!(registry.members_of(&production()).len() == 1);
    cluster.shutdown().await;
    Ok(())
}
