//! Running scripts on the server.

use std::sync::Arc;

use redis::{Cmd, Value, cmd};
use tokio::sync::{mpsc, oneshot};

use super::LAYOUT;
use super::config::RedisConfig;
use super::durability;
use super::error::Error;
use super::link::Link;
use super::place::Place;
use super::reply::{Args, Reply};
use super::script::{self, Script};
use super::writer::Job;

/// The layout of a store into which an import is under way.
const IMPORTING: &str = "importing";

/// How many keys the server looks at in one step of a scan.
const SCAN_COUNT: u64 = 1000;

/// Runs scripts. A handle: clones share its connections.
#[derive(Clone)]
pub(super) struct Commands {
    jobs: mpsc::Sender<Job>,
    reads: Arc<Link>,
    prefix: Arc<str>,
}

/// What the store was like when it was opened.
pub(super) struct Opened {
    pub(super) epoch: String,
    pub(super) position: u64,
    /// The last place in the log.
    pub(super) last: Place,
}

impl Commands {
    pub(super) fn new(jobs: mpsc::Sender<Job>, reads: Arc<Link>, config: &RedisConfig) -> Self {
        Self {
            jobs,
            reads,
            prefix: key_prefix(config).into(),
        }
    }

    /// The same, with queries on another connection.
    pub(super) fn reading_over(&self, reads: Arc<Link>) -> Self {
        Self {
            reads,
            ..self.clone()
        }
    }

    /// The name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs a script that changes nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`].
    pub(super) async fn read(&self, script: &Script, args: Args) -> Result<Value, Error> {
        let meta = self.key("meta");
        let command = |knows_script| command(script, &meta, knows_script, false, &args);
        self.reads.query(command).await
    }

    /// Runs a script that writes what need not outlive the server, and may run twice: beside the
    /// queue of [`Self::write`], and without waiting for disks or replicas. So a sign of life does
    /// not come late because one of them is slow.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn touch(&self, script: &Script, args: Args) -> Result<Reply, Error> {
        Reply::of(self.read(script, args).await?)
    }

    /// As [`Self::read`], for a list of texts.
    pub(super) async fn read_list(&self, script: &Script, args: Args) -> Result<Reply, Error> {
        Reply::of(self.read(script, args).await?)
    }

    /// One section of the information that the server gives about itself.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn info(&self, part: &str) -> Result<String, Error> {
        let command = |_| {
            let mut command = cmd("INFO");
            command.arg(part);
            command
        };
        Ok(durability::text(self.reads.query(command).await?))
    }

    /// Some of the keys that match a pattern, from a cursor on, which is "0" at first. Returns the
    /// next cursor, none at the end. A key may come twice.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn scan(
        &self,
        pattern: &str,
        cursor: &str,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let mut command = cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern);
        command.arg("COUNT").arg(SCAN_COUNT);
        let Value::Array(mut parts) = self.query(&command).await? else {
            return Err(Error::Answer("a scan returns no list"));
        };
        let keys = Reply::of(parts.pop().unwrap_or(Value::Nil))?.parse_all("a key")?;
        let next = parts.pop().map(durability::text).unwrap_or_default();
        Ok((keys, (next != "0").then_some(next)))
    }

    /// Runs a command of the server that may run twice.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, Error> {
        self.reads.query(|_| command.clone()).await
    }

    /// Sends a message on a channel.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), Error> {
        let command = |_| {
            let mut command = cmd("PUBLISH");
            command.arg(channel).arg(message);
            command
        };
        self.reads.query(command).await.map(drop)
    }

    /// Runs a script that writes, after all that were given before. Once it returns, what was
    /// written is as durable as the configuration says.
    ///
    /// Cancel safe: a cancelled call may still write.
    ///
    /// # Errors
    /// [`Error::Refused`]: nothing was written. Others: whether it was written is unknown.
    pub(super) async fn write(&self, script: &'static Script, args: Args) -> Result<Reply, Error> {
        let (reply, replied) = oneshot::channel();
        let job = Job::new(script, args, reply);
        self.jobs.send(job).await.map_err(|_| Error::Closed)?;
        Reply::of(replied.await.map_err(|_| Error::Closed)??)
    }

    /// Lets the writer finish what is queued, and takes no more.
    pub(super) async fn close(&self) {
        let (reply, replied) = oneshot::channel();
        let job = Job::last(&script::META, reply);
        if self.jobs.send(job).await.is_ok() {
            let _ = replied.await;
        }
    }

    /// Creates the store where there is none.
    pub(super) async fn open_store(&self) -> Result<Opened, Error> {
        let args = Args::new().number(LAYOUT.into()).text(random_word());
        let opened = self.write(&script::OPEN_STORE, args).await?;
        let layout = opened.text(0)?;
        if layout == IMPORTING {
            return Err(Error::Importing);
        }
        if layout != LAYOUT.to_string() {
            return Err(Error::Layout {
                found: layout.to_owned(),
                known: LAYOUT,
            });
        }
        Ok(Opened {
            epoch: opened.text(1)?.to_owned(),
            last: opened.parse(2, "a place in the log")?,
            position: opened.number(3)?,
        })
    }
}

/// What the names of all keys begin with. The braces make it the hash tag.
pub(super) fn key_prefix(config: &RedisConfig) -> String {
    format!("{{{}}}:", config.key_prefix)
}

/// Twenty-four random characters.
pub(super) fn random_word() -> String {
    format!("{:024x}", fastrand::u128(..) >> 32)
}

/// The command that runs a script. `is_retry`: it may have been run before.
pub(super) fn command(
    script: &Script,
    meta: &str,
    knows_script: bool,
    is_retry: bool,
    args: &Args,
) -> Cmd {
    let mut command = if knows_script {
        let mut command = cmd("EVALSHA");
        command.arg(&script.hash);
        command
    } else {
        let mut command = cmd("EVAL");
        command.arg(&script.source);
        command
    };
    command
        .arg(1)
        .arg(meta)
        .arg(if is_retry { "1" } else { "0" });
    for arg in args.as_slice() {
        command.arg(&arg[..]);
    }
    command
}
