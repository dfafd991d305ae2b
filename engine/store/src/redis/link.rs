//! A connection to the server that is made again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use hotswap_common::Backoff;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

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
    /// Counts the connections that were made.
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Link {
    /// Connects at the first use. Commands on it may take `extra` time, because they wait.
    pub(super) fn new(
        locator: Arc<Locator>,
        witness: Arc<Witness>,
        server: &str,
        patience: Duration,
        extra: Duration,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT.min(patience)))
            .set_response_timeout(Some(patience + extra));
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
        self.discard_if_broken(generation, sent.as_ref().err())
            .await;
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
        self.discard_if_broken(generation, error.as_ref()).await;
        sent
    }

    /// Compares what this engine has seen with what the server has. Cancel safe.
    pub(super) async fn check(&self) -> Result<(), RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let checked = self.witness.check(&mut connection).await;
        self.discard_if_broken(generation, checked.as_ref().err())
            .await;
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
            let error = match self.send(&command(knows_script)).await {
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
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.generation, connection.clone()));
        }
        let (_, mut connection) = self.locator.connect(&self.config).await?;
        self.witness.check(&mut connection).await?;
        if current.generation > 0 {
            RECONNECTS.count();
            tracing::info!(server = %self.server, "connected to the store again");
        }
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((current.generation, connection))
    }

    async fn discard_if_broken(&self, generation: u64, error: Option<&RedisError>) {
        let Some(error) = error.filter(|error| verdict(error) == Verdict::Reconnect) else {
            return;
        };
        let mut current = self.current.lock().await;
        if current.generation == generation && current.connection.take().is_some() {
            tracing::warn!(server = %self.server, %error, "lost the connection to the store");
        }
    }
}
