//! Stateful reconnect: what was sent and not confirmed, to be sent again over the next
//! WebSocket of the same connection; and which of what comes in has come before.
//!
//! Where the specification's text and the reference server (MessageBuffer.cs of
//! dotnet/aspnetcore) differ, the server's way is taken, which the clients follow:
//! Sequence carries the number of the first record that is sent again.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::Message;
use crate::protocol::Protocol;

/// Unconfirmed bytes after which nothing more is sent, as in the reference server. The
/// client confirms once a second.
const BUFFER: usize = 100_000;

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    unconfirmed: VecDeque<Bytes>,
    bytes: usize,
    /// Counted records that were sent and confirmed.
    confirmed: u64,
    /// All unconfirmed records are to be sent again.
    rewound: bool,
}

/// What came in.
#[derive(Debug)]
pub(crate) struct Received {
    /// Of the next counted record.
    next: u64,
    latest: u64,
    /// What was last confirmed to the client.
    told: u64,
    /// After a reconnect nothing counts until the client says where it begins.
    waiting: bool,
}

impl Replay {
    /// Whether more may be sent before the client confirms something.
    pub fn has_room(&self) -> bool {
        self.bytes < BUFFER
    }

    pub fn sent(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.unconfirmed.push_back(record);
    }

    /// The client has all up to this one.
    pub fn confirmed(&mut self, sequence: u64) {
        while self.confirmed < sequence
            && let Some(record) = self.unconfirmed.pop_front()
        {
            self.bytes -= record.len();
            self.confirmed += 1;
        }
    }

    /// Another WebSocket carries the connection: it begins with what is not confirmed.
    pub fn rewind(&mut self) {
        self.rewound = true;
    }

    /// What has to be sent again, and first of all where that begins.
    pub fn again(&mut self, protocol: Protocol, records: &mut Vec<Bytes>) {
        if std::mem::take(&mut self.rewound) {
            let sequence = self.confirmed + 1;
            records.push(protocol.encode(&Message::Sequence { sequence }));
            records.extend(self.unconfirmed.iter().cloned());
        }
    }
}

impl Received {
    pub fn new() -> Self {
        Self {
            next: 1,
            latest: 0,
            told: 0,
            waiting: false,
        }
    }

    /// Another WebSocket carries the connection.
    pub fn reconnected(&mut self) {
        self.waiting = true;
    }

    /// Whether the record is new: others were acted on before.
    pub fn is_new(&mut self, message: &Message) -> bool {
        if self.waiting {
            return matches!(message, Message::Sequence { .. });
        }
        if !message.is_counted() {
            return true;
        }
        let number = self.next;
        self.next += 1;
        if number <= self.latest {
            return false;
        }
        self.latest = number;
        true
    }

    /// The client says which number comes next.
    ///
    /// # Errors
    /// Where records would be missing; the text is the reference server's.
    pub fn begins_at(&mut self, sequence: u64) -> Result<(), &'static str> {
        if sequence == 0 || sequence > self.next.max(self.latest + 1) {
            return Err("Sequence ID greater than amount of messages we've received.");
        }
        self.next = sequence;
        self.waiting = false;
        Ok(())
    }

    /// What the client has to be told that it need not send again, if anything.
    pub fn news(&mut self) -> Option<u64> {
        let news = self.latest > self.told;
        self.told = self.latest;
        news.then_some(self.latest)
    }
}

#[cfg(test)]
mod tests;
