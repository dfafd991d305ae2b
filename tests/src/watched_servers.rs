//! A primary with replicas, which sentinels watch. The tests of the store compile this file too.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::redis_server::{RedisKind, RedisServer, free_port};

/// How long a failover may take. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A primary and its replicas, and three sentinels.
pub struct WatchedServers {
    /// The first is the primary at first.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl WatchedServers {
    /// Starts them. Returns once the replicas follow, and the sentinels know each other and them.
    ///
    /// # Errors
    /// If a program is not installed, or does not answer in time.
    pub async fn start(kind: RedisKind, replicas: usize) -> io::Result<Self> {
        Self::start_with(kind, replicas, Duration::from_secs(2)).await
    }

    /// As [`Self::start`]. Another server becomes the primary once it has not answered for
    /// `down_after`.
    ///
    /// # Errors
    /// If a program is not installed, or does not answer in time.
    pub async fn start_with(
        kind: RedisKind,
        replicas: usize,
        down_after: Duration,
    ) -> io::Result<Self> {
        let start = || RedisServer::start(kind);
        let servers: Vec<_> = (0..=replicas).map(|_| start()).collect::<Result<_, _>>()?;
        let port = servers[0].port().to_string();
        for replica in &servers[1..] {
            replica.command(&["REPLICAOF", "127.0.0.1", &port])?;
        }
        for replica in &servers[1..] {
            until(replica, &["INFO", "replication"], |info| {
                info.contains("master_link_status:up")
            })
            .await?;
        }
        let monitor = format!("sentinel monitor main 127.0.0.1 {port} 2");
        let down_after = down_after.as_millis();
        let down_after = format!("sentinel down-after-milliseconds main {down_after}");
        let lines = [
            monitor.as_str(),
            &down_after,
            "sentinel failover-timeout main 3000",
        ];
        let sentinel = || RedisServer::start_sentinel(kind, &lines);
        let sentinels: Vec<_> = (0..3).map(|_| sentinel()).collect::<Result<_, _>>()?;
        for sentinel in &sentinels {
            until(sentinel, &["INFO", "sentinel"], |info| {
                info.contains(&format!("slaves={replicas},sentinels=3"))
            })
            .await?;
        }
        Ok(Self { servers, sentinels })
    }

    /// The address of a store, by the sentinels. The first one of them is down.
    ///
    /// # Errors
    /// If no port is free.
    pub fn url(&self) -> io::Result<String> {
        let hosts = self.sentinels.iter().map(RedisServer::port);
        let hosts = std::iter::once(free_port()?).chain(hosts);
        let hosts: Vec<_> = hosts.map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(format!("redis+sentinel://{}/main", hosts.join(",")))
    }

    /// Waits until a replica has everything that the primary has, pauses the replica, and cuts its
    /// connection: what the primary gets from now on, it does not get.
    ///
    /// # Errors
    /// If one of them does not answer in time.
    pub async fn isolate(primary: &RedisServer, replica: &RedisServer) -> io::Result<()> {
        until(primary, &["INFO", "replication"], |info| {
            let field = |name: &str| {
                let line = info.lines().find_map(|line| line.split_once(name));
                line.and_then(|(_, rest)| rest.split(',').next()?.trim().parse::<u64>().ok())
            };
            field("offset=").is_some() && field("offset=") == field("master_repl_offset:")
        })
        .await?;
        replica.pause()?;
        // Nothing reaches it any more, not even by what its connection holds.
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"])?;
        Ok(())
    }

    /// Waits until the sentinels have made another server the primary than that at `port`.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn failover(&self, port: u16) -> io::Result<()> {
        let port = port.to_string();
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        until(&self.sentinels[0], &command, |answer| {
            !answer.contains(&port)
        })
        .await
    }
}

async fn until(
    server: &RedisServer,
    command: &[&str],
    is_right: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = server.command(command)?;
        if is_right(&answer) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(answer));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
