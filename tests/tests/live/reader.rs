use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use hotswap_core::DeploymentId;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::brittle::Brittle;

/// In which way something is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A subscription of a hub.
    Hub,
    /// A stream of a hub.
    Stream,
    /// An event stream.
    Sse,
    /// A plain WebSocket.
    Socket,
}

/// Somebody who watches, comes back whenever the connection is lost, and goes on where it
/// was.
pub struct Reader {
    pub way: Way,
    /// What is watched; none for all.
    pub watched: Option<DeploymentId>,
    pub addr: watch::Receiver<SocketAddr>,
    pub reins: Arc<Reins>,
    /// After how many bytes its connections break.
    pub cuts: VecDeque<usize>,
    /// The place of the last event of all, once there will be no more.
    pub last: watch::Receiver<Option<u64>>,
    /// Of the store.
    pub epoch: String,
    /// Where it is: an offset, or an id.
    pub place: String,
    pub heard: Vec<Heard>,
    /// Times that it had to come back.
    pub lost: usize,
}

/// What is done to a reader.
#[derive(Default)]
pub struct Reins {
    pub cut: Notify,
    pub stalled: watch::Sender<bool>,
    /// What it has heard.
    pub heard: watch::Sender<usize>,
}

/// What a reader hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It has subscribed, after this offset, and was answered so.
    Begun { after: String, answer: Value },
    /// A message of a hub.
    Told { target: String, argument: Value },
    /// An event of the journal.
    Event(Value),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing will follow.
    Over,
    /// It was lost.
    Lost,
    /// There was none.
    Refused,
}

impl Reader {
    /// Reads all that there will ever be, whatever becomes of the connections.
    pub async fn run(mut self) -> Result<Self> {
        loop {
            let addr = *self.addr.borrow_and_update();
            let reins = Arc::clone(&self.reins);
            let end = tokio::select! {
                end = self.connection(addr) => end?,
                () = reins.cut.notified() => End::Lost,
            };
            match end {
                End::Over => return Ok(self),
                End::Lost => self.lost += 1,
                // There will be another server.
                End::Refused => self.addr.changed().await?,
            }
        }
    }

    async fn connection(&mut self, addr: SocketAddr) -> Result<End> {
        let left = self.cuts.pop_front();
        let Ok(stream) = Brittle::connect(addr, left).await else {
            return Ok(End::Refused);
        };
        match self.way {
            Way::Hub | Way::Stream => self.hub(stream).await,
            Way::Sse => self.sse(stream).await,
            Way::Socket => self.socket(stream).await,
        }
    }

    /// Not before it may go on.
    pub async fn awake(&self) {
        let mut stalled = self.reins.stalled.subscribe();
        // Fails where nobody holds the reins any more.
        let _ = stalled.wait_for(|stalled| !stalled).await;
    }

    pub fn hear(&mut self, heard: Heard) {
        self.heard.push(heard);
        self.reins.heard.send_replace(self.heard.len());
    }

    /// Whether it has read all, of all deployments.
    pub fn has_all(&self, place: impl Fn(u64) -> String) -> bool {
        self.last
            .borrow()
            .is_some_and(|last| place(last) == self.place)
    }

    /// Where it goes on, as hubs want it.
    pub fn resume(&self) -> Value {
        json!({"epoch": self.epoch, "offset": self.place})
    }
}
