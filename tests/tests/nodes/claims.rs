//! Nodes that register under one id, at about the same time, with engines that share a store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use hotswap_core::SystemClock;
use hotswap_fleet::Registry;
use hotswap_fleet::registry::Error;
use hotswap_protocol::{Heartbeat, NodeHealth, Registered, Registration};
use hotswap_store::{Catalogue as _, Redis, RedisConfig};
use hotswap_tests::{RedisKind, RedisServer, unreachable_registration};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::PRODUCTION;

/// Ids for which nodes compete.
const IDS: usize = 30;
const CLAIMANTS: usize = 3;
/// Engines tell each other of nodes every 250 ms. Nodes register within this time, so that some
/// engines have heard of the first one and others have not.
const WITHIN: Duration = Duration::from_millis(400);
/// How long the nodes go on: for several reports to all engines.
const GOES_ON: Duration = Duration::from_secs(2);

/// An engine's registry on a connection of its own.
struct Engine {
    registry: Registry,
    store: Redis,
    _task: AbortOnDropHandle<()>,
}

async fn start_engine(server: &RedisServer, number: usize) -> Result<Engine> {
    let config = RedisConfig {
        engine: format!("engine-{number}"),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await?;
    let (catalogue, clock) = (Arc::new(store.clone()), Arc::new(SystemClock));
    let registry = Registry::load(catalogue, clock, Registry::DEFAULT_INTERVAL).await?;
    let task = registry.clone();
    let task = tokio::spawn(async move { task.run().await });
    Ok(Engine {
        registry,
        store,
        _task: AbortOnDropHandle::new(task),
    })
}

/// A node with a data folder of its own.
#[derive(Debug, Clone)]
struct Claimant {
    id: String,
    number: usize,
}

impl Claimant {
    fn instance(&self) -> String {
        format!("folder-{}-of-{}", self.number, self.id)
    }

    async fn register(&self, engine: &Registry) -> Result<Result<Registered, Error>> {
        let registration = Registration {
            boot: Some(self.instance()),
            instance: Some(self.instance()),
            ..unreachable_registration(PRODUCTION)
        };
        Ok(engine.register(self.id.parse()?, registration).await)
    }

    fn beat(&self, engine: &Registry) -> Result<bool> {
        let heartbeat = Heartbeat {
            health: NodeHealth::Passing,
            reason: None,
            highest_fence: 0,
            boot: Some(self.instance()),
            control_url: None,
            data_url: None,
            modules: None,
            readiness: None,
            traffic: None,
        };
        Ok(engine.heartbeat(&self.id.parse()?, heartbeat)?.is_some())
    }
}

/// Lets the nodes of one id register at random times with random engines. Returns the one that got
/// the id, and its engine.
async fn compete(id: String, engines: Arc<[Registry]>, mut rng: Rng) -> Result<Claimant> {
    let mut claimants = JoinSet::new();
    for number in 0..CLAIMANTS {
        let claimant = Claimant {
            id: id.clone(),
            number,
        };
        let at = rng.usize(..engines.len());
        let (engine, delay) = (engines[at].clone(), WITHIN.mul_f64(rng.f64()));
        claimants.spawn(async move {
            sleep(delay).await;
            anyhow::Ok(match claimant.register(&engine).await? {
                Ok(_) => Some((claimant, at)),
                Err(Error::Taken { .. }) => None,
                Err(error) => bail!(error),
            })
        });
    }
    let accepted: Vec<_> = claimants
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    let mut accepted = accepted.into_iter().flatten();
    let (winner, home) = accepted.next().context("nobody got the id")?;
    let also = accepted.next();
    ensure!(also.is_none(), "{winner:?} got the id, and {also:?}");

    let end = Instant::now() + GOES_ON;
    while Instant::now() < end {
        ensure!(winner.beat(&engines[home])?, "{winner:?} is not known");
        // One that has not heard of it lets it register, and nothing else.
        let other = &engines[rng.usize(..engines.len())];
        if !winner.beat(other)? {
            winner.register(other).await??;
        }
        let loser = Claimant {
            id: id.clone(),
            number: (winner.number + 1) % CLAIMANTS,
        };
        let refused = loser.register(other).await?;
        ensure!(
            matches!(refused, Err(Error::Taken { .. })),
            "{loser:?}: {refused:?}"
        );
        sleep(Duration::from_millis(rng.u64(20..200))).await;
    }
    Ok(winner)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_register_at_once_with_several_engines_one_gets_the_id() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = RedisServer::start(RedisKind::Redis)?;
    let mut engines = Vec::new();
    for number in 0..3 {
        engines.push(start_engine(&server, number).await?);
    }
    let registries: Arc<[_]> = engines
        .iter()
        .map(|engine| engine.registry.clone())
        .collect();
    let mut rng = Rng::with_seed(seed);
    let mut ids = JoinSet::new();
    for number in 0..IDS {
        let id = format!("node-{number}");
        ids.spawn(compete(id, Arc::clone(&registries), rng.fork()));
    }
    let winners: Vec<_> = ids.join_all().await.into_iter().collect::<Result<_>>()?;
    let stored = engines[0].store.nodes().await;
    let stored = stored.map_err(|error| anyhow::anyhow!(error))?;
    for winner in winners {
        let expected = Some(winner.instance());
        let record = stored.iter().find(|record| record.id.as_str() == winner.id);
        let record = record.context("it is not stored")?;
        ensure!(record.instance == expected, "{record:?}");
        for engine in &engines {
            let member = engine.registry.member(&record.id).context("not known")?;
            ensure!(member.record.instance == expected, "{member:?}");
            ensure!(member.boot == expected, "{member:?}");
        }
    }
    for engine in engines {
        engine.store.close().await;
    }
    Ok(())
}
