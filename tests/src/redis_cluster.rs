//! A cluster of servers on loopback. The tests of the store compile this file too.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::redis_server::{RedisKind, RedisServer, free_port};
use crate::server_certificates::tls_arguments;

/// How long a cluster may take to agree. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

const SLOTS: [(u16, u16); 3] = [(0, 5461), (5462, 10922), (10923, 16383)];

/// Nodes on loopback. Each of the first three has a third of the slots.
pub struct RedisCluster {
    /// The nodes. Each also answers [`RedisServer::command`], without TLS.
    pub nodes: Vec<RedisServer>,
    /// Where clients reach each, and the nodes each other: over TLS, if it has that.
    ports: Vec<u16>,
    has_tls: bool,
}

impl RedisCluster {
    /// Starts three nodes or more, and waits until they agree.
    ///
    /// # Errors
    /// If the program is not installed, or they do not agree in time.
    pub fn start(kind: RedisKind, count: usize) -> io::Result<Self> {
        Self::start_with(kind, count, None)
    }

    /// As [`Self::start`]. With a folder of certificates, it speaks TLS with clients and among its
    /// nodes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        kind: RedisKind,
        count: usize,
        certificates: Option<&Path>,
    ) -> io::Result<Self> {
        let node = || -> io::Result<_> {
            let bus = free_port()?.to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let timeout = ["--cluster-node-timeout", "2000"];
            let arguments = [&RedisServer::DURABLE[..], &arguments, &timeout].concat();
            let tls_port = free_port()?;
            let tls = certificates.map(|folder| tls_arguments(folder, tls_port));
            let tls = tls.iter().flatten().map(String::as_str);
            let tls_bus = ["--tls-cluster", "yes"];
            let tls_bus = tls_bus.iter().copied().filter(|_| certificates.is_some());
            let arguments: Vec<_> = arguments.into_iter().chain(tls).chain(tls_bus).collect();
            let server = RedisServer::start_with(kind, &arguments)?;
            let port = match certificates {
                Some(_) => tls_port,
                None => server.port(),
            };
            Ok((server, port, bus))
        };
        let nodes = (0..count).map(|_| node()).collect::<io::Result<Vec<_>>>()?;
        let (_, first_port, first_bus) = &nodes[0];
        let port = first_port.to_string();
        for (node, ..) in &nodes[1..] {
            accepted(node, &["CLUSTER", "MEET", "127.0.0.1", &port, first_bus])?;
        }
        for ((node, ..), (from, to)) in nodes.iter().zip(SLOTS) {
            let (from, to) = (from.to_string(), to.to_string());
            accepted(node, &["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
        }
        let nodes = nodes.into_iter().map(|(node, port, _)| (node, port));
        let (nodes, ports) = nodes.unzip();
        let cluster = Self {
            nodes,
            ports,
            has_tls: certificates.is_some(),
        };
        cluster.wait_for_agreement()?;
        Ok(cluster)
    }

    fn wait_for_agreement(&self) -> io::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        for node in &self.nodes {
            loop {
                let info = node.command(&["CLUSTER", "INFO"])?;
                if info.contains("cluster_state:ok") && info.contains(&known) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other("the nodes do not agree"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// An address that names some of the nodes.
    pub fn url(&self, nodes: &[usize]) -> String {
        let hosts = nodes.iter().map(|node| self.ports[*node]);
        let hosts: Vec<_> = hosts.map(|port| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{}", hosts.join(","))
    }

    /// The slot of a key, and the node that had it at the start.
    ///
    /// # Errors
    /// If the first node does not answer.
    pub fn place(&self, key: &str) -> io::Result<(u16, usize)> {
        let answer = accepted(&self.nodes[0], &["CLUSTER", "KEYSLOT", key])?;
        let slot = answer.trim_start_matches(':').trim().parse();
        let slot: u16 = slot.map_err(io::Error::other)?;
        let owner = SLOTS
            .iter()
            .position(|(from, to)| (*from..=*to).contains(&slot));
        let owner = owner.ok_or_else(|| io::Error::other("no node has the slot"))?;
        Ok((slot, owner))
    }
}

/// Sends a command, and returns the answer.
///
/// # Errors
/// If the server does not answer, or refuses.
pub fn accepted(server: &RedisServer, command: &[&str]) -> io::Result<String> {
    let answer = server.command(command)?;
    match answer.starts_with('-') {
        true => Err(io::Error::other(format!("{command:?}: {answer}"))),
        false => Ok(answer),
    }
}
