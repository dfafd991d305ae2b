//! What this engine has seen of the store, to notice when the store has lost some of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{RedisError, Value};
use tokio::sync::{Notify, watch};

use super::commands::{command, random_word};
use super::error::{Error, Verdict, verdict};
use super::head_cache::HeadCache;
use super::place::Place;
use super::reply::{Args, Reply};
use super::witness_file::Record;
use super::{LAYOUT, script};

/// Entries of the log that are compared. Where more arrive between two comparisons, the last ones.
const MAX_ENTRIES: usize = 128;

/// Compares what this engine has seen with what the store has: on every new connection before it
/// is used, and every few seconds by the task that follows the log. Where something is missing,
/// positions and fences go on above those that were seen, under a new epoch.
pub(super) struct Witness {
    meta: String,
    heads: Arc<HeadCache>,
    epochs: watch::Sender<Arc<str>>,
    seen: Mutex<Seen>,
    /// Something was seen since the last wait for it.
    changes: Notify,
}

#[derive(Default, Clone)]
struct Seen {
    /// The highest position that was acknowledged or read.
    position: u64,
    /// The highest fence that was handed out to this engine.
    fence: u64,
    /// Entries of the log that were read in this epoch since the last comparison, and the one
    /// before: their places, and their fields as text.
    entries: VecDeque<(Place, String)>,
    /// From where the log has to be read again.
    rewind: Option<Place>,
}

impl Witness {
    pub(super) fn new(meta: String, heads: Arc<HeadCache>) -> Self {
        Self {
            meta,
            heads,
            epochs: watch::Sender::new(Arc::from("")),
            seen: Mutex::default(),
            changes: Notify::new(),
        }
    }

    pub(super) fn epoch(&self) -> watch::Receiver<Arc<str>> {
        self.epochs.subscribe()
    }

    /// The store has this epoch.
    pub(super) fn saw_epoch(&self, epoch: &str) {
        if **self.epochs.borrow() == *epoch {
            return;
        }
        self.lock().entries.clear();
        self.heads.clear();
        self.epochs.send_replace(epoch.into());
        self.changes.notify_one();
    }

    /// An event of this position was acknowledged.
    pub(super) fn saw_position(&self, position: u64) {
        let mut seen = self.lock();
        seen.position = seen.position.max(position);
        self.changes.notify_one();
    }

    pub(super) fn saw_fence(&self, fence: u64) {
        let mut seen = self.lock();
        seen.fence = seen.fence.max(fence);
        self.changes.notify_one();
    }

    /// An entry of the log was read.
    pub(super) fn saw_entry(&self, place: Place, fields: &[(String, String)]) {
        let fields = fields.iter().flat_map(|(name, value)| [&**name, &**value]);
        let fields: Vec<_> = fields.collect();
        let mut seen = self.lock();
        seen.position = seen.position.max(place.position);
        if seen.entries.len() >= MAX_ENTRIES {
            seen.entries.pop_front();
        }
        seen.entries.push_back((place, fields.join(" ")));
        self.changes.notify_one();
    }

    /// Takes up what this engine had seen before it was started. The store has the epoch that was
    /// seen last.
    pub(super) fn recall(&self, record: Record) {
        let is_same_epoch = **self.epochs.borrow() == *record.epoch;
        let mut seen = self.lock();
        seen.position = seen.position.max(record.position);
        seen.fence = seen.fence.max(record.fence);
        if let Some((place, fields)) = record.entry.filter(|_| is_same_epoch)
            && let Ok(place) = place.parse()
        {
            seen.entries.push_front((place, fields));
        }
    }

    /// What was seen of `store`, with its last entry if that has `max_entry` bytes at most. `None`
    /// before anything was seen.
    pub(super) fn record(&self, store: &str, max_entry: usize) -> Option<Record> {
        let seen = self.lock();
        let epoch = self.epochs.borrow().to_string();
        let entry = seen.entries.back();
        let entry = entry.filter(|(_, fields)| fields.len() <= max_entry);
        (!epoch.is_empty()).then(|| Record {
            store: store.to_owned(),
            epoch,
            position: seen.position,
            fence: seen.fence,
            entry: entry.map(|(place, fields)| (place.to_string(), fields.clone())),
        })
    }

    /// Waits until something was seen since the last time. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changes.notified().await;
    }

    /// From where the log has to be read again, once for each time.
    pub(super) fn take_rewind(&self) -> Option<Place> {
        self.lock().rewind.take()
    }

    /// Compares. Cancel safe.
    ///
    /// # Errors
    /// If the server does not answer, or takes no writes although something is missing.
    pub(super) async fn check(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        if self.epochs.borrow().is_empty() {
            return Ok(());
        }
        // What is seen while the answer is under way may be missing in it, and is no loss.
        let seen = self.lock().clone();
        let answer = self.run(connection, "look", &seen).await?;
        match self.apply(answer) {
            Ok(true) => {
                self.forget_before(&seen);
                Ok(())
            }
            // Looks again: another engine may have noticed meanwhile.
            Ok(false) => {
                let seen = self.lock().clone();
                let answer = self.run(connection, "repair", &seen).await?;
                self.apply(answer).map(drop).map_err(unreadable)
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        what: &str,
        seen: &Seen,
    ) -> Result<Value, RedisError> {
        let epoch = Arc::clone(&self.epochs.borrow());
        let args = Args::new()
            .text(what)
            .number(seen.position)
            .number(seen.fence)
            .text(&*epoch)
            .text(random_word())
            .number(LAYOUT.into());
        let args = seen.entries.iter().fold(args, |args, (place, fields)| {
            args.text(place.to_string()).text(fields)
        });
        for knows_script in [true, false] {
            let command = command(&script::WITNESS, &self.meta, knows_script, false, &args);
            let sent = connection.req_packed_command(&command).await;
            match sent.and_then(Value::extract_error) {
                Err(error) if knows_script && verdict(&error) == Verdict::NoScript => {}
                answer => return answer,
            }
        }
        Ok(Value::Nil)
    }

    /// Takes up an answer. Returns whether nothing is missing that was not missed before.
    fn apply(&self, answer: Value) -> Result<bool, Error> {
        let reply = Reply::of(answer)?;
        match reply.word()? {
            "whole" => {}
            "lost" => return Ok(false),
            // Another engine has noticed a loss, or the nodes have shown one.
            "epoch" => {
                if let Ok(place) = reply.text(2)?.parse::<Place>() {
                    self.rewind(place.previous());
                }
                self.saw_epoch(reply.text(1)?);
            }
            "repaired" => {
                let position = reply.number(2)?;
                tracing::error!(
                    position,
                    "the store has lost writes that it had acknowledged: it ends at this position, \
                     or has others where they were. Positions and fences go on above those that \
                     were seen, and clients of the live feeds start over"
                );
                self.rewind(Place::of(position));
                self.saw_epoch(reply.text(1)?);
            }
            _ => return Err(Error::Answer("unknown state of the end of the log")),
        }
        Ok(true)
    }

    /// Forgets the entries that were compared, but for the last one.
    fn forget_before(&self, compared: &Seen) {
        if let Some((last, _)) = compared.entries.back() {
            let mut seen = self.lock();
            seen.entries.retain(|(place, _)| place >= last);
        }
    }

    fn rewind(&self, place: Place) {
        let mut seen = self.lock();
        let before = seen.rewind.unwrap_or(place);
        seen.rewind = Some(before.min(place));
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: Error) -> RedisError {
    let kind = redis::ErrorKind::Io;
    (kind, "the store does not tell its end", error.to_string()).into()
}
