use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::reaper::ProcessGroup;

/// Time limit of each operation. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A process that a test talks with, line by line.
///
/// Dropping it kills the process and everything that the process started.
pub struct ChildProcess {
    name: String,
    child: Child,
    group: ProcessGroup,
    stdin: ChildStdin,
    stdout: CapturedPipe,
    stderr: CapturedPipe,
}

/// How a process exited, and its last output.
#[derive(Debug)]
pub struct ProcessExit {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    /// The lines of standard output that were not read before.
    pub stdout: Vec<String>,
    /// All of standard error.
    pub stderr: String,
}

/// The output of one pipe.
struct CapturedPipe {
    unread_lines: UnboundedReceiver<String>,
    /// Everything since the start.
    text: Arc<Mutex<String>>,
}

impl ChildProcess {
    /// Starts a process.
    ///
    /// # Errors
    /// If the program does not exist.
    pub fn start(mut command: Command) -> Result<Self> {
        let program = command.as_std().get_program().to_string_lossy();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let group = ProcessGroup::register(child.id().context("the process has exited")?)?;
        let stdin = child.stdin.take().context("no pipe")?;
        let stdout = CapturedPipe::new(child.stdout.take().context("no pipe")?);
        let stderr = CapturedPipe::new(child.stderr.take().context("no pipe")?);
        Ok(Self {
            name,
            child,
            group,
            stdin,
            stdout,
            stderr,
        })
    }

    /// The id of the process.
    ///
    /// # Errors
    /// If it has exited.
    pub fn id(&self) -> Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{self} has exited"))
    }

    /// Writes a line to standard input.
    ///
    /// # Errors
    /// If the process has closed it.
    pub async fn write_line(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.with_context(|| format!("cannot write to {self}"))
    }

    /// Reads the next line of standard output.
    ///
    /// # Errors
    /// If the process exits or the time-out passes first.
    pub async fn read_line(&mut self) -> Result<String> {
        let line = timeout_at(Instant::now() + TIMEOUT, self.stdout.unread_lines.recv()).await;
        match line {
            Ok(Some(line)) => Ok(line),
            Ok(None) => {
                // Standard error may hold the reason: read it to its end for the message.
                let deadline = Instant::now() + TIMEOUT;
                let status = timeout_at(deadline, self.child.wait()).await.ok();
                while let Ok(Some(_)) = timeout_at(deadline, self.stderr.unread_lines.recv()).await
                {
                }
                bail!("{self} closed its output: {status:?}")
            }
            Err(_) => bail!("{self} printed nothing in time"),
        }
    }

    /// Reads the next line of standard output as JSON.
    ///
    /// # Errors
    /// As [`Self::read_line`], and if the line is not JSON.
    pub async fn read_json(&mut self) -> Result<Value> {
        let line = self.read_line().await?;
        serde_json::from_str(&line).with_context(|| format!("{self} printed invalid JSON: {line}"))
    }

    /// Reads JSON objects until one has `field`. Returns the value of that field and the
    /// objects before.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub async fn read_until_field(&mut self, field: &str) -> Result<(Value, Vec<Value>)> {
        let mut objects_before = Vec::new();
        loop {
            let mut object = self.read_json().await?;
            match object.get_mut(field) {
                Some(value) => return Ok((value.take(), objects_before)),
                None => objects_before.push(object),
            }
        }
    }

    /// Reads standard error until `find` returns a value for a line.
    ///
    /// # Errors
    /// If there is no such line in time.
    pub async fn find_in_stderr<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + TIMEOUT;
        while let Ok(Some(line)) = timeout_at(deadline, self.stderr.unread_lines.recv()).await {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        bail!("{self} did not log the expected line")
    }

    /// Waits until the process exits by itself.
    ///
    /// # Errors
    /// If it does not exit in time.
    pub async fn wait_for_exit(mut self) -> Result<ProcessExit> {
        let deadline = Instant::now() + TIMEOUT;
        let mut stdout = Vec::new();
        while let Ok(Some(line)) = timeout_at(deadline, self.stdout.unread_lines.recv()).await {
            stdout.push(line);
        }
        let status = timeout_at(deadline, self.child.wait()).await;
        let status =
            status.map_err(|_| anyhow::anyhow!("{self} did not exit in time: {stdout:#?}"))??;
        self.group.unregister();
        while let Ok(Some(_)) = timeout_at(deadline, self.stderr.unread_lines.recv()).await {}
        Ok(ProcessExit {
            code: status.code(),
            stdout,
            stderr: self.stderr.text(),
        })
    }

    /// Stops the process and everything that it started with SIGSTOP.
    ///
    /// # Errors
    /// If it has exited.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues the process after [`Self::stop`].
    ///
    /// # Errors
    /// If it has exited.
    pub fn continue_running(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks the process and everything that it started to end, with SIGTERM.
    ///
    /// # Errors
    /// If it has exited.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let sent = self.group.signal(signal);
        sent.with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills the process and everything that it started with SIGKILL. Returns once the
    /// process is gone.
    ///
    /// # Errors
    /// If it is not gone in time.
    pub async fn kill(mut self) -> Result<()> {
        self.group.kill();
        let exited = timeout_at(Instant::now() + TIMEOUT, self.child.wait()).await;
        exited.with_context(|| format!("{} did not exit in time", self.name))??;
        self.group.unregister();
        Ok(())
    }
}

impl fmt::Display for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (standard error: {:?})",
            self.name,
            self.stderr.text()
        )
    }
}

impl CapturedPipe {
    fn new(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, unread_lines) = unbounded_channel();
        let text = Arc::new(Mutex::new(String::new()));
        let shared_text = Arc::clone(&text);
        let mut lines = BufReader::new(pipe).lines();
        // Reads always, even if the test does not: a full pipe would block the process.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = shared_text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                let _ = sender.send(line);
            }
        });
        Self { unread_lines, text }
    }

    fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}
