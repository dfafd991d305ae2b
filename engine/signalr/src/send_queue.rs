//! The bounded queue of one connection's outbound messages. Senders fill it, and the
//! transport that is attached to the connection empties it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::outbound_message::OutboundMessage;
use crate::protocol::{Message, Protocol};
use crate::reconnect::MessageBuffer;

/// How much may wait to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCapacity {
    /// The maximum number of messages.
    pub messages: usize,
    /// The maximum size in bytes of all messages but the first, whose size is not limited.
    pub bytes: usize,
}

/// The content of a Close message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why, for people to read. `None` if nothing went wrong.
    pub error: Option<String>,
    /// Whether the client should reconnect, by its policy for lost connections. Without
    /// this, official clients stop for good.
    pub allow_reconnect: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SendQueue {
    id: u64,
    capacity: QueueCapacity,
    inner: Mutex<Inner>,
    /// Wakes the transport: there may be something to send.
    readable: Notify,
    /// Wakes those who wait for space or for the end.
    writable: Notify,
}

#[derive(Debug)]
struct Inner {
    /// `None` before the handshake: nothing can be sent yet.
    protocol: Option<Protocol>,
    /// Sent before all messages.
    handshake_response: Option<Bytes>,
    messages: VecDeque<OutboundMessage>,
    /// The size of `messages`.
    bytes: usize,
    /// Only with stateful reconnect.
    message_buffer: Option<MessageBuffer>,
    state: QueueState,
    /// Transports with an older attachment have been replaced.
    attachment: Attachment,
}

#[derive(Debug, PartialEq, Eq)]
enum QueueState {
    Open,
    /// The Close is sent after all queued messages.
    Closing(Close),
    /// This handshake response is sent instead of all queued messages.
    HandshakeFailed(Bytes),
    /// Nothing can be sent any more.
    Closed,
}

/// The right of one transport to take messages. It ends when another transport attaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attachment(u64);

/// What the transport has to send next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// Encoded messages.
    Messages(Vec<Bytes>),
    /// Encoded messages, after which nothing follows.
    Last(Vec<Bytes>),
    /// Another transport has attached, or the queue is closed.
    Detached,
}

impl SendQueue {
    /// `id` is unique in this process.
    pub fn new(id: u64, capacity: QueueCapacity, message_buffer: Option<MessageBuffer>) -> Self {
        let inner = Inner {
            protocol: None,
            handshake_response: None,
            messages: VecDeque::new(),
            bytes: 0,
            message_buffer,
            state: QueueState::Open,
            attachment: Attachment::default(),
        };
        Self {
            id,
            capacity,
            inner: Mutex::new(inner),
            readable: Notify::new(),
            writable: Notify::new(),
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts sending: first the handshake response, then messages in this protocol.
    pub fn start(&self, protocol: Protocol, handshake_response: Bytes) {
        let mut inner = self.lock();
        inner.protocol = Some(protocol);
        inner.handshake_response = Some(handshake_response);
        drop(inner);
        self.readable.notify_one();
    }

    /// Closes after sending this handshake response, and nothing else.
    pub fn fail_handshake(&self, response: Bytes) {
        let mut inner = self.lock();
        if inner.state == QueueState::Open {
            inner.state = QueueState::HandshakeFailed(response);
        }
        drop(inner);
        self.readable.notify_one();
    }

    /// Whether the encoded messages are text.
    pub fn is_text(&self) -> bool {
        self.lock().protocol.is_none_or(Protocol::is_text)
    }

    /// Whether no other transport has attached since.
    pub fn is_attached(&self, attachment: Attachment) -> bool {
        self.lock().attachment == attachment
    }

    /// Queues a message. Where the queue would exceed its capacity, the connection is closed
    /// with `allowReconnect` instead: no message is dropped silently. Returns false where
    /// the queue is closed or closing.
    pub fn send(&self, message: OutboundMessage) -> bool {
        let mut inner = self.lock();
        if inner.state != QueueState::Open {
            return false;
        }
        if message.is_replaceable()
            && let Some(index) = inner
                .messages
                .iter()
                .position(|queued| queued.is_replaced_by(&message))
        {
            let size = inner.message_size(index);
            inner.bytes -= size;
            inner.messages.remove(index);
        }
        inner.messages.push_back(message);
        let size = inner.message_size(inner.messages.len() - 1);
        inner.bytes += size;
        let too_many = inner.messages.len() > self.capacity.messages;
        // The first message is about to be sent, so it does not count. If it did, a client
        // whose first message alone exceeds the capacity would be closed each time it
        // reconnects.
        let too_large = inner.bytes.saturating_sub(inner.message_size(0)) > self.capacity.bytes;
        if too_many || too_large {
            inner.messages = VecDeque::new();
            inner.bytes = 0;
            inner.state = QueueState::Closing(Close {
                error: Some("The client reads too slowly; connect again and resume.".to_owned()),
                allow_reconnect: true,
            });
        }
        let is_open = inner.state == QueueState::Open;
        drop(inner);
        self.readable.notify_one();
        is_open
    }

    /// Waits until half of the capacity is free, or the queue is closed. For streams, which
    /// can wait: the other half is for messages that cannot. Cancel safe.
    pub async fn wait_for_space(&self) {
        loop {
            let writable = self.writable.notified();
            tokio::pin!(writable);
            // Registered before the check, so that no wake-up in between is missed.
            writable.as_mut().enable();
            {
                let inner = self.lock();
                let has_space = inner.messages.len() < self.capacity.messages / 2
                    && inner.bytes < self.capacity.bytes / 2;
                if has_space || inner.state != QueueState::Open {
                    return;
                }
            }
            writable.await;
        }
    }

    /// Waits until the transport has taken the Close, or the queue was aborted. Cancel safe.
    pub async fn wait_until_closed(&self) {
        loop {
            let writable = self.writable.notified();
            tokio::pin!(writable);
            writable.as_mut().enable();
            if self.lock().state == QueueState::Closed {
                return;
            }
            writable.await;
        }
    }

    /// Closes after flushing the queue. The first close wins.
    pub fn close(&self, close: Close) {
        let mut inner = self.lock();
        if inner.state == QueueState::Open {
            inner.state = QueueState::Closing(close);
        }
        drop(inner);
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    /// Closes at once, without flushing the queue.
    pub fn abort(&self) {
        let mut inner = self.lock();
        inner.state = QueueState::Closed;
        inner.messages = VecDeque::new();
        inner.bytes = 0;
        drop(inner);
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    /// Whether nothing more can be queued.
    pub fn is_closed(&self) -> bool {
        self.lock().state != QueueState::Open
    }

    /// Attaches a transport. The one before gets [`Batch::Detached`]. With stateful
    /// reconnect, unacknowledged messages are sent again.
    pub fn attach(&self) -> Attachment {
        let mut inner = self.lock();
        let is_reconnect = inner.attachment != Attachment::default();
        inner.attachment.0 += 1;
        if let Some(buffer) = inner.message_buffer.as_mut().filter(|_| is_reconnect) {
            buffer.rewind();
        }
        let attachment = inner.attachment;
        drop(inner);
        // The transport before may be waiting and has to see that it was replaced. If it is
        // not, the permit of `notify_one` costs one needless check.
        self.readable.notify_waiters();
        self.readable.notify_one();
        attachment
    }

    /// Stops buffering messages for a stateful reconnect.
    pub fn disable_reconnect(&self) {
        self.lock().message_buffer = None;
    }

    /// The client has received all counted messages up to this one.
    pub fn acknowledge(&self, sequence_id: u64) {
        if let Some(buffer) = &mut self.lock().message_buffer {
            buffer.acknowledge(sequence_id);
        }
        self.readable.notify_one();
    }

    /// Waits for something to send. Cancel safe: messages stay queued until returned.
    pub async fn next_batch(&self, attachment: Attachment) -> Batch {
        loop {
            let readable = self.readable.notified();
            tokio::pin!(readable);
            readable.as_mut().enable();
            if let Some(batch) = self.try_next_batch(attachment) {
                return batch;
            }
            readable.await;
        }
    }

    fn try_next_batch(&self, attachment: Attachment) -> Option<Batch> {
        let mut inner = self.lock();
        if inner.attachment != attachment || inner.state == QueueState::Closed {
            return Some(Batch::Detached);
        }
        if let QueueState::HandshakeFailed(response) = &inner.state {
            let response = response.clone();
            inner.state = QueueState::Closed;
            self.writable.notify_waiters();
            return Some(Batch::Last(vec![response]));
        }
        // Before the handshake nothing can be sent, not even a Close.
        let Some(protocol) = inner.protocol else {
            return matches!(inner.state, QueueState::Closing(_)).then_some(Batch::Detached);
        };
        let inner = &mut *inner;
        let mut encoded: Vec<_> = inner.handshake_response.take().into_iter().collect();
        match &mut inner.message_buffer {
            None => {
                let messages = std::mem::take(&mut inner.messages);
                encoded.extend(
                    messages
                        .iter()
                        .map(|message| message.encoded(protocol).clone()),
                );
                inner.bytes = 0;
            }
            Some(buffer) => {
                buffer.resend_into(protocol, &mut encoded);
                while let Some(message) = inner.messages.front().filter(|_| buffer.has_space()) {
                    let bytes = message.encoded(protocol).clone();
                    inner.bytes = inner.bytes.saturating_sub(bytes.len());
                    if message.message().is_counted() {
                        buffer.push(bytes.clone());
                    }
                    encoded.push(bytes);
                    inner.messages.pop_front();
                }
            }
        }
        let batch = if let QueueState::Closing(close) = &inner.state {
            let (error, allow_reconnect) = (close.error.clone(), close.allow_reconnect);
            encoded.push(protocol.encode(&Message::Close {
                error,
                allow_reconnect,
            }));
            inner.state = QueueState::Closed;
            Some(Batch::Last(encoded))
        } else if encoded.is_empty() {
            None
        } else {
            Some(Batch::Messages(encoded))
        };
        self.writable.notify_waiters();
        batch
    }
}

impl Inner {
    fn message_size(&self, index: usize) -> usize {
        // Before the handshake the protocol is unknown: most clients use JSON.
        let protocol = self.protocol.unwrap_or(Protocol::Json);
        let message = self.messages.get(index);
        message.map_or(0, |message| message.encoded(protocol).len())
    }
}

#[cfg(test)]
mod tests;
