//! The one task that writes.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError, Value, cmd};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::commands::{command, key_prefix};
use super::config::RedisConfig;
use super::durability::Wait;
use super::error::{Error, Verdict, verdict};
use super::link::Link;
use super::reply::{Args, Reply};
use super::script::Script;

/// Commands in one pipeline, and in the queue. The more share one write to the server's disk the
/// better, up to the point where the first would wait long for the last.
const MAX_BATCH: usize = 256;

/// Writes what is queued, in order. Commands that arrive meanwhile share the next pipeline.
pub(super) struct Writer {
    link: Arc<Link>,
    jobs: mpsc::Receiver<Job>,
    meta: String,
    /// May change with the server.
    wait: watch::Receiver<Option<Wait>>,
}

/// A script that is to be run.
pub(super) struct Job {
    script: &'static Script,
    args: Args,
    /// No other job is taken after it.
    is_last: bool,
    queued_at: Instant,
    /// Whether the server may have run it already.
    may_have_run: bool,
    knows_script: bool,
    reply: oneshot::Sender<Result<Value, Error>>,
}

impl Job {
    pub(super) fn new(
        script: &'static Script,
        args: Args,
        reply: oneshot::Sender<Result<Value, Error>>,
    ) -> Self {
        Self {
            script,
            args,
            is_last: false,
            queued_at: Instant::now(),
            may_have_run: false,
            knows_script: true,
            reply,
        }
    }

    /// One that reads, after all others.
    pub(super) fn last(
        script: &'static Script,
        reply: oneshot::Sender<Result<Value, Error>>,
    ) -> Self {
        Self {
            is_last: true,
            ..Self::new(script, Args::new().text("epoch"), reply)
        }
    }

    /// Nobody may wait for the reply any more.
    fn reply(self, result: Result<Value, Error>) {
        let _ = self.reply.send(result);
    }
}

impl Writer {
    pub(super) fn new(
        link: Arc<Link>,
        config: &RedisConfig,
        wait: watch::Receiver<Option<Wait>>,
    ) -> (Self, mpsc::Sender<Job>) {
        let (sender, jobs) = mpsc::channel(MAX_BATCH);
        let meta = format!("{}meta", key_prefix(config));
        let writer = Self {
            link,
            jobs,
            meta,
            wait,
        };
        (writer, sender)
    }

    /// Runs until the last job, or until every handle is dropped.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
            if batch.iter().any(|job| job.is_last) {
                self.jobs.close();
            }
            self.execute(&mut batch).await;
        }
    }

    /// Runs every job of the batch, again and again until it is answered or too old.
    async fn execute(&self, batch: &mut Vec<Job>) {
        let mut backoff = Link::backoff();
        loop {
            let wait = self.wait.borrow().clone();
            let pipeline = self.pipeline(batch, wait.as_ref());
            let failure = match self.link.send_all(&pipeline).await {
                Ok(answers) => self.reply_all(batch, answers, wait.as_ref()),
                Err(error) => {
                    batch.iter_mut().for_each(|job| job.may_have_run = true);
                    Some(error)
                }
            };
            if batch.is_empty() {
                return;
            }
            let delay = backoff.next_delay();
            if let Some(error) = failure {
                self.give_up(batch, &error, delay);
                tokio::time::sleep(delay).await;
            }
        }
    }

    fn pipeline(&self, batch: &[Job], wait: Option<&Wait>) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(batch.len() + 1);
        for job in batch {
            let Job {
                script,
                args,
                knows_script,
                may_have_run,
                ..
            } = job;
            let command = command(script, &self.meta, *knows_script, *may_have_run, args);
            pipeline.add_command(command);
        }
        if let Some(wait) = wait {
            let mut command = cmd(wait.command());
            if let Some(disks) = wait.disks {
                command.arg(disks);
            }
            command.arg(wait.replicas);
            command.arg(u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX));
            pipeline.add_command(command);
        }
        pipeline
    }

    /// Replies to all jobs that were carried out or refused. Keeps the others, and returns why
    /// they have to wait, if they have.
    fn reply_all(
        &self,
        batch: &mut Vec<Job>,
        mut answers: Vec<Value>,
        wait: Option<&Wait>,
    ) -> Option<RedisError> {
        let unconfirmed = match wait {
            Some(wait) => answers.pop().and_then(|answer| wait.missing(answer)),
            None => None,
        };
        let mut failure = None;
        let jobs = std::mem::take(batch);
        for (mut job, answer) in jobs.into_iter().zip(answers) {
            let error = match answer.extract_error() {
                Ok(_) if unconfirmed.is_some() => {
                    let (disks, replicas) = unconfirmed.unwrap_or_default();
                    job.reply(Err(Error::Unconfirmed { disks, replicas }));
                    continue;
                }
                Ok(answer) => {
                    job.reply(Ok(answer));
                    continue;
                }
                Err(error) => error,
            };
            match verdict(&error) {
                Verdict::NoScript if job.knows_script => {
                    job.knows_script = false;
                    batch.push(job);
                }
                Verdict::Reconnect | Verdict::Later => {
                    failure = Some(error);
                    batch.push(job);
                }
                Verdict::NoScript | Verdict::Refused(_) => {
                    let error = self.link.error(error);
                    job.reply(Err(error));
                }
            }
        }
        failure
    }

    /// Fails the jobs that would be too old after `delay`.
    fn give_up(&self, batch: &mut Vec<Job>, error: &RedisError, delay: Duration) {
        let now = Instant::now() + delay;
        let too_old = |job: &mut Job| now.duration_since(job.queued_at) >= self.link.patience();
        for job in batch.extract_if(.., too_old) {
            let error = self.link.error(error.clone());
            job.reply(Err(error));
        }
    }
}

impl Wait {
    fn command(&self) -> &'static str {
        match self.disks {
            Some(_) => "WAITAOF",
            None => "WAIT",
        }
    }

    /// On how many disks and replicas a write is, where that is too few.
    fn missing(&self, answer: Value) -> Option<(u64, u64)> {
        let (disks, replicas) = match Reply::of(answer) {
            Ok(reply) if self.disks.is_some() => (reply.number(0).ok()?, reply.number(1).ok()?),
            Ok(reply) => (0, reply.number(0).ok()?),
            Err(_) => (0, 0),
        };
        let enough = disks >= self.disks.unwrap_or(0) && replicas >= u64::from(self.replicas);
        (!enough).then_some((disks, replicas))
    }
}
