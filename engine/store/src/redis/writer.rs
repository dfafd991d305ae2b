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

/// What is missing of what a write waits for.
#[derive(Debug)]
enum Missing {
    /// It is on too few disks: on these.
    Disks {
        /// 1 if it is on the server's own.
        own: u64,
        replicas: u64,
    },
    /// The user may not wait.
    Permission {
        command: &'static str,
        source: RedisError,
    },
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
        let unconfirmed = unconfirmed.as_ref();
        let mut failure = None;
        let jobs = std::mem::take(batch);
        for (mut job, answer) in jobs.into_iter().zip(answers) {
            let error = match answer.extract_error() {
                Ok(answer) => {
                    job.reply(match unconfirmed {
                        Some(missing) => Err(self.unconfirmed(missing)),
                        None => Ok(answer),
                    });
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

    /// Why a write that was carried out does not count.
    fn unconfirmed(&self, missing: &Missing) -> Error {
        match *missing {
            Missing::Disks { own, replicas } => Error::Unconfirmed {
                disks: own,
                replicas,
            },
            Missing::Permission {
                command,
                ref source,
            } => Error::NoWait {
                server: self.link.server().to_owned(),
                command,
                source: source.clone(),
            },
        }
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

    /// What a write lacks after the server has waited. What cannot be read confirms nothing.
    fn missing(&self, answer: Value) -> Option<Missing> {
        let (own, replicas) = match answer.extract_error() {
            Ok(answer) => {
                let reply = Reply::of(answer);
                let number = |index| {
                    let reply = reply.as_ref().ok();
                    reply
                        .and_then(|reply| reply.number(index).ok())
                        .unwrap_or(0)
                };
                match self.disks {
                    Some(_) => (number(0), number(1)),
                    None => (0, number(0)),
                }
            }
            Err(source) if source.code() == Some("NOPERM") => {
                let command = self.command();
                return Some(Missing::Permission { command, source });
            }
            Err(_) => (0, 0),
        };
        let is_enough = own >= self.disks.unwrap_or(0) && replicas >= u64::from(self.replicas);
        (!is_enough).then_some(Missing::Disks { own, replicas })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(disks: Option<u64>, replicas: u32, answer: Value) -> Option<(u64, u64)> {
        let wait = Wait {
            disks,
            replicas,
            timeout: Duration::ZERO,
        };
        wait.missing(answer).map(|missing| match missing {
            Missing::Disks { own, replicas } => (own, replicas),
            Missing::Permission { .. } => panic!("{missing:?}"),
        })
    }

    fn numbers<const N: usize>(numbers: [i64; N]) -> Value {
        Value::Array(numbers.map(Value::Int).into())
    }

    #[test]
    fn only_what_the_server_confirms_counts() {
        assert_eq!(missing(Some(1), 0, numbers([1, 0])), None);
        assert_eq!(missing(Some(1), 0, numbers([0, 3])), Some((0, 3)));
        assert_eq!(missing(Some(1), 2, numbers([1, 1])), Some((1, 1)));
        assert_eq!(missing(Some(0), 1, numbers([0, 1])), None);
        assert_eq!(missing(None, 1, Value::Int(1)), None);
        assert_eq!(missing(None, 2, Value::Int(1)), Some((0, 1)));
    }

    #[test]
    fn an_answer_that_cannot_be_read_confirms_nothing() {
        let text = || Value::SimpleString("soon".to_owned());
        let error = redis::parse_redis_value(b"-ERR wrong number of arguments\r\n").unwrap();
        for answer in [
            numbers([]),
            Value::Array(vec![text(), text()]),
            Value::Nil,
            text(),
            error,
        ] {
            assert_eq!(
                missing(Some(1), 0, answer.clone()),
                Some((0, 0)),
                "{answer:?}"
            );
            assert_eq!(missing(None, 1, answer.clone()), Some((0, 0)), "{answer:?}");
        }
        // On the disk, and nobody knows on how many replicas.
        assert_eq!(missing(Some(1), 0, numbers([1])), None);
        assert_eq!(missing(Some(1), 1, numbers([1])), Some((1, 0)));
    }
}
