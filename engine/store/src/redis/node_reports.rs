//! [`NodeReports`] for [`super::Redis`]: a channel that nothing is stored of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::commands::{Commands, random_word};
use super::link::Link;
use super::locator::Locator;
use crate::{CatalogueError, NodeReports};

/// Messages that a receiver may be behind.
const CAPACITY: usize = 256;

/// A connection on which nothing arrived for so long is made anew: it may be dead without a word.
/// Every engine sends more often while it has nodes.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The channel of an installation.
pub(super) struct Channel {
    commands: Commands,
    locator: Arc<Locator>,
    name: String,
    /// Tells the messages of this engine, which it does not receive.
    own: String,
    received: broadcast::Sender<Arc<[u8]>>,
}

impl Channel {
    pub(super) fn new(commands: Commands, locator: Arc<Locator>) -> Self {
        Self {
            name: commands.key("reports"),
            commands,
            locator,
            own: random_word(),
            received: broadcast::Sender::new(CAPACITY),
        }
    }

    /// Receives until it is dropped. Cancel safe.
    pub(super) async fn receive(&self) {
        let mut backoff = Link::backoff();
        loop {
            match self.listen().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!(%error, "cannot hear of the nodes of other engines, retrying");
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
            connection.subscribe(&self.name).await?;
            Ok::<_, RedisError>(connection)
        };
        let Ok(connected) = timeout(MAX_SILENCE, connect).await else {
            return Ok(());
        };
        let mut connection = connected?;
        let mut messages = connection.on_message();
        while let Ok(Some(message)) = timeout(MAX_SILENCE, messages.next()).await {
            let bytes = message.get_payload_bytes();
            let Some((from, message)) = bytes.split_at_checked(self.own.len()) else {
                continue;
            };
            if from != self.own.as_bytes() {
                // Fails where nobody has subscribed.
                let _ = self.received.send(message.into());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl NodeReports for Channel {
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError> {
        let message = [self.own.as_bytes(), message].concat();
        Ok(self.commands.publish(&self.name, &message).await?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.received.subscribe()
    }
}
