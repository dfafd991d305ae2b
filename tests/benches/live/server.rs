use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hotswap_core::DeploymentId;
use hotswap_tests::table::resident_of;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::SERVE;
use crate::dialect::Dialect;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/live/peers");
/// What clients show each of the servers.
pub const TOKEN: &str = "token-of-the-bench-live";
/// Longer than any order takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a second: the unit of times in `/proc`, the same on every Linux.
const TICKS: f64 = 100.0;

/// A server, in a process of its own. Dropping it kills that.
pub struct Server {
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Where.
    pub port: u16,
    /// What clients can subscribe to.
    pub deployment: DeploymentId,
    child: Child,
    /// What is written here is done at once.
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it, and comes back once it listens.
    pub async fn start(dialect: Dialect) -> Result<Self> {
        let deployment = DeploymentId::generate();
        let mut command = match dialect {
            Dialect::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(SERVE);
                command
            }
            Dialect::Ws => node("ws.mjs"),
            Dialect::SocketIo => node("socketio.mjs"),
        };
        let mut child = command
            .arg(deployment.to_string())
            .env("TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut server = Self {
            dialect,
            port: 0,
            deployment,
            child,
            orders,
            answers,
        };
        server.port = server.answer().await?.parse()?;
        Ok(server)
    }

    /// Has it do something.
    pub async fn order(&mut self, order: &str) -> Result<()> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        Ok(self.orders.flush().await?)
    }

    /// The next line that it says.
    pub async fn answer(&mut self) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await??;
        line.with_context(|| format!("the server {} ended", self.dialect.name()))
    }

    /// Its memory.
    pub fn resident(&self) -> Result<u64> {
        resident_of(&self.process()?.to_string())
    }

    /// The seconds that processors have worked for it.
    pub fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process()?))?;
        // After the name, which may hold anything: state is the third field, utime and stime
        // are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) / TICKS),
            _ => bail!("no times in {stat}"),
        }
    }

    /// Ends it.
    pub async fn stop(self) -> Result<()> {
        let Self {
            mut child, orders, ..
        } = self;
        drop(orders);
        tokio::time::timeout(PATIENCE, child.wait()).await??;
        Ok(())
    }

    fn process(&self) -> Result<u32> {
        self.child.id().context("the server ended")
    }
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(PEERS).join(script));
    command
}

/// Fetches what the other servers stand on, where that is not there.
pub fn install_peers() -> Result<()> {
    if Path::new(PEERS).join("node_modules/ws").exists() {
        return Ok(());
    }
    let status = std::process::Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(PEERS)
        .stdout(std::io::stderr())
        .status()
        .context(
            "npm cannot be run; install Node.js 20, or run ours alone: \
             cargo bench --bench live -- ours",
        )?;
    ensure!(status.success(), "npm ci failed in {PEERS}");
    Ok(())
}
