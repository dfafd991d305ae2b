use std::collections::HashMap;
use std::sync::Arc;

use hotswap_signalr::{Close, ConnectionHandle, OutboundMessage};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::notification::Notification;
use super::offset::{Offset, ResumePosition};
use super::replay_buffer::{ReplayBuffer, Retention};

/// A sequence of notifications and its subscribers.
#[derive(Debug)]
pub(super) struct Topic {
    replay_buffer: ReplayBuffer,
    /// By connection id.
    subscribers: HashMap<u64, Subscriber>,
    /// The offset of the last notification. Streams watch it and read at their own pace.
    last_offset: watch::Sender<Offset>,
}

#[derive(Debug)]
struct Subscriber {
    connection: ConnectionHandle,
    /// Set until the answer to the subscription is sent: no notification may come before it.
    /// The notifications after this offset follow the answer.
    pending_from: Option<Offset>,
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartPoint {
    /// All notifications after this offset will be sent.
    pub offset: Offset,
    /// Whether these include everything that the subscriber missed. If not, it needs a
    /// snapshot.
    pub recovered: bool,
}

impl Topic {
    /// A topic whose first notification comes after `start`.
    pub fn new(retention: Retention, start: Offset) -> Self {
        Self {
            replay_buffer: ReplayBuffer::new(retention, start),
            subscribers: HashMap::new(),
            last_offset: watch::Sender::new(start),
        }
    }

    /// Starts over after `start`, because what was sent may not be true any more. Subscribers are
    /// disconnected: those that connect again with their position get a snapshot.
    pub fn restart(&mut self, retention: Retention, start: Offset) {
        for subscriber in std::mem::take(&mut self.subscribers).into_values() {
            subscriber.connection.close(Close {
                error: Some("The store has lost events; connect again and resume.".to_owned()),
                allow_reconnect: true,
            });
        }
        self.replay_buffer = ReplayBuffer::new(retention, start);
        self.last_offset.send_replace(start);
    }

    /// Sends a notification to all subscribers and adds it to the replay buffer. Removes
    /// subscribers whose connection is closed.
    pub fn publish(&mut self, notification: Notification) {
        self.subscribers.retain(|_, subscriber| {
            subscriber.pending_from.is_some() || subscriber.connection.send(&notification.message)
        });
        let offset = notification.offset;
        self.replay_buffer.push(notification);
        self.last_offset.send_replace(offset);
    }

    /// Sends the present state of something to all subscribers. It is not a notification. It is
    /// not kept. Wakes streams.
    pub fn send(&mut self, message: &OutboundMessage) {
        self.subscribers.retain(|_, subscriber| {
            subscriber.pending_from.is_some() || subscriber.connection.send(message)
        });
        self.last_offset.send_modify(|_| {});
    }

    /// The offset of the last notification.
    pub fn end(&self) -> Offset {
        self.replay_buffer.end()
    }

    /// Whether a subscriber with this position may have seen what is not published here yet: it
    /// comes from another engine, which was faster.
    pub fn may_be_behind(&self, epoch: &str, resume: Option<&ResumePosition>) -> bool {
        resume.is_some_and(|resume| {
            let offset = resume.offset.parse();
            resume.epoch != epoch || offset.is_ok_and(|offset: Offset| offset > self.end())
        })
    }

    /// Where a subscriber with this position starts.
    pub fn start_point(&self, epoch: &str, resume: Option<&ResumePosition>) -> StartPoint {
        let resumed = resume
            .filter(|resume| resume.epoch == epoch)
            .and_then(|resume| resume.offset.parse().ok())
            .filter(|offset| self.replay_buffer.after(*offset).is_some());
        StartPoint {
            offset: resumed.unwrap_or(self.replay_buffer.end()),
            recovered: resumed.is_some(),
        }
    }

    /// Adds a subscriber. It gets no notifications before [`Self::activate`].
    pub fn subscribe(&mut self, connection: &ConnectionHandle, start: StartPoint) {
        let subscriber = Subscriber {
            connection: connection.clone(),
            pending_from: Some(start.offset),
        };
        self.subscribers.insert(connection.id(), subscriber);
    }

    /// The answer to the subscription is sent: sends what came since its start point, then `last`,
    /// and from now on each notification.
    pub fn activate(&mut self, connection_id: u64, last: Option<&OutboundMessage>) {
        let Some(subscriber) = self.subscribers.get_mut(&connection_id) else {
            return;
        };
        let Some(from) = subscriber.pending_from.take() else {
            return;
        };
        match self.replay_buffer.after(from) {
            Some(missed) => {
                let missed = missed.map(|notification| &notification.message);
                for message in missed.chain(last) {
                    subscriber.connection.send(message);
                }
            }
            // More came since the answer than the replay buffer keeps. Sending a part of it
            // would break the promise to the client.
            None => subscriber.connection.close(Close {
                error: Some("Too much happened at once; connect again and resume.".to_owned()),
                allow_reconnect: true,
            }),
        }
    }

    pub fn unsubscribe(&mut self, connection_id: u64) {
        self.subscribers.remove(&connection_id);
    }

    /// Whether there are no subscribers and no streams.
    pub fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.last_offset.receiver_count() == 0
    }

    /// Signals new notifications to a stream. The topic is in use while the receiver lives.
    pub fn watch(&self) -> watch::Receiver<Offset> {
        self.last_offset.subscribe()
    }

    /// At most `limit` notifications after this offset. `None` if some of them were
    /// discarded.
    pub fn after(&self, offset: Offset, limit: usize) -> Option<Vec<Notification>> {
        let notifications = self.replay_buffer.after(offset)?;
        Some(notifications.take(limit).cloned().collect())
    }
}

/// A new subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The epoch of what is sent.
    pub epoch: Arc<str>,
    pub start: StartPoint,
    /// What the subscriber needs if it does not get everything that it missed.
    pub snapshot: Option<Value>,
}

impl Subscription {
    /// The answer to it.
    pub fn into_response(self) -> Value {
        let mut response = json!({
            "epoch": &*self.epoch,
            "offset": self.start.offset.to_string(),
            "recovered": self.start.recovered,
        });
        if let Some(snapshot) = self.snapshot {
            response["snapshot"] = snapshot;
        }
        response
    }
}
