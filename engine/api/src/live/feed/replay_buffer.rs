use std::collections::VecDeque;

use hotswap_signalr::QueueCapacity;

use super::notification::Notification;
use super::offset::Offset;

/// The most recent notifications, for subscribers that reconnect.
#[derive(Debug)]
pub(super) struct ReplayBuffer {
    notifications: VecDeque<Notification>,
    /// The size of `notifications`.
    bytes: usize,
    retention: Retention,
    /// All notifications after this offset are in the buffer.
    start: Offset,
    /// The offset of the last notification.
    end: Offset,
}

/// How much a replay buffer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// The maximum number of notifications.
    pub notifications: usize,
    /// The maximum size in bytes, as JSON.
    pub bytes: usize,
}

impl Retention {
    /// Half of the send queue's capacity. The other half is for notifications that come
    /// during a replay. If a replay could fill the queue, the client would be closed each
    /// time it resumes.
    pub fn half_of(capacity: &QueueCapacity) -> Self {
        Self {
            notifications: capacity.messages / 2,
            bytes: capacity.bytes / 2,
        }
    }
}

impl ReplayBuffer {
    /// An empty buffer for the notifications after `start`.
    pub fn new(retention: Retention, start: Offset) -> Self {
        Self {
            notifications: VecDeque::new(),
            bytes: 0,
            retention,
            start,
            end: start,
        }
    }

    pub fn push(&mut self, notification: Notification) {
        self.end = notification.offset;
        self.bytes += notification.message.size();
        self.notifications.push_back(notification);
        while (self.notifications.len() > self.retention.notifications
            || self.bytes > self.retention.bytes)
            && let Some(oldest) = self.notifications.pop_front()
        {
            self.bytes -= oldest.message.size();
            self.start = oldest.offset;
        }
    }

    /// The offset of the last notification.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// All notifications after this offset. `None` if some of them were discarded, or the
    /// offset is in the future.
    pub fn after(&self, offset: Offset) -> Option<impl Iterator<Item = &Notification>> {
        let is_complete = self.start <= offset && offset <= self.end;
        let first = self
            .notifications
            .partition_point(|notification| notification.offset <= offset);
        is_complete.then(|| self.notifications.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use hotswap_signalr::OutboundMessage;
    use serde_json::{Value, json};

    use super::*;

    fn retention(notifications: usize, bytes: usize) -> Retention {
        Retention {
            notifications,
            bytes,
        }
    }

    fn notification(position: u64, argument: Value) -> Notification {
        Notification {
            offset: Offset::after(position),
            target: "x",
            message: OutboundMessage::new("x", argument),
        }
    }

    fn push(buffer: &mut ReplayBuffer, position: u64) {
        buffer.push(notification(position, json!(position)));
    }

    fn offsets_after(buffer: &ReplayBuffer, position: u64) -> Option<Vec<String>> {
        let after = buffer.after(Offset::after(position))?;
        Some(after.map(|it| it.offset.to_string()).collect())
    }

    #[test]
    fn a_replay_is_complete_or_none() {
        let mut buffer = ReplayBuffer::new(retention(3, usize::MAX), Offset::after(0));
        assert_eq!(offsets_after(&buffer, 0), Some(vec![]));
        for position in [2, 5, 6] {
            push(&mut buffer, position);
        }
        let all = ["2", "5", "6"].map(str::to_owned).to_vec();
        assert_eq!(offsets_after(&buffer, 0), Some(all));
        push(&mut buffer, 9);
        assert_eq!(offsets_after(&buffer, 0), None, "2 was discarded");
        assert_eq!(offsets_after(&buffer, 2).unwrap(), ["5", "6", "9"]);
        assert_eq!(offsets_after(&buffer, 6).unwrap(), ["9"]);
        assert_eq!(offsets_after(&buffer, 9), Some(vec![]));
        assert_eq!(offsets_after(&buffer, 10), None, "10 is in the future");
    }

    #[test]
    fn the_size_in_bytes_is_limited() {
        let size = notification(1, json!(1)).message.size();
        let mut buffer = ReplayBuffer::new(retention(usize::MAX, 2 * size), Offset::after(0));
        for position in [1, 2, 3] {
            push(&mut buffer, position);
        }
        assert_eq!(offsets_after(&buffer, 0), None, "1 was discarded");
        assert_eq!(offsets_after(&buffer, 1).unwrap(), ["2", "3"]);
        buffer.push(notification(4, json!("x".repeat(2 * size))));
        assert_eq!(
            offsets_after(&buffer, 3),
            None,
            "4 exceeds the limit on its own"
        );
        assert_eq!(offsets_after(&buffer, 4), Some(vec![]));
        push(&mut buffer, 5);
        assert_eq!(offsets_after(&buffer, 4).unwrap(), ["5"]);
    }
}
