use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hotswap_api::{Config, Secret, Tokens};
use hotswap_core::{Append, Clock, DeploymentId, EventBody, Header, SystemClock};
use hotswap_runner::{Engine, EngineConfig};
use hotswap_store::{Journal, Sqlite};
use hotswap_tests::{
    EngineResources, LeaselessJournal, NODE_TOKEN, StaticFleet, UndecidedJournal, sample_header,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::server_kind::EVENT_MARK;
use crate::server_process::TOKEN;

/// THE ONE PLACE where this bench deviates from the default configuration. All clients belong
/// to one user, so it needs higher limits of connections.
fn raise_limits(config: &mut Config) {
    const CONNECTIONS: usize = 11_000;
    config.limits.connections = CONNECTIONS;
    config.live.hubs.max_connections = CONNECTIONS;
    config.live.hubs.max_connections_per_user = CONNECTIONS;
}

/// Runs our server with the interface of the other servers: prints its port, then follows the
/// commands on standard input until that ends.
pub async fn serve(deployment: DeploymentId) -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let resources = EngineResources::new(folder.path(), Default::default()).await?;
    // The commands write the journal.
    let journal = LeaselessJournal::wrap(Arc::new(resources.store.clone()));
    let engine = Engine::start(EngineConfig {
        environment_journal: UndecidedJournal::wrap(Arc::new(resources.store.clone())),
        fleet: Arc::new(StaticFleet::new(1)),
        // Compiling strategies would leave free memory behind, and hide what connections need.
        built_in: Vec::new(),
        ..resources.engine_config(journal)
    })
    .await?;
    let header = Header {
        id: deployment,
        ..sample_header("hello")?
    };
    resources.store.create(header, SystemClock.now()).await?;
    let mut publisher = Publisher {
        store: resources.store,
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

    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["publish"] => publisher.publish(1).await?,
            ["rate", rate, seconds] => publisher.sustain(rate.parse()?, seconds.parse()?).await?,
            _ => bail!("no command is called {command}"),
        }
    }
    Ok(())
}

/// Publishes events: pauses and resumes the deployment, in turns.
struct Publisher {
    store: Sqlite,
    deployment: DeploymentId,
    next_seq: u64,
    published: u64,
}

impl Publisher {
    /// Appends that many events, in one durable write.
    async fn publish(&mut self, events: u64) -> Result<()> {
        let bodies = (1..=events).map(|event| {
            let number = self.published + event;
            let by = format!("{EVENT_MARK}{number}");
            match number % 2 {
                1 => EventBody::Paused { by, reason: None },
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

    /// Publishes `rate` events a second. Events that fall due while the disk is busy go into the
    /// next append together.
    async fn sustain(&mut self, rate: u32, seconds: u32) -> Result<()> {
        let (start, all) = (Instant::now(), u64::from(rate * seconds));
        let mut published = 0;
        while published < all {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64 + 1;
            let due = due.min(all);
            if due > published {
                self.publish(due - published).await?;
                published = due;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        println!("done {published}");
        Ok(())
    }
}
