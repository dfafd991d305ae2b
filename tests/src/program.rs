use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::reaper::Group;

/// How long a program may take for anything, on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that a test talks with, line by line. It ends with this value, and with it
/// whatever it started; its standard input closes then.
pub struct Program {
    name: String,
    child: Child,
    group: Group,
    input: ChildStdin,
    output: Lines,
    errors: Lines,
}

/// How a program ended, and what it had still to say.
#[derive(Debug)]
pub struct Ended {
    /// None where a signal ended it.
    pub code: Option<i32>,
    /// The lines on standard output that nobody had read.
    pub output: Vec<String>,
    /// All of standard error.
    pub errors: String,
}

/// What comes out of one pipe.
struct Lines {
    unread: UnboundedReceiver<String>,
    all: Arc<Mutex<String>>,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no such program.
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
        let group = Group::of(child.id().context("it has ended")?)?;
        let input = child.stdin.take().context("no pipe")?;
        let output = Lines::of(child.stdout.take().context("no pipe")?);
        let errors = Lines::of(child.stderr.take().context("no pipe")?);
        Ok(Self {
            name,
            child,
            group,
            input,
            output,
            errors,
        })
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// Where it reads no more.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        let told = self.input.write_all(line.as_bytes()).await;
        told.with_context(|| format!("{self} reads no more"))
    }

    /// The next line on standard output.
    ///
    /// # Errors
    /// Where it ends, or says nothing for too long.
    pub async fn line(&mut self) -> Result<String> {
        let next = timeout_at(Instant::now() + PATIENCE, self.output.unread.recv()).await;
        match next {
            Ok(Some(line)) => Ok(line),
            Ok(None) => {
                // It ends: it may have said why.
                let end = Instant::now() + PATIENCE;
                let status = timeout_at(end, self.child.wait()).await.ok();
                while let Ok(Some(_)) = timeout_at(end, self.errors.unread.recv()).await {}
                bail!("{self} says no more: {status:?}")
            }
            Err(_) => bail!("{self} says nothing"),
        }
    }

    /// The next line on standard output, of one JSON object a line.
    ///
    /// # Errors
    /// As [`Self::line`]; and where it is no JSON.
    pub async fn object(&mut self) -> Result<Value> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("{self} says what is no JSON: {line}"))
    }

    /// Reads JSON objects until one has this field. Returns that field, and the objects
    /// before.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn told(&mut self, field: &str) -> Result<(Value, Vec<Value>)> {
        let mut before = Vec::new();
        loop {
            let mut object = self.object().await?;
            match object.get_mut(field) {
                Some(value) => return Ok((value.take(), before)),
                None => before.push(object),
            }
        }
    }

    /// Reads its standard error until a line has what is looked for.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn logged<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        while let Ok(Some(line)) = timeout_at(end, self.errors.unread.recv()).await {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        bail!("{self} does not log what is waited for")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ended(mut self) -> Result<Ended> {
        let end = Instant::now() + PATIENCE;
        let mut output = Vec::new();
        while let Ok(Some(line)) = timeout_at(end, self.output.unread.recv()).await {
            output.push(line);
        }
        let status = timeout_at(end, self.child.wait()).await;
        let status = status.map_err(|_| anyhow::anyhow!("{self} does not end: {output:#?}"))??;
        self.group.forget();
        while let Ok(Some(_)) = timeout_at(end, self.errors.unread.recv()).await {}
        Ok(Ended {
            code: status.code(),
            output,
            errors: self.errors.all(),
        })
    }

    /// Kills it as a loss of power would, with all that it started, and waits until it is
    /// gone.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn kill(mut self) -> Result<()> {
        self.group.kill();
        let gone = timeout_at(Instant::now() + PATIENCE, self.child.wait()).await;
        gone.with_context(|| format!("{} does not end", self.name))??;
        self.group.forget();
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.all();
        write!(
            f,
            "{} (which said on standard error: {errors:?})",
            self.name
        )
    }
}

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (tell, unread) = unbounded_channel();
        let all = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&all);
        let mut lines = BufReader::new(pipe).lines();
        // Read to the end whether or not anybody looks: a full pipe would stop the program.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut all = told.lock().unwrap_or_else(PoisonError::into_inner);
                all.push_str(&line);
                all.push('\n');
                drop(all);
                let _ = tell.send(line);
            }
        });
        Self { unread, all }
    }

    fn all(&self) -> String {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}
