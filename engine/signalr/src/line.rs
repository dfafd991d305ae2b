//! What a connection has still to be sent: a bounded queue, filled by whoever has
//! something to tell and emptied by whatever carries the connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::event::Event;
use crate::message::Message;
use crate::protocol::Protocol;
use crate::replay::Replay;

/// How much may wait to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Records.
    pub records: usize,
    /// Bytes behind the first record, which may be as long as it is.
    pub bytes: usize,
}

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why, for people, where it is not for good reasons.
    pub error: Option<String>,
    /// Whether the client should come back at once, by its policy for lost connections.
    /// Without, official clients stop for good.
    pub allow_reconnect: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Line {
    number: u64,
    capacity: Capacity,
    queue: Mutex<Queue>,
    /// There is something to take.
    filled: Notify,
    /// There is room again.
    emptied: Notify,
}

#[derive(Debug)]
struct Queue {
    /// Nothing before the handshake: then nothing is taken.
    protocol: Option<Protocol>,
    /// Goes before all else.
    first: Option<Bytes>,
    events: VecDeque<Event>,
    bytes: usize,
    /// Only of a connection that may be taken up again.
    replay: Option<Replay>,
    end: End,
    /// Whoever took with an older number has been replaced.
    carrier: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Open,
    /// To be told once all else is.
    Closing(Close),
    /// To be told instead of all else.
    Refusing(Bytes),
    /// Nothing can be told any more.
    Gone,
}

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// These records.
    Records(Vec<Bytes>),
    /// These, and then nothing ever.
    Last(Vec<Bytes>),
    /// Another carrier has taken the line over, or it is gone.
    Lost,
}

impl Line {
    pub fn new(number: u64, capacity: Capacity, replay: Option<Replay>) -> Self {
        let queue = Queue {
            protocol: None,
            first: None,
            events: VecDeque::new(),
            bytes: 0,
            replay,
            end: End::Open,
            carrier: 0,
        };
        Self {
            number,
            capacity,
            queue: Mutex::new(queue),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Unlike any other line of this process.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on records are taken, written so, after these bytes.
    pub fn speak(&self, protocol: Protocol, first: Bytes) {
        let mut queue = self.lock();
        queue.protocol = Some(protocol);
        queue.first = Some(first);
        drop(queue);
        self.filled.notify_one();
    }

    /// There will be no records; these bytes are the last.
    pub fn refuse(&self, last: Bytes) {
        let mut queue = self.lock();
        if queue.end == End::Open {
            queue.end = End::Refusing(last);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Whether what is taken may stand in a text frame.
    pub fn is_text(&self) -> bool {
        self.lock().protocol.is_none_or(Protocol::is_text)
    }

    /// Whether nobody has taken it over from this carrier.
    pub fn is_carried_by(&self, carrier: u64) -> bool {
        self.lock().carrier == carrier
    }

    /// Tells it, as soon as what was told before has been sent. Where too much waits, the
    /// connection is closed instead, and the client may come back: nothing is left out
    /// in silence. False where nothing can be told any more.
    pub fn send(&self, event: Event) -> bool {
        let mut queue = self.lock();
        if queue.end != End::Open {
            return false;
        }
        if event.is_newest_only()
            && let Some(place) = queue.events.iter().position(|one| one.yields_to(&event))
        {
            let size = queue.size(place);
            queue.bytes -= size;
            queue.events.remove(place);
        }
        queue.events.push_back(event);
        let size = queue.size(queue.events.len() - 1);
        queue.bytes += size;
        let many = queue.events.len() > self.capacity.records;
        // The first is as good as sent. Were it counted, whoever is owed one that is longer
        // than all that may wait would be closed for whatever follows it, each time anew.
        let large = queue.bytes.saturating_sub(queue.size(0)) > self.capacity.bytes;
        if many || large {
            queue.events = VecDeque::new();
            queue.bytes = 0;
            queue.end = End::Closing(Close {
                error: Some("The client reads too slowly; connect again and resume.".to_owned()),
                allow_reconnect: true,
            });
        }
        let open = queue.end == End::Open;
        drop(queue);
        self.filled.notify_one();
        open
    }

    /// Waits until half of it is free, or it has ended: for streams, whose source can wait,
    /// while the other half is for what cannot.
    pub async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look: room that comes in between is heard of.
            emptied.as_mut().enable();
            {
                let queue = self.lock();
                let roomy = queue.events.len() < self.capacity.records / 2
                    && queue.bytes < self.capacity.bytes / 2;
                if roomy || queue.end != End::Open {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Waits until nothing can be sent any more: the close has been taken, or it was cut.
    pub async fn parted(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.lock().end == End::Gone {
                return;
            }
            emptied.await;
        }
    }

    /// Ends it, after what waits has been sent. What was asked first holds.
    pub fn close(&self, close: Close) {
        let mut queue = self.lock();
        if queue.end == End::Open {
            queue.end = End::Closing(close);
        }
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Nothing can be sent any more.
    pub fn cut(&self) {
        let mut queue = self.lock();
        queue.end = End::Gone;
        queue.events = VecDeque::new();
        queue.bytes = 0;
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Whether nothing more can be told.
    pub fn is_closed(&self) -> bool {
        self.lock().end != End::Open
    }

    /// Takes the line over; whoever carried it before finds it [`Taken::Lost`]. With a
    /// replay, what the client has not confirmed is sent again.
    pub fn carry(&self) -> u64 {
        let mut queue = self.lock();
        let again = queue.carrier > 0;
        queue.carrier += 1;
        if let Some(replay) = queue.replay.as_mut().filter(|_| again) {
            replay.rewind();
        }
        let carrier = queue.carrier;
        drop(queue);
        // The one before may be waiting: it has to hear that it was replaced, and the
        // permit that it does not take is only one look too many.
        self.filled.notify_waiters();
        self.filled.notify_one();
        carrier
    }

    /// The connection cannot be taken up again after all: nothing is kept for that.
    pub fn forget(&self) {
        self.lock().replay = None;
    }

    /// What the client confirmed, of a connection that may be taken up again.
    pub fn confirmed(&self, sequence: u64) {
        if let Some(replay) = &mut self.lock().replay {
            replay.confirmed(sequence);
        }
        self.filled.notify_one();
    }

    /// Waits for something to send. Safe to cancel: what was not returned stays.
    pub async fn take(&self, carrier: u64) -> Taken {
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            if let Some(taken) = self.try_take(carrier) {
                return taken;
            }
            filled.await;
        }
    }

    fn try_take(&self, carrier: u64) -> Option<Taken> {
        let mut queue = self.lock();
        if queue.carrier != carrier || queue.end == End::Gone {
            return Some(Taken::Lost);
        }
        if let End::Refusing(last) = &queue.end {
            let last = last.clone();
            queue.end = End::Gone;
            self.emptied.notify_waiters();
            return Some(Taken::Last(vec![last]));
        }
        // Before the handshake nothing can be said, not even that it ends.
        let Some(protocol) = queue.protocol else {
            return matches!(queue.end, End::Closing(_)).then_some(Taken::Lost);
        };
        let queue = &mut *queue;
        let mut records: Vec<_> = queue.first.take().into_iter().collect();
        match &mut queue.replay {
            None => {
                let events = std::mem::take(&mut queue.events);
                records.extend(events.iter().map(|event| event.encoded(protocol).clone()));
                queue.bytes = 0;
            }
            Some(replay) => {
                replay.again(protocol, &mut records);
                while let Some(event) = queue.events.front().filter(|_| replay.has_room()) {
                    let record = event.encoded(protocol).clone();
                    queue.bytes = queue.bytes.saturating_sub(record.len());
                    if event.message().is_counted() {
                        replay.sent(record.clone());
                    }
                    records.push(record);
                    queue.events.pop_front();
                }
            }
        }
        let taken = if let End::Closing(close) = &queue.end {
            let (error, allow_reconnect) = (close.error.clone(), close.allow_reconnect);
            records.push(protocol.encode(&Message::Close {
                error,
                allow_reconnect,
            }));
            queue.end = End::Gone;
            Some(Taken::Last(records))
        } else if records.is_empty() {
            None
        } else {
            Some(Taken::Records(records))
        };
        self.emptied.notify_waiters();
        taken
    }
}

impl Queue {
    fn size(&self, place: usize) -> usize {
        // Nothing was agreed on yet: JSON is what most speak.
        let protocol = self.protocol.unwrap_or(Protocol::Json);
        let event = self.events.get(place);
        event.map_or(0, |event| event.encoded(protocol).len())
    }
}

#[cfg(test)]
mod tests;
