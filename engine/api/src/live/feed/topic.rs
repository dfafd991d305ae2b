use std::collections::HashMap;

use hotswap_signalr::Peer;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::offset::{Offset, Resume};
use super::recent::{Kept, Recent};
use super::tell::Told;

/// What is told of one thing, and whom.
#[derive(Debug)]
pub(super) struct Topic {
    recent: Recent,
    members: HashMap<u64, Member>,
    /// The place of the last message, for those who look for themselves.
    last: watch::Sender<Offset>,
}

#[derive(Debug)]
struct Member {
    peer: Peer,
    /// They have not been answered yet: nothing may come before the answer. Then they are
    /// told all after this place.
    waits_from: Option<Offset>,
}

/// Where somebody begins to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// All after this place will be told.
    pub offset: Offset,
    /// Whether that is all they missed. Else they need a snapshot.
    pub recovered: bool,
}

impl Topic {
    /// Of which nothing after this place has been told yet; keeps so many messages for
    /// those who come back.
    pub fn new(kept: Kept, from: Offset) -> Self {
        Self {
            recent: Recent::new(kept, from),
            members: HashMap::new(),
            last: watch::Sender::new(from),
        }
    }

    /// Tells everybody, and keeps it for those who come back.
    pub fn publish(&mut self, told: Told) {
        self.members
            .retain(|_, member| member.waits_from.is_some() || member.peer.send(&told.event));
        let offset = told.offset;
        self.recent.push(told);
        self.last.send_replace(offset);
    }

    /// Where whoever gives `resume` begins.
    pub fn start(&self, epoch: &str, resume: Option<&Resume>) -> Start {
        let seen = resume
            .filter(|resume| resume.epoch == epoch)
            .and_then(|resume| resume.offset.parse().ok())
            .filter(|seen| self.recent.after(*seen).is_some());
        Start {
            offset: seen.unwrap_or(self.recent.last()),
            recovered: seen.is_some(),
        }
    }

    /// Takes somebody in. They are told nothing before [`Self::attach`].
    pub fn join(&mut self, peer: &Peer, start: Start) {
        let member = Member {
            peer: peer.clone(),
            waits_from: Some(start.offset),
        };
        self.members.insert(peer.number(), member);
    }

    /// They have been answered: tells them what came since, and from now on everything.
    pub fn attach(&mut self, number: u64) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        let Some(from) = member.waits_from.take() else {
            return;
        };
        match self.recent.after(from) {
            Some(missed) => missed.for_each(|told| {
                member.peer.send(&told.event);
            }),
            // More happened since the answer than is kept: never a part of it.
            None => member.peer.close(hotswap_signalr::Close {
                error: Some("Too much happened at once; connect again and resume.".to_owned()),
                allow_reconnect: true,
            }),
        }
    }

    /// Tells them nothing more.
    pub fn leave(&mut self, number: u64) {
        self.members.remove(&number);
    }

    /// Whether anybody is told.
    pub fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.last.receiver_count() == 0
    }

    /// For those who look for themselves; as long as it lives, the topic is not deserted.
    pub fn watch(&self) -> watch::Receiver<Offset> {
        self.last.subscribe()
    }

    /// At most `most` messages after this place; nothing where some are not kept any more.
    pub fn after(&self, seen: Offset, most: usize) -> Option<Vec<Told>> {
        let missed = self.recent.after(seen)?;
        Some(missed.take(most).cloned().collect())
    }
}

/// What is answered to whoever subscribes.
pub(super) fn subscription(epoch: &str, start: Start, snapshot: Option<Value>) -> Value {
    let mut answer = json!({
        "epoch": epoch,
        "offset": start.offset.to_string(),
        "recovered": start.recovered,
    });
    if let Some(snapshot) = snapshot {
        answer["snapshot"] = snapshot;
    }
    answer
}
