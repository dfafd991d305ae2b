use crate::protocol::Message;

/// Numbers the received messages, to ignore those that the client sends again and to
/// acknowledge the others.
#[derive(Debug)]
pub(crate) struct ReceivedSequence {
    /// The number of the next counted message.
    next: u64,
    /// The highest number so far.
    latest: u64,
    /// The last number that was acknowledged to the client.
    acknowledged: u64,
    /// After a reconnect, everything is ignored until the client's Sequence message.
    awaits_sequence: bool,
}

impl ReceivedSequence {
    pub fn new() -> Self {
        Self {
            next: 1,
            latest: 0,
            acknowledged: 0,
            awaits_sequence: false,
        }
    }

    /// Another WebSocket has attached.
    pub fn on_reconnect(&mut self) {
        self.awaits_sequence = true;
    }

    /// Counts a message. Returns whether to process it: false for a message that was
    /// processed before, or that comes before the Sequence message.
    pub fn should_process(&mut self, message: &Message) -> bool {
        if self.awaits_sequence {
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

    /// Takes the number of the next message from the client's Sequence message.
    ///
    /// # Errors
    /// Where messages would be missing. The text is the reference server's.
    pub fn reset(&mut self, sequence_id: u64) -> Result<(), &'static str> {
        if sequence_id == 0 || sequence_id > self.next.max(self.latest + 1) {
            return Err("Sequence ID greater than amount of messages we've received.");
        }
        self.next = sequence_id;
        self.awaits_sequence = false;
        Ok(())
    }

    /// The number to acknowledge to the client. `None` if there is nothing new.
    pub fn next_ack(&mut self) -> Option<u64> {
        let has_new = self.latest > self.acknowledged;
        self.acknowledged = self.latest;
        has_new.then_some(self.latest)
    }
}
