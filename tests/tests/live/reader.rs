use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use hotswap_core::DeploymentId;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::truncating_stream::TruncatingStream;

/// How a reader watches deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMethod {
    /// A subscription on a hub.
    HubSubscription,
    /// A stream on a hub.
    HubStream,
    /// Journal events as server-sent events.
    EventStream,
    /// Journal events over a plain WebSocket.
    WebSocket,
}

/// A client that reconnects whenever its connection is lost, and resumes from its position.
pub struct Reader {
    pub method: WatchMethod,
    /// The watched deployment. `None` watches all.
    pub watched: Option<DeploymentId>,
    pub addr: watch::Receiver<SocketAddr>,
    pub control: Arc<ReaderControl>,
    /// After how many bytes each of its first connections breaks.
    pub cut_after: VecDeque<usize>,
    /// Position of the last event of all deployments, once nothing more will be written.
    pub last_position: watch::Receiver<Option<u64>>,
    /// Epoch of the store.
    pub epoch: String,
    /// What it has read up to: an offset for hubs, an event id for journal events.
    pub position: String,
    pub received: Vec<Received>,
    /// How often it lost its connection.
    pub reconnects: usize,
}

/// Disturbs a reader, and observes its progress.
#[derive(Default)]
pub struct ReaderControl {
    /// Cuts the connection.
    pub cut: Notify,
    /// Whether the reader must not read.
    pub stalled: watch::Sender<bool>,
    /// The number of events or messages that it has received.
    pub received_count: watch::Sender<usize>,
}

/// What a reader received.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The answer to a subscription from the offset `after`.
    Subscribed { after: String, answer: Value },
    /// A notification from a hub.
    Message { target: String, argument: Value },
    /// A journal event.
    Event(Value),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// Everything was read.
    Complete,
    /// The connection was lost.
    Lost,
    /// The server did not accept a connection.
    Refused,
}

impl Reader {
    /// Reads until everything was read, over as many connections as it takes.
    pub async fn run(mut self) -> Result<Self> {
        loop {
            let addr = *self.addr.borrow_and_update();
            let control = Arc::clone(&self.control);
            let end = tokio::select! {
                end = self.read_connection(addr) => end?,
                () = control.cut.notified() => ConnectionEnd::Lost,
            };
            match end {
                ConnectionEnd::Complete => return Ok(self),
                ConnectionEnd::Lost => self.reconnects += 1,
                // The server is being restarted, at another address.
                ConnectionEnd::Refused => self.addr.changed().await?,
            }
        }
    }

    async fn read_connection(&mut self, addr: SocketAddr) -> Result<ConnectionEnd> {
        let cut_after = self.cut_after.pop_front();
        let Ok(stream) = TruncatingStream::connect(addr, cut_after).await else {
            return Ok(ConnectionEnd::Refused);
        };
        match self.method {
            WatchMethod::HubSubscription | WatchMethod::HubStream => self.read_hub(stream).await,
            WatchMethod::EventStream => self.read_event_stream(stream).await,
            WatchMethod::WebSocket => self.read_websocket(stream).await,
        }
    }

    /// Returns at once unless the reader is stalled.
    pub async fn wait_while_stalled(&self) {
        let mut stalled = self.control.stalled.subscribe();
        // Fails if the sender was dropped; then nothing stalls the reader.
        let _ = stalled.wait_for(|stalled| !stalled).await;
    }

    pub fn record_received(&mut self, received: Received) {
        self.received.push(received);
        self.control
            .received_count
            .send_replace(self.received.len());
    }

    /// Whether its position is the last one, as `format_position` formats it.
    pub fn has_reached_end(&self, format_position: impl Fn(u64) -> String) -> bool {
        self.last_position
            .borrow()
            .is_some_and(|last| format_position(last) == self.position)
    }

    /// The position in the form that hubs expect.
    pub fn resume_position(&self) -> Value {
        json!({"epoch": self.epoch, "offset": self.position})
    }
}
