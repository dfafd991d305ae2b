//! The registry of `hotswap dev --discovery`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hotswap_common::free_ports;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::folder::Folder;
use crate::args::DevRegistry;
use crate::config::DiscoverySource;

/// How long the registry may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long it may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a program until standard input closes. Then the program ends, too: it must not outlive
/// `hotswap dev`, however that ends.
const GUARD: &str = r#""$@" & child=$!; read -r _; kill "$child"; wait "$child""#;

/// A registry that runs beside the engine of `hotswap dev`.
pub struct Registry {
    kind: DevRegistry,
    url: String,
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Registry {
    /// Starts a registry of this kind, and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed; the error says how to get it. If it does not answer in time.
    pub async fn start(kind: DevRegistry, folder: &Folder) -> Result<Self> {
        let program = find(kind)?;
        let ports = free_ports(7).context("no port is free")?;
        let url = format!("http://127.0.0.1:{}", ports[0]);
        let log_path = folder.path().join(format!("{}.log", kind.name()));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "sh"])
            .arg(program)
            .args(arguments(kind, &ports, folder))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("ETCD_") || name.starts_with("CONSUL_") {
                command.env_remove(&*name);
            }
        }
        let mut guard = command.spawn().context("cannot start a shell")?;
        let pipe = guard.stdin.take();
        let registry = Self {
            kind,
            url,
            guard,
            pipe,
        };
        let ready = timeout(START_TIMEOUT, registry.wait_until_ready()).await;
        match ready {
            Ok(()) => Ok(registry),
            Err(_) => bail!(
                "{} does not answer; its log is {}",
                kind.name(),
                log_path.display()
            ),
        }
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The source of the engine.
    ///
    /// # Errors
    /// Never, but by a fault of this program.
    pub fn source(&self) -> Result<DiscoverySource> {
        let name = self.kind.name();
        let source = serde_json::json!({
            "name": name,
            "backend": name,
            "origins": [self.url],
            "networks": ["127.0.0.0/8"],
            "settings": { self.kind.servers(): [self.url] },
        });
        Ok(serde_json::from_value(source)?)
    }

    /// The same as a file, for nodes.
    pub fn node_file(&self) -> String {
        let (name, url, servers) = (self.kind.name(), &self.url, self.kind.servers());
        format!(
            "[[discovery]]\nname = \"{name}\"\nbackend = \"{name}\"\norigins = [\"{url}\"]\n\
             [discovery.settings]\n{servers} = [\"{url}\"]\n"
        )
    }

    /// Stops it.
    pub async fn shutdown(mut self) {
        drop(self.pipe.take());
        if timeout(STOP_TIMEOUT, self.guard.wait()).await.is_err() {
            let _ = self.guard.kill().await;
        }
    }

    async fn wait_until_ready(&self) {
        let Ok(client) = super::local_client() else {
            return;
        };
        let path = match self.kind {
            DevRegistry::Consul => "/v1/catalog/nodes",
            DevRegistry::Etcd => "/health",
        };
        let url = format!("{}{path}", self.url);
        loop {
            let answer = client
                .get(&url)
                .timeout(Duration::from_secs(1))
                .send()
                .await;
            if let Ok(answer) = answer
                && answer.status().is_success()
                && let Ok(text) = answer.text().await
                // Consul answers with an empty list before it can take registrations.
                && (text.contains("\"true\"") || text.contains("127.0.0.1"))
            {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl DevRegistry {
    fn name(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Etcd => "etcd",
        }
    }

    /// The setting of the backend that names the servers.
    fn servers(self) -> &'static str {
        match self {
            Self::Consul => "agents",
            Self::Etcd => "endpoints",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Consul => {
                "download it from https://developer.hashicorp.com/consul/install and put it on the \
                 PATH, or on macOS: brew install hashicorp/tap/consul"
            }
            Self::Etcd => {
                "on Debian and Ubuntu: apt-get install etcd-server; on macOS: brew install etcd; \
                 or download it from https://github.com/etcd-io/etcd/releases"
            }
        }
    }
}

fn find(kind: DevRegistry) -> Result<PathBuf> {
    let name = kind.name();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|file| file.is_file()).with_context(|| {
        let advice = kind.advice();
        format!("there is no {name} on the PATH; {advice}")
    })
}

fn arguments(kind: DevRegistry, ports: &[u16], folder: &Folder) -> Vec<String> {
    match kind {
        DevRegistry::Consul => {
            let mut arguments: Vec<String> = ["agent", "-dev", "-bind", "127.0.0.1"]
                .into_iter()
                .chain(["-client", "127.0.0.1", "-disable-host-node-id"])
                .map(str::to_owned)
                .collect();
            let flags = [
                "-http-port",
                "-dns-port",
                "-serf-lan-port",
                "-serf-wan-port",
                "-server-port",
                "-grpc-port",
                "-grpc-tls-port",
            ];
            for (flag, port) in flags.into_iter().zip(ports) {
                arguments.extend([flag.to_owned(), port.to_string()]);
            }
            arguments
        }
        DevRegistry::Etcd => {
            let [client, peer] = [0, 1].map(|at| format!("http://127.0.0.1:{}", ports[at]));
            let data = folder.path().join("etcd").display().to_string();
            let cluster = format!("default={peer}");
            [
                ("--data-dir", &data),
                ("--listen-client-urls", &client),
                ("--advertise-client-urls", &client),
                ("--listen-peer-urls", &peer),
                ("--initial-advertise-peer-urls", &peer),
                ("--initial-cluster", &cluster),
            ]
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value.clone()])
            .collect()
        }
    }
}
