use std::fs;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::free_ports;
use tempfile::TempDir;
use tokio::process::Command;

use crate::child_process::ChildProcess;
use crate::tools;

/// A real name server, Knot DNS, which answers for one zone. It is killed when this is dropped.
pub struct NameServer {
    port: u16,
    data: TempDir,
    /// The records of the zone, as lines of a zone file.
    records: String,
    serial: u32,
    /// `None` while it is down.
    process: Option<ChildProcess>,
}

impl NameServer {
    /// The zone that it answers for.
    pub const ZONE: &str = "example.test";

    /// Starts a name server with an empty zone, and waits until it answers.
    ///
    /// # Errors
    /// If Knot DNS is not installed, or does not start.
    pub async fn start() -> Result<Self> {
        let mut server = Self {
            port: free_ports(1)?[0],
            data: TempDir::new()?,
            records: String::new(),
            serial: 0,
            process: None,
        };
        server.write_config()?;
        server.write_zone()?;
        server.restart().await?;
        Ok(server)
    }

    /// Where it answers over UDP and TCP: `127.0.0.1:port`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Replaces the records of the zone by these lines of a zone file. Returns once it answers with
    /// them. While it is down, it will answer with them after a restart.
    ///
    /// # Errors
    /// If it does not accept them.
    pub async fn publish(&mut self, records: String) -> Result<()> {
        self.records = records;
        self.write_zone()?;
        if self.process.is_none() {
            return Ok(());
        }
        let mut reload = Command::new(tools::find_on_path("knotc")?);
        reload.arg("--config").arg(self.config_file());
        // It returns only once the zone is loaded.
        reload.args(["--blocking", "zone-reload", Self::ZONE]);
        let output = reload.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said} {}", self.records);
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// If it is down, or is not gone in time.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.take().context("it is down")?.kill().await
    }

    /// Starts it again on the same port and with the same zone, and waits until it answers.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let mut command = tools::knotd()?;
        command.arg("--config").arg(self.config_file());
        let mut process = ChildProcess::start(command)?;
        let is_ready = |line: &str| line.contains("control, binding to").then_some(());
        process.find_in_stderr(is_ready).await?;
        self.process = Some(process);
        Ok(())
    }

    fn config_file(&self) -> std::path::PathBuf {
        self.data.path().join("knot.conf")
    }

    fn write_config(&self) -> Result<()> {
        let (folder, port, zone) = (self.data.path().display(), self.port, Self::ZONE);
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: 127.0.0.1@{port}\n\
             database:\n  storage: \"{folder}\"\n\
             log:\n  - target: stderr\n    any: info\n\
             zone:\n  - domain: {zone}\n    storage: \"{folder}\"\n    file: zone\n    \
             zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n"
        );
        Ok(fs::write(self.config_file(), config)?)
    }

    fn write_zone(&mut self) -> Result<()> {
        self.serial += 1;
        let (zone, serial, records) = (Self::ZONE, self.serial, &self.records);
        let zone = format!(
            "$ORIGIN {zone}.\n$TTL 1\n@ SOA ns admin {serial} 3600 600 86400 1\n@ NS ns\n\
             ns A 127.0.0.1\n{records}\n"
        );
        Ok(fs::write(self.data.path().join("zone"), zone)?)
    }
}
