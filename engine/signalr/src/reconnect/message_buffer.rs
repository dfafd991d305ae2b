use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::{Message, Protocol};

/// The maximum size of the buffer in bytes, as in the reference server. When it is full,
/// sending stops until the client acknowledges, which it does once a second.
pub(super) const CAPACITY: usize = 100_000;

/// Sent messages that the client has not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct MessageBuffer {
    unacknowledged: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// The number of counted messages that were sent and acknowledged.
    pub(super) acknowledged: u64,
    /// All unacknowledged messages have to be sent again.
    rewound: bool,
}

impl MessageBuffer {
    /// Whether more may be sent before the client acknowledges.
    pub fn has_space(&self) -> bool {
        self.bytes < CAPACITY
    }

    pub fn push(&mut self, encoded: Bytes) {
        self.bytes += encoded.len();
        self.unacknowledged.push_back(encoded);
    }

    /// The client has received all messages up to this one.
    pub fn acknowledge(&mut self, sequence_id: u64) {
        while self.acknowledged < sequence_id
            && let Some(encoded) = self.unacknowledged.pop_front()
        {
            self.bytes -= encoded.len();
            self.acknowledged += 1;
        }
    }

    /// Another WebSocket has attached: it has to send all unacknowledged messages again.
    pub fn rewind(&mut self) {
        self.rewound = true;
    }

    /// After a rewind, appends a Sequence message and the messages to send again.
    pub fn resend_into(&mut self, protocol: Protocol, encoded: &mut Vec<Bytes>) {
        if std::mem::take(&mut self.rewound) {
            let sequence_id = self.acknowledged + 1;
            encoded.push(protocol.encode(&Message::Sequence { sequence_id }));
            encoded.extend(self.unacknowledged.iter().cloned());
        }
    }
}
