//! [`EngineMessages`] for [`super::Redis`]: channels that nothing is stored of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::{AsyncConnectionConfig, Msg, RedisError};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::commands::{Commands, random_word};
use super::link::Link;
use super::locator::Locator;
use crate::{CatalogueError, EngineMessages};

/// Messages that a receiver may be behind.
const CAPACITY: usize = 256;

/// A connection on which nothing arrived for so long is made anew: it may be dead without a word.
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

    /// Receives until it is dropped. Cancel safe.
    pub(super) async fn receive(&self) {
        let mut backoff = Link::backoff();
        loop {
            match self.listen().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!(%error, "cannot hear of the other engines, retrying");
                    backoff.wait().await;
                }
            }
        }
    }

    /// Receives until the connection breaks, or nothing arrives any more.
    async fn listen(&self) -> Result<(), RedisError> {
        let connect = async {
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(MAX_SILENCE));
            let (client, _) = self.locator.connect(&config).await?;
            let mut connection = client.get_async_pubsub().await?;
            for channel in self.all() {
                connection.subscribe(&channel.name).await?;
            }
            Ok::<_, RedisError>(connection)
        };
        let Ok(connected) = timeout(MAX_SILENCE, connect).await else {
            return Ok(());
        };
        let mut connection = connected?;
        let mut messages = connection.on_message();
        while let Ok(Some(message)) = timeout(MAX_SILENCE, messages.next()).await {
            let name = message.get_channel_name();
            let channel = self.all().into_iter().find(|channel| channel.name == name);
            if let Some(channel) = channel {
                channel.take(&message);
            }
        }
        Ok(())
    }

    fn all(&self) -> [&Channel; 3] {
        [&self.node_reports, &self.soaks, &self.samples]
    }
}

impl Channel {
    fn new(commands: Commands, name: &str) -> Self {
        Self {
            name: commands.key(name),
            commands,
            own: random_word(),
            received: broadcast::Sender::new(CAPACITY),
        }
    }

    fn take(&self, message: &Msg) {
        let bytes = message.get_payload_bytes();
        let Some((from, message)) = bytes.split_at_checked(self.own.len()) else {
            return;
        };
        if from != self.own.as_bytes() {
            // Fails where nobody has subscribed.
            let _ = self.received.send(message.into());
        }
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
}
