//! The node processes of `hotswap dev`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::select_all;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout};

use super::folder::Folder;
use super::samples;
use crate::client::Client;

/// The nodes: id and environment.
const NODES: [(&str, &str); 6] = [
    ("dev-1", "development"),
    ("dev-2", "development"),
    ("prod-1", "production"),
    ("prod-2", "production"),
    ("prod-3", "production"),
    ("prod-4", "production"),
];

/// The pause before a node that ended is started again: one that ends at once must not keep
/// the machine busy.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long a node may take to finish its requests before it is killed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the engine is asked whether all nodes are passing.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The node processes. They end with this process, however it ends: each holds the reading
/// end of a pipe to it, and ends when the pipe closes.
pub struct NodeProcesses {
    processes: Vec<NodeProcess>,
}

struct NodeProcess {
    id: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    log: PathBuf,
    state: State,
}

enum State {
    Running {
        child: Box<Child>,
        pipe: Option<ChildStdin>,
    },
    /// Ended, to be started again at this time.
    Ended { restart_at: Instant },
}

/// What happened to a process.
enum ProcessEvent {
    Ended(ExitStatus),
    RestartDue,
}

impl NodeProcesses {
    /// Starts the nodes. They report in to the engine, or register as `registry` says, where the
    /// engine finds them.
    ///
    /// # Errors
    /// Where this program cannot be started again, or the folder cannot be written.
    pub fn start(
        folder: &Folder,
        compiled_dir: &Path,
        engine: &str,
        registry: Option<String>,
    ) -> Result<Self> {
        let meeting: [OsString; 2] = match registry {
            Some(table) => {
                let file = folder.path().join("node.toml");
                fs::write(&file, table)
                    .with_context(|| format!("cannot write {}", file.display()))?;
                ["--discovery".into(), file.into()]
            }
            None => ["--engine".into(), engine.into()],
        };
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let start = |(id, environment): (&'static str, &str)| -> Result<NodeProcess> {
            let node_folder = folder.node(id)?;
            let mut args: Vec<OsString> = [
                ["node", "run"],
                ["--id", id],
                ["--environment", environment],
                ["--data", "127.0.0.1:0"],
                ["--control", "127.0.0.1:0"],
            ]
            .concat()
            .into_iter()
            .map(OsString::from)
            .collect();
            args.push("--with-parent".into());
            args.extend(meeting.clone());
            args.extend(["--data-dir".into(), node_folder.join("data").into()]);
            args.extend(["--compiled-dir".into(), compiled_dir.into()]);
            args.extend(["--token-file".into(), folder.node_token_file().into()]);
            let mut process = NodeProcess {
                id,
                program: program.clone(),
                args,
                log: node_folder.join("node.log"),
                state: State::Ended {
                    restart_at: Instant::now(),
                },
            };
            process.start()?;
            Ok(process)
        };
        let processes = NODES.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Self { processes })
    }

    /// Waits until the engine sees all nodes as passing. Cancel safe.
    ///
    /// # Errors
    /// Where a node ends before. The error holds the end of its log.
    pub async fn wait_until_passing(&mut self, client: &Client) -> Result<()> {
        let all_passing = async {
            let mut poll = tokio::time::interval(POLL_INTERVAL);
            loop {
                poll.tick().await;
                let rows = samples::list_nodes(client).await?;
                let is_passing = |id: &str| {
                    rows.iter()
                        .any(|node| node.id == id && node.health == "passing")
                };
                if NODES.iter().all(|(id, _)| is_passing(id)) {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            result = all_passing => result,
            (index, event) = next_event(&mut self.processes) => {
                let process = &self.processes[index];
                let ProcessEvent::Ended(status) = event else {
                    bail!("node {} did not start", process.id)
                };
                bail!(
                    "node {} ended ({status}); the last lines of its log {}:\n{}",
                    process.id,
                    process.log.display(),
                    process.last_log_lines()
                )
            }
        }
    }

    /// Waits for the next event of a process, and handles it: a node that ended is started
    /// again. Returns a message about it. Cancel safe.
    ///
    /// # Errors
    /// Where a node cannot be started again.
    pub async fn supervise(&mut self) -> Result<String> {
        let (index, event) = next_event(&mut self.processes).await;
        let process = &mut self.processes[index];
        let id = process.id;
        Ok(match event {
            ProcessEvent::Ended(status) => {
                process.state = State::Ended {
                    restart_at: Instant::now() + RESTART_DELAY,
                };
                format!("node {id} ended ({status}); starting it again")
            }
            ProcessEvent::RestartDue => {
                process.start()?;
                format!("node {id} started again")
            }
        })
    }

    /// Stops all nodes, and waits until they have ended.
    pub async fn shutdown(mut self) {
        for process in &mut self.processes {
            if let State::Running { pipe, .. } = &mut process.state {
                // Closes the node's standard input, which stops it.
                drop(pipe.take());
            }
        }
        for process in &mut self.processes {
            if let State::Running { child, .. } = &mut process.state
                && timeout(SHUTDOWN_TIMEOUT, child.wait()).await.is_err()
            {
                tracing::warn!(node = process.id, "node does not end, killing it");
                let _ = child.kill().await;
            }
        }
    }
}

impl NodeProcess {
    fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for this process, which stops the nodes in order.
            .process_group(0)
            .kill_on_drop(true)
            // A node does not need the API token.
            .env_remove("HOTSWAP_TOKEN")
            .env_remove("HOTSWAP_SERVER");
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start node {}", self.id))?;
        // Out of the child: waiting for the child would close the pipe.
        let pipe = child.stdin.take();
        self.state = State::Running {
            child: Box::new(child),
            pipe,
        };
        Ok(())
    }

    async fn next_event(&mut self) -> ProcessEvent {
        match &mut self.state {
            State::Ended { restart_at } => {
                tokio::time::sleep_until(*restart_at).await;
                ProcessEvent::RestartDue
            }
            State::Running { child, .. } => match child.wait().await {
                Ok(status) => ProcessEvent::Ended(status),
                Err(error) => {
                    tracing::error!(node = self.id, %error, "cannot wait for the node");
                    std::future::pending().await
                }
            },
        }
    }

    fn last_log_lines(&self) -> String {
        const LINES: usize = 5;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<_> = log.lines().rev().take(LINES).collect();
        lines.reverse();
        lines.join("\n")
    }
}

async fn next_event(processes: &mut [NodeProcess]) -> (usize, ProcessEvent) {
    let events = processes
        .iter_mut()
        .map(|process| Box::pin(process.next_event()));
    let (event, index, _) = select_all(events).await;
    (index, event)
}
