use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hotswap_api::{Config, Secret, Tokens};
use hotswap_core::{Append, Clock, DeploymentId, EventBody, Header, SystemClock};
use hotswap_runner::{Engine, EngineConfig};
use hotswap_store::{Journal, Sqlite};
use hotswap_tests::{Core, NODE_TOKEN, StillFleet, header};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::dialect::MARK;
use crate::server::TOKEN;

/// THE ONE PLACE where limits are raised for this bench: all clients are one user's. What
/// else there is to set stays as it is served by default.
fn raise_limits(config: &mut Config) {
    const CONNECTIONS: usize = 11_000;
    config.limits.connections = CONNECTIONS;
    config.live.hubs.max_connections = CONNECTIONS;
    config.live.hubs.max_connections_per_user = CONNECTIONS;
}

/// Our server, as the other processes of the bench are: tells its port, then publishes as
/// standard input orders, until that ends.
pub async fn serve(deployment: DeploymentId) -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let core = Core::new(folder.path(), Default::default()).await?;
    let engine = Engine::start(EngineConfig {
        journal: Arc::new(core.store.clone()),
        catalogue: Arc::new(core.store.clone()),
        blobs: core.blobs,
        host: core.host,
        registry: core.registry,
        fleet: Arc::new(StillFleet::new(1)),
        environments: core.environments,
        clock: Arc::new(SystemClock),
        limits: core.limits,
        // Compiling them would leave free memory behind, and hide what connections take.
        built_in: Vec::new(),
    })
    .await?;
    // The journal is begun behind the engine's back: nobody drives the deployment.
    let header = Header {
        id: deployment,
        ..header("hello")?
    };
    core.store.create(header, SystemClock.now()).await?;
    let mut publisher = Publisher {
        store: core.store,
        deployment,
        next_seq: 1,
        published: 0,
    };

    let (api, node) = (Secret::strong(TOKEN)?, Secret::strong(NODE_TOKEN)?);
    let mut config = Config::new(Tokens { api, node });
    config.addr = "127.0.0.1:0".parse()?;
    raise_limits(&mut config);
    let server = hotswap_api::Server::bind(config, engine).await?;
    println!("{}", server.local_addr().port());
    tokio::spawn(server.run(std::future::pending()));

    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        match order.split(' ').collect::<Vec<_>>().as_slice() {
            ["publish"] => publisher.publish(1).await?,
            ["rate", rate, seconds] => publisher.sustain(rate.parse()?, seconds.parse()?).await?,
            _ => bail!("no order {order}"),
        }
    }
    Ok(())
}

/// Somebody who pauses and resumes the deployment, again and again.
struct Publisher {
    store: Sqlite,
    deployment: DeploymentId,
    next_seq: u64,
    published: u64,
}

impl Publisher {
    /// So many events, one after the other, durable together.
    async fn publish(&mut self, events: u64) -> Result<()> {
        let bodies = (1..=events).map(|event| {
            let number = self.published + event;
            let by = format!("{MARK}{number}");
            match number % 2 {
                1 => EventBody::Paused { by },
                _ => EventBody::Resumed { by },
            }
        });
        let append = Append {
            deployment: self.deployment,
            expected: self.next_seq,
            fence: None,
            at: SystemClock.now(),
            bodies: bodies.collect(),
        };
        self.next_seq = self.store.append(append).await?.next_seq;
        self.published += events;
        Ok(())
    }

    /// By the clock: what falls due while the disk is busy is appended next, together.
    async fn sustain(&mut self, rate: u32, seconds: u32) -> Result<()> {
        let (begun, all) = (Instant::now(), u64::from(rate * seconds));
        let mut done = 0;
        while done < all {
            let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64 + 1;
            let due = due.min(all);
            if due > done {
                self.publish(due - done).await?;
                done = due;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        println!("done {done}");
        Ok(())
    }
}
