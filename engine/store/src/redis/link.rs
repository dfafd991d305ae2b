//! A connection to the server that is made again when it breaks.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use hotswap_common::Backoff;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::error::{Error, Verdict, verdict};
use super::locator::Locator;
use super::witness::Witness;
use crate::metrics::RECONNECTS;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MIN_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_secs(1);

/// One connection, which any number of callers share. A new one is used only once it is certain
/// that the server behind it has what this engine has seen.
pub(super) struct Link {
    locator: Arc<Locator>,
    witness: Arc<Witness>,
    config: AsyncConnectionConfig,
    server: String,
    patience: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// Counts the attempts to connect.
    generation: u64,
    connection: Option<MultiplexedConnection>,
    /// The attempt that is under way.
    attempt: Option<Attempt>,
    has_connected: bool,
}

/// An attempt to connect. All callers wait for the same one, and it goes on when some of them give
/// up: otherwise a server that is slow to take connections would get none that is finished.
type Attempt = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// How long a connection waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// For a query as a whole.
    pub(super) patience: Duration,
    /// For one answer. A connection without one for so long is given up.
    pub(super) answer: Duration,
    /// To be made, at most.
    pub(super) connect: Duration,
}

impl Link {
    /// The address of the server, for people.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Connects at the first use.
    pub(super) fn new(
        locator: Arc<Locator>,
        witness: Arc<Witness>,
        server: &str,
        Times {
            patience,
            answer,
            connect,
        }: Times,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT.min(connect)))
            .set_response_timeout(Some(answer));
        Self {
            locator,
            witness,
            config,
            server: server.to_owned(),
            patience,
            current: Mutex::default(),
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The back-off between attempts.
    pub(super) fn backoff() -> Backoff {
        Backoff::new(MIN_DELAY, MAX_DELAY)
    }

    /// Sends a command once. Cancel safe, but for what the command does.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let sent = connection.send_packed_command(command).await;
        let sent = sent.and_then(Value::extract_error);
        self.discard_if_broken(generation, sent.as_ref().err());
        sent
    }

    /// As [`Self::send`], but fails at `give_up`, wherever it is then.
    async fn send_until(&self, command: &Cmd, give_up: Instant) -> Result<Value, RedisError> {
        let connected = timeout_at(give_up, self.connection()).await;
        let (generation, mut connection) = connected.unwrap_or_else(|_| Err(timed_out()))?;
        let sent_at = Instant::now();
        let sent = timeout_at(give_up, connection.send_packed_command(command)).await;
        let Ok(sent) = sent else {
            let error = timed_out();
            // A connection that had little time may be as good as any.
            if sent_at.elapsed() >= self.patience / 2 {
                self.discard_if_broken(generation, Some(&error));
            }
            return Err(error);
        };
        let sent = sent.and_then(Value::extract_error);
        self.discard_if_broken(generation, sent.as_ref().err());
        sent
    }

    /// Sends commands at once, and returns the answer to each, errors among them.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let count = commands.cmd_iter().count();
        let sent = connection.req_packed_commands(commands, 0, count).await;
        let error = match &sent {
            Err(error) => Some(error.clone()),
            Ok(answers) => answers.iter().find_map(|answer| match answer {
                Value::ServerError(error) => Some(error.clone().into()),
                _ => None,
            }),
        };
        self.discard_if_broken(generation, error.as_ref());
        sent
    }

    /// Compares what this engine has seen with what the server has. Cancel safe.
    pub(super) async fn check(&self) -> Result<(), RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let checked = self.witness.check(&mut connection).await;
        self.discard_if_broken(generation, checked.as_ref().err());
        checked
    }

    /// Sends a command that may be carried out twice, again and again until it is answered.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where that takes too long, [`Error::Refused`].
    pub(super) async fn query(&self, mut command: impl FnMut(bool) -> Cmd) -> Result<Value, Error> {
        let give_up = Instant::now() + self.patience;
        let mut backoff = Self::backoff();
        let mut knows_script = true;
        loop {
            let error = match self.send_until(&command(knows_script), give_up).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match verdict(&error) {
                Verdict::NoScript if knows_script => {
                    knows_script = false;
                    continue;
                }
                Verdict::Refused(_) | Verdict::NoScript => return Err(self.error(error)),
                Verdict::Reconnect | Verdict::Later => {}
            }
            let delay = backoff.next_delay();
            if Instant::now() + delay >= give_up {
                return Err(self.error(error));
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// The error in words.
    pub(super) fn error(&self, source: RedisError) -> Error {
        let server = self.server.clone();
        let advice = match verdict(&source) {
            Verdict::Refused(advice) => advice,
            Verdict::Later | Verdict::NoScript => {
                super::error::advice(source.code().unwrap_or_default())
            }
            Verdict::Reconnect => match source.code() {
                Some(code) => super::error::advice(code),
                None => return Error::Unavailable { server, source },
            },
        };
        Error::Refused {
            server,
            advice,
            source,
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let (generation, attempt) = {
            let mut current = self.lock();
            if let Some(connection) = &current.connection {
                return Ok((current.generation, connection.clone()));
            }
            match &current.attempt {
                Some(attempt) => (current.generation, attempt.clone()),
                None => {
                    let attempt = self.attempt();
                    current.generation += 1;
                    current.attempt = Some(attempt.clone());
                    (current.generation, attempt)
                }
            }
        };
        let connected = attempt.await;
        let mut current = self.lock();
        // The first caller that hears of it.
        if current.generation == generation && current.attempt.take().is_some() {
            current.connection = connected.as_ref().ok().cloned();
            if connected.is_ok() && std::mem::replace(&mut current.has_connected, true) {
                RECONNECTS.count();
                tracing::info!(server = %self.server, "connected to the store again");
            }
        }
        Ok((generation, connected?))
    }

    fn attempt(&self) -> Attempt {
        let (locator, witness) = (Arc::clone(&self.locator), Arc::clone(&self.witness));
        let config = self.config.clone();
        let connect = async move {
            let (_, mut connection) = locator.connect(&config).await?;
            witness.check(&mut connection).await?;
            Ok::<_, RedisError>(connection)
        };
        connect.boxed().shared()
    }

    fn discard_if_broken(&self, generation: u64, error: Option<&RedisError>) {
        let Some(error) = error.filter(|error| verdict(error) == Verdict::Reconnect) else {
            return;
        };
        let mut current = self.lock();
        if current.generation == generation && current.connection.take().is_some() {
            tracing::warn!(server = %self.server, %error, "lost the connection to the store");
        }
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
