use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use hotswap_common::free_ports;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::child_process::ChildProcess;
use crate::{NODE_TOKEN, tools};

/// How long the server may take to answer. Generous, because the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A real Prometheus that reads nodes five times in a second. It is killed when this is dropped.
pub struct PrometheusServer {
    url: String,
    _data: TempDir,
    process: ChildProcess,
}

impl PrometheusServer {
    /// Starts a server that reads the nodes at these addresses of their control ports, and waits
    /// until it answers.
    ///
    /// # Errors
    /// If Prometheus is not installed, or does not answer in time.
    pub async fn start(nodes: &[SocketAddr]) -> Result<Self> {
        let data = TempDir::new()?;
        let targets: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let config = serde_json::json!({
            "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms" },
            "scrape_configs": [{
                "job_name": "hotswap",
                "authorization": { "credentials": NODE_TOKEN },
                "static_configs": [{ "targets": targets }],
            }],
        });
        // YAML includes JSON.
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        let address = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let mut command = tools::prometheus()?;
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                data.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let server = Self {
            url: format!("http://{address}"),
            _data: data,
            process: ChildProcess::start(command)?,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        let ready = format!("{}/-/ready", server.url);
        while !reqwest::get(&ready)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            if Instant::now() > deadline {
                bail!("Prometheus does not answer: {}", server.process);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Where it answers requests: `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
