use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::DeploymentId;
use hotswap_tests::bench::{cpu_seconds_of, resident_memory_of};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::SERVE_FLAG;
use crate::server_kind::ServerKind;

const PEERS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/live/peers");
/// The token that clients present to every server.
pub const TOKEN: &str = "token-of-the-bench-live";
/// Time limit of every command. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server in its own process. Dropping it kills the process.
pub struct ServerProcess {
    /// Which server it is.
    pub kind: ServerKind,
    /// The port on the loopback address.
    pub port: u16,
    /// The deployment whose events it publishes.
    pub deployment: DeploymentId,
    child: Child,
    /// Takes commands.
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl ServerProcess {
    /// Starts the server. Returns once it listens.
    pub async fn start(kind: ServerKind) -> Result<Self> {
        let deployment = DeploymentId::generate();
        let mut command = match kind {
            ServerKind::HotSwap => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(SERVE_FLAG);
                command
            }
            ServerKind::Ws => nodejs("ws.mjs"),
            ServerKind::SocketIo => nodejs("socketio.mjs"),
        };
        let mut child = command
            .arg(deployment.to_string())
            .env("TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut server = Self {
            kind,
            port: 0,
            deployment,
            child,
            stdin,
            stdout,
        };
        server.port = server.read_line().await?.parse()?;
        Ok(server)
    }

    /// Sends a command, which the server carries out at once.
    pub async fn send_command(&mut self, command: &str) -> Result<()> {
        self.stdin
            .write_all(format!("{command}\n").as_bytes())
            .await?;
        Ok(self.stdin.flush().await?)
    }

    /// Reads the next line of its output.
    pub async fn read_line(&mut self) -> Result<String> {
        let line = tokio::time::timeout(TIMEOUT, self.stdout.next_line()).await??;
        line.with_context(|| format!("the server {} ended", self.kind.name()))
    }

    /// Its resident memory, in bytes.
    pub fn resident_memory(&self) -> Result<u64> {
        resident_memory_of(&self.process_id()?.to_string())
    }

    /// The processor time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(&self.process_id()?.to_string())
    }

    /// Stops the server by closing its standard input.
    pub async fn stop(self) -> Result<()> {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        tokio::time::timeout(TIMEOUT, child.wait()).await??;
        Ok(())
    }

    fn process_id(&self) -> Result<u32> {
        self.child.id().context("the server ended")
    }
}

fn nodejs(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(PEERS_FOLDER).join(script));
    command
}

/// Installs the npm packages of the other servers, unless they are installed.
pub fn install_peers() -> Result<()> {
    if Path::new(PEERS_FOLDER).join("node_modules/ws").exists() {
        return Ok(());
    }
    let status = std::process::Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(PEERS_FOLDER)
        .stdout(std::io::stderr())
        .status()
        .context(
            "cannot run npm; install Node.js 20, or run only our server: \
             cargo bench --bench live -- ours",
        )?;
    ensure!(status.success(), "npm ci failed in {PEERS_FOLDER}");
    Ok(())
}
