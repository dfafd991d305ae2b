//! Delivers the events of a deployment, each once and in order, across reconnects.

use std::future::Future;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::{DeploymentId, EventBody};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, Error, Interruption, RecordedEvent, SoakReport, StreamItem};

/// A longer silence counts as an interruption. The engine sends a keep-alive every 15
/// seconds: by then two are missing and the third is late.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);

/// The delays between attempts to reconnect; jitter adds up to as much again. Short, so that
/// an engine that is back is noticed soon.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_millis(1500);

/// How long a server is tried that has not answered as an engine yet: as long as an engine
/// takes to start. An engine that has answered is tried until the follower is dropped.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What a follower delivers.
#[derive(Debug)]
pub enum FollowUpdate {
    /// The next events.
    Events(Vec<RecordedEvent>),
    /// The progress of the running soak.
    Soak(SoakReport),
    /// All past events are delivered. Until the next interruption, events that follow have
    /// just happened.
    UpToDate,
    /// The store is another one, or has lost events: the events come again from the first.
    StartedOver,
    /// The connection failed for this reason. The follower reconnects.
    Disconnected(Error),
    /// The connection failed, and a retry would not help, or retries have not helped. Nothing
    /// follows.
    Failed(Error),
}

/// Follows one deployment until it ends. Dropping the follower stops it.
pub struct Follower {
    updates: mpsc::Receiver<FollowUpdate>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Starts at the first event. `has_answered`: the server has answered as an engine before.
    /// Must be called within a runtime.
    pub fn new(client: Client, id: DeploymentId, has_answered: bool) -> Self {
        let silence_timer = || tokio::time::sleep(SILENCE_TIMEOUT);
        Self::with_silence_timer(client, id, has_answered, silence_timer)
    }

    /// Starts with another timer: each future that it returns completes when a silence has
    /// lasted too long.
    fn with_silence_timer<F, S>(
        client: Client,
        id: DeploymentId,
        has_answered: bool,
        silence_timer: F,
    ) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send,
    {
        let (sender, updates) = mpsc::channel(4);
        let mut task = FollowTask {
            client,
            id,
            updates: sender,
            silence_timer,
            cursor: EventCursor::default(),
            backoff: Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY),
            has_answered,
            started: Instant::now(),
        };
        let task = tokio::spawn(async move { task.run().await });
        Self {
            updates,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The next update; `None` after the last event. Cancel safe.
    pub async fn next(&mut self) -> Option<FollowUpdate> {
        self.updates.recv().await
    }
}

/// The task behind a [`Follower`].
struct FollowTask<F> {
    client: Client,
    id: DeploymentId,
    updates: mpsc::Sender<FollowUpdate>,
    silence_timer: F,
    cursor: EventCursor,
    backoff: Backoff,
    /// Whether the server has answered as an engine.
    has_answered: bool,
    started: Instant,
}

impl<F, S> FollowTask<F>
where
    F: Fn() -> S + Send + Sync,
    S: Future<Output = ()> + Send,
{
    async fn run(&mut self) {
        while let Err(error) = self.follow_connection().await {
            let retry = self.may_retry(&error);
            let update = if retry {
                FollowUpdate::Disconnected(error)
            } else {
                FollowUpdate::Failed(error)
            };
            if self.updates.send(update).await.is_err() || !retry {
                return;
            }
            self.backoff.wait().await;
        }
    }

    fn may_retry(&self, error: &Error) -> bool {
        if self.has_answered {
            error.is_transient_of_engine()
        } else {
            error.is_transient() && self.started.elapsed() < START_PATIENCE
        }
    }

    /// Forwards what comes over one connection. Returns without an error after the last
    /// event, and when the follower is dropped.
    async fn follow_connection(&mut self) -> Result<(), Error> {
        let last_id = self.cursor.last_id.as_deref();
        let stream = self.client.stream(self.id, last_id);
        let stream = self.unless_silent(stream).await?;
        self.has_answered = true;
        let Some(mut stream) = stream else {
            return Err(self.cursor.start_over(&self.client));
        };
        loop {
            let items = self.unless_silent(stream.next()).await?;
            let mut updates = Vec::new();
            let has_ended = self.cursor.advance(items, &mut updates, &self.client);
            if !updates.is_empty() {
                self.backoff.reset();
            }
            for update in updates {
                if self.updates.send(update).await.is_err() {
                    return Ok(());
                }
            }
            if has_ended? {
                return Ok(());
            }
        }
    }

    /// The result of `response`, unless the silence timer ends first.
    async fn unless_silent<T>(
        &self,
        response: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            result = response => result,
            () = (self.silence_timer)() => {
                Err(self.client.stream_interrupted(Interruption::Silent))
            }
        }
    }
}

/// How far the events of a deployment have been delivered.
#[derive(Default)]
struct EventCursor {
    /// The number of the next event.
    next_seq: u64,
    /// The stream's id of the event before.
    last_id: Option<String>,
}

impl EventCursor {
    /// Turns the items of a stream into updates. Returns whether the last event was among
    /// them. On an error, `updates` holds what came before it.
    fn advance(
        &mut self,
        items: Vec<Result<StreamItem, Error>>,
        updates: &mut Vec<FollowUpdate>,
        client: &Client,
    ) -> Result<bool, Error> {
        for item in items {
            match item? {
                // A repeated event is delivered once.
                StreamItem::Event(recorded, _) if recorded.event.seq < self.next_seq => {}
                StreamItem::Event(recorded, _) if recorded.event.seq > self.next_seq => {
                    return Err(client.stream_interrupted(Interruption::Gap(self.next_seq)));
                }
                StreamItem::Event(recorded, id) => {
                    self.next_seq += 1;
                    self.last_id = id;
                    let has_ended = matches!(recorded.event.body, EventBody::Ended { .. });
                    match updates.last_mut() {
                        Some(FollowUpdate::Events(events)) => events.push(*recorded),
                        _ => updates.push(FollowUpdate::Events(vec![*recorded])),
                    }
                    if has_ended {
                        return Ok(true);
                    }
                }
                StreamItem::Damaged(damage) => return Err(Error::Damaged(damage)),
                StreamItem::Soak(soak) => updates.push(FollowUpdate::Soak(soak)),
                StreamItem::Live => updates.push(FollowUpdate::UpToDate),
                StreamItem::End => return Err(self.start_over(client)),
                StreamItem::Reset => {
                    *self = Self::default();
                    updates.push(FollowUpdate::StartedOver);
                }
            }
        }
        Ok(false)
    }

    /// Forgets the stream's id. Called when the engine says that nothing follows, although
    /// the last event is missing: the id does not tell the engine how far we are, so the next
    /// connection requests all events.
    fn start_over(&mut self, client: &Client) -> Error {
        self.last_id = None;
        client.stream_interrupted(Interruption::Gap(self.next_seq))
    }
}

#[cfg(test)]
mod tests;
