use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::select_all;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout};

use super::folder::Folder;
use super::seed;
use crate::client::Client;

/// The nodes: id and environment.
pub const NODES: [(&str, &str); 6] = [
    ("dev-1", "development"),
    ("dev-2", "development"),
    ("prod-1", "production"),
    ("prod-2", "production"),
    ("prod-3", "production"),
    ("prod-4", "production"),
];

/// A node that has ended is started again, but not in a frenzy.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a node may take to answer what is being asked before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the engine is asked whether all nodes have registered.
const LOOK: Duration = Duration::from_millis(50);

/// The node processes. They end with this process however it ends: each holds the
/// reading end of a pipe to it, and ends when the pipe does.
pub struct Nodes {
    members: Vec<Member>,
}

struct Member {
    id: &'static str,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    state: State,
}

enum State {
    Running {
        child: Box<Child>,
        pipe: Option<ChildStdin>,
    },
    Waiting(Instant),
}

/// What happened to a node.
enum Turn {
    Ended(ExitStatus),
    Due,
}

impl Nodes {
    /// Starts the nodes.
    ///
    /// # Errors
    /// Where this very program cannot be started again.
    pub fn new(folder: &Folder, engine: &str) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let member = |(id, environment): (&'static str, &str)| -> Result<Member> {
            let home = folder.node(id)?;
            let text = |path: PathBuf| {
                path.into_os_string().into_string().map_err(|path| {
                    anyhow::anyhow!(
                        "{} is no text; name another folder with --dir",
                        path.display()
                    )
                })
            };
            let args = [
                "node",
                "--id",
                id,
                "--environment",
                environment,
                "--engine",
                engine,
            ]
            .into_iter()
            .chain([
                "--data",
                "127.0.0.1:0",
                "--control",
                "127.0.0.1:0",
                "--with-parent",
            ])
            .map(str::to_owned)
            .chain(["--dir".to_owned(), text(home.join("data"))?])
            .chain(["--token-file".to_owned(), text(folder.node_token_file())?])
            .collect();
            let mut member = Member {
                id,
                program: program.clone(),
                args,
                log: home.join("node.log"),
                state: State::Waiting(Instant::now()),
            };
            member.start()?;
            Ok(member)
        };
        let members = NODES.into_iter().map(member).collect::<Result<_>>()?;
        Ok(Self { members })
    }

    /// Waits until the engine hears all of them. Safe to cancel.
    ///
    /// # Errors
    /// Where one ends before; the end of its log tells why.
    pub async fn ready(&mut self, client: &Client) -> Result<()> {
        let heard = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                let nodes = seed::nodes(client).await?;
                let passing = |id: &str| {
                    nodes
                        .iter()
                        .any(|node| node.id == id && node.health == "passing")
                };
                if NODES.iter().all(|(id, _)| passing(id)) {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            heard = heard => heard,
            (index, turn) = next(&mut self.members) => {
                let member = &self.members[index];
                let Turn::Ended(status) = turn else { bail!("node {} did not start", member.id) };
                bail!("node {} ended ({status}); its log {} ends so:\n{}", member.id, member.log.display(), member.last_words())
            }
        }
    }

    /// Waits until something happens to a node, and sees to it: one that has ended is
    /// started again. Says what happened. Safe to cancel.
    ///
    /// # Errors
    /// Where a node cannot be started any more.
    pub async fn tend(&mut self) -> Result<String> {
        let (index, turn) = next(&mut self.members).await;
        let member = &mut self.members[index];
        let id = member.id;
        Ok(match turn {
            Turn::Ended(status) => {
                member.state = State::Waiting(Instant::now() + AGAIN);
                format!("node {id} ended ({status}); it is started again")
            }
            Turn::Due => {
                member.start()?;
                format!("node {id} is started again")
            }
        })
    }

    /// Has all nodes end, and waits until they have.
    pub async fn shutdown(mut self) {
        for member in &mut self.members {
            if let State::Running { pipe, .. } = &mut member.state {
                // The node sees the end of its standard input.
                drop(pipe.take());
            }
        }
        for member in &mut self.members {
            if let State::Running { child, .. } = &mut member.state
                && timeout(PATIENCE, child.wait()).await.is_err()
            {
                tracing::warn!(node = member.id, "node does not end, killing it");
                let _ = child.kill().await;
            }
        }
    }
}

impl Member {
    fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for this process, which ends the nodes in order.
            .process_group(0)
            .kill_on_drop(true)
            // The token of the API is none of a node's business.
            .env_remove("HOTSWAP_TOKEN")
            .env_remove("HOTSWAP_SERVER");
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start node {}", self.id))?;
        // Out of the child: waiting for it would close the pipe.
        let pipe = child.stdin.take();
        self.state = State::Running {
            child: Box::new(child),
            pipe,
        };
        Ok(())
    }

    async fn turn(&mut self) -> Turn {
        match &mut self.state {
            State::Waiting(due) => {
                tokio::time::sleep_until(*due).await;
                Turn::Due
            }
            State::Running { child, .. } => match child.wait().await {
                Ok(status) => Turn::Ended(status),
                Err(error) => {
                    tracing::error!(node = self.id, %error, "cannot wait for the node");
                    std::future::pending().await
                }
            },
        }
    }

    /// The last lines of the log.
    fn last_words(&self) -> String {
        const LINES: usize = 5;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<_> = log.lines().rev().take(LINES).collect();
        lines.reverse();
        lines.join("\n")
    }
}

async fn next(members: &mut [Member]) -> (usize, Turn) {
    let turns = members.iter_mut().map(|member| Box::pin(member.turn()));
    let (turn, index, _) = select_all(turns).await;
    (index, turn)
}
