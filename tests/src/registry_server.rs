use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hotswap_common::free_ports;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::child_process::ChildProcess;
use crate::tools;

/// How long a server may take to answer. Generous, because the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Where etcd keeps its data.
const ETCD_DATA: &str = "etcd";

/// A registry that a test can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// One agent in development mode, which keeps nothing over a restart.
    Consul,
    /// The same with ACLs. Its management token is [`RegistryServer::TOKEN`].
    ConsulWithAcls,
    /// One member of the system's version, 3.4, which keeps its data over a restart.
    Etcd,
    /// The same in version 3.5.
    Etcd35,
    /// Version 3.5, whose tokens are JWTs once it has users. Each is for the users of its time.
    EtcdWithJwt,
}

/// A real registry on ports of its own. It is killed when this is dropped.
pub struct RegistryServer {
    kind: RegistryKind,
    ports: Vec<u16>,
    data: TempDir,
    /// `None` while it is down.
    process: Option<ChildProcess>,
    http: reqwest::Client,
}

impl RegistryServer {
    /// The management token of [`RegistryKind::ConsulWithAcls`].
    pub const TOKEN: &str = "5e0f2a0c-6a8e-4b7e-9f50-2b0f4c9d7a11";

    /// Starts a registry, and waits until it answers.
    ///
    /// # Errors
    /// If the program is not installed, or does not answer in time.
    pub async fn start(kind: RegistryKind) -> Result<Self> {
        let mut server = Self {
            kind,
            ports: free_ports(7)?,
            data: TempDir::new()?,
            process: None,
            http: reqwest::Client::new(),
        };
        server.restart().await?;
        Ok(server)
    }

    /// Where it answers requests: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Sends it a request, and returns the body of the answer.
    ///
    /// # Errors
    /// If it does not answer with a status 2xx.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let url = format!("{}{path}", self.url());
        let request = self.http.request(method.parse()?, &url);
        let request = request.header("x-consul-token", Self::TOKEN);
        let answer = request.body(body.to_owned()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {path}: {status} {text}");
        }
        Ok(text)
    }

    /// Which one it is.
    pub fn kind(&self) -> RegistryKind {
        self.kind
    }

    /// Kills it.
    ///
    /// # Errors
    /// If it is down, or is not gone in time.
    pub async fn kill(&mut self) -> Result<()> {
        let process = self.process.take().context("it is down")?;
        process.kill().await
    }

    /// Starts it again on the same ports, and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn restart(&mut self) -> Result<()> {
        let command = match self.kind {
            RegistryKind::Consul => self.consul_command(false)?,
            RegistryKind::ConsulWithAcls => self.consul_command(true)?,
            RegistryKind::Etcd => self.etcd_command(tools::etcd()?),
            RegistryKind::Etcd35 => self.etcd_command(tools::etcd_3_5()?),
            RegistryKind::EtcdWithJwt => self.etcd_with_jwt_command()?,
        };
        self.process = Some(ChildProcess::start(command)?);
        let deadline = Instant::now() + START_TIMEOUT;
        // Neither says when it is ready but by its answers.
        while let Err(error) = self.check_ready().await {
            if Instant::now() > deadline {
                let process = self.process.as_ref().map(ToString::to_string);
                bail!("{error:#}: {}", process.unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Starts it again on the same ports, without its data.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn restart_empty(&mut self) -> Result<()> {
        let data = self.data.path().join(ETCD_DATA);
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        self.restart().await
    }

    async fn check_ready(&self) -> Result<()> {
        let answer = match self.kind {
            RegistryKind::Consul | RegistryKind::ConsulWithAcls => {
                let leader = self.request("GET", "/v1/status/leader", "").await?;
                // The catalogue holds the agent itself once it takes registrations.
                match leader.contains(':') {
                    true => self.request("GET", "/v1/catalog/nodes", "").await?,
                    false => leader,
                }
            }
            RegistryKind::Etcd | RegistryKind::Etcd35 | RegistryKind::EtcdWithJwt => {
                self.request("GET", "/health", "").await?
            }
        };
        let is_ready = answer.contains("\"true\"") || answer.contains("127.0.0.1\"");
        is_ready.then_some(()).context("it is not ready")
    }

    fn etcd_command(&self, mut command: Command) -> Command {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.ports[1]));
        command
            .arg("--data-dir")
            .arg(self.data.path().join(ETCD_DATA))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")]);
        // No variable of the user may change it.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn etcd_with_jwt_command(&self) -> Result<Command> {
        let key = self.data.path().join("jwt");
        std::fs::write(&key, "a key for tests, of thirty-two bytes or more")?;
        let tokens = format!("jwt,sign-method=HS256,ttl=1h,priv-key={}", key.display());
        let mut command = self.etcd_command(tools::etcd_3_5()?);
        command.args(["--auth-token", &tokens]);
        Ok(command)
    }

    fn consul_command(&self, has_acls: bool) -> Result<Command> {
        const PORTS: [&str; 7] = [
            "-http-port",
            "-dns-port",
            "-serf-lan-port",
            "-serf-wan-port",
            "-server-port",
            "-grpc-port",
            "-grpc-tls-port",
        ];
        let mut command = tools::consul()?;
        command
            .args([
                "agent",
                "-dev",
                "-bind",
                "127.0.0.1",
                "-client",
                "127.0.0.1",
            ])
            .args(["-disable-host-node-id", "-log-level", "warn"]);
        for (flag, port) in PORTS.iter().zip(&self.ports) {
            command.args([*flag, &port.to_string()]);
        }
        if has_acls {
            command.arg("-config-file").arg(acl_file(self.data.path())?);
        }
        Ok(command)
    }
}

fn acl_file(folder: &Path) -> Result<std::path::PathBuf> {
    let token = RegistryServer::TOKEN;
    let file = folder.join("acl.json");
    let config = serde_json::json!({ "acl": {
        "enabled": true,
        "default_policy": "deny",
        "tokens": { "initial_management": token, "agent": token },
    } });
    std::fs::write(&file, config.to_string())?;
    Ok(file)
}
