//! [`EngineMessages`] for [`super::Redis`]: channels that nothing is stored of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Msg, RedisError};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::commands::{Commands, random_word};
use super::error::Error;
use super::link::Link;
use super::locator::Locator;
use crate::{CatalogueError, EngineMessages};

/// Messages that a receiver may be behind.
const CAPACITY: usize = 256;

/// A connection that was silent for so long is replaced: it may be dead without notice.
/// Every engine sends more often while it has nodes.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The channels of an installation, received over one connection.
pub(super) struct Channels {
    locator: Arc<Locator>,
    pub(super) node_reports: Arc<Channel>,
    pub(super) soaks: Arc<Channel>,
    pub(super) samples: Arc<Channel>,
}

/// One channel.
pub(super) struct Channel {
    commands: Commands,
    name: String,
    /// Tells the messages of this engine, which it does not receive.
    own: String,
    received: broadcast::Sender<Arc<[u8]>>,
    /// How many messages of this engine have come back.
    echoes: watch::Sender<u64>,
}

impl Channels {
    pub(super) fn new(commands: &Commands, locator: Arc<Locator>) -> Self {
        let channel = |name| Arc::new(Channel::new(commands.clone(), name));
        Self {
            locator,
            node_reports: channel("reports"),
            soaks: channel("soaks"),
            samples: channel("samples"),
        }
    }

    /// Tries whether the user may use the channels. Where it does not come to that, because the
    /// server does not answer, it is not known.
    ///
    /// # Errors
    /// [`Error::NoChannels`].
    pub(super) async fn check(&self, server: &str) -> Result<(), Error> {
        let refused = |command, source| Error::NoChannels {
            server: server.to_owned(),
            command,
            channels: self.node_reports.commands.key("*"),
            source,
        };
        match timeout(MAX_SILENCE, self.subscribe()).await {
            Ok(Err(error)) if is_refusal(&error) => return Err(refused("SUBSCRIBE", error)),
            _ => {}
        }
        // Nobody has subscribed to this one.
        let commands = &self.node_reports.commands;
        match commands.publish(&commands.key("check"), b"").await {
            Err(Error::Refused { source, .. }) if is_refusal(&source) => {
                Err(refused("PUBLISH", source))
            }
            _ => Ok(()),
        }
    }

    /// Receives until it is dropped. Cancel safe.
    pub(super) async fn receive(&self) {
        let mut backoff = Link::backoff();
        let mut fails = false;
        loop {
            let error = match timeout(MAX_SILENCE, self.subscribe()).await {
                Ok(Ok(subscription)) => {
                    if std::mem::take(&mut fails) {
                        tracing::info!("hears of the other engines again");
                    }
                    backoff.reset();
                    self.listen(subscription).await;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the server does not answer".to_owned(),
            };
            // Once for each row of failures.
            if std::mem::replace(&mut fails, true) {
                tracing::debug!(error, "cannot hear of the other engines, retrying");
            } else {
                tracing::warn!(
                    error,
                    "cannot hear of the other engines, nor of the nodes that report to them, \
                     retrying"
                );
            }
            backoff.wait().await;
        }
    }

    async fn subscribe(&self) -> Result<PubSub, RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(MAX_SILENCE));
        let (client, _) = self.locator.connect(&config).await?;
        let mut connection = client.get_async_pubsub().await?;
        for channel in self.all() {
            connection.subscribe(&channel.name).await?;
        }
        Ok(connection)
    }

    /// Receives until the connection breaks, or nothing arrives any more.
    async fn listen(&self, mut subscription: PubSub) {
        let mut messages = subscription.on_message();
        while let Ok(Some(message)) = timeout(MAX_SILENCE, messages.next()).await {
            let name = message.get_channel_name();
            let channel = self.all().into_iter().find(|channel| channel.name == name);
            if let Some(channel) = channel {
                channel.take(&message);
            }
        }
    }

    fn all(&self) -> [&Channel; 3] {
        [&self.node_reports, &self.soaks, &self.samples]
    }
}

/// Whether the user lacks a permission.
fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

impl Channel {
    fn new(commands: Commands, name: &str) -> Self {
        Self {
            name: commands.key(name),
            commands,
            own: random_word(),
            received: broadcast::Sender::new(CAPACITY),
            echoes: watch::Sender::new(0),
        }
    }

    fn take(&self, message: &Msg) {
        let bytes = message.get_payload_bytes();
        let Some((from, message)) = bytes.split_at_checked(self.own.len()) else {
            return;
        };
        if from == self.own.as_bytes() {
            self.echoes.send_modify(|count| *count += 1);
            return;
        }
        // Fails where nobody has subscribed.
        let _ = self.received.send(message.into());
    }
}

#[async_trait]
impl EngineMessages for Channel {
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError> {
        let message = [self.own.as_bytes(), message].concat();
        Ok(self.commands.publish(&self.name, &message).await?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.received.subscribe()
    }

    fn echoes(&self) -> watch::Receiver<u64> {
        self.echoes.subscribe()
    }
}
