//! Reads events from the journal at the client's own pace: none can be missed, and none
//! waits in memory.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Damage, DeploymentId, Environment, Event, EventBody};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Engine, EventPage};
use hotswap_store::Appended;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::environment_tail::EnvironmentTail;
use super::event_cursor::EventCursor;
use super::event_order::EventOrder;
use super::soak_watch::{SoakWatch, is_over_after};
use crate::view;

/// The maximum number of events per read.
const PAGE_SIZE: usize = 200;
/// The maximum time without an item. Proxies cut idle connections, and clients want to know
/// that the engine is still there.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Reads the events after a cursor, and waits for new ones.
pub(crate) struct Reader {
    events: EventReader,
    /// The soaks that are shown. None for an environment.
    soaks: Option<Box<SoakWatch>>,
    /// The client's cursor is of another store, or events after it were deleted, and
    /// [`ReaderItem::Reset`] is still due.
    is_reset: bool,
    stop: StopConditions,
}

/// The events alone.
struct EventReader {
    deployments: Deployments,
    scope: Scope,
    /// The epoch of all that was read.
    epoch: Arc<str>,
    /// Whether all events that existed at the start have been returned.
    is_live: bool,
}

enum Scope {
    Deployment {
        id: DeploymentId,
        /// The sequence number of the first event that the client wants.
        first_seq: u64,
        /// The sequence number of the next event.
        next_seq: u64,
        has_ended: bool,
        /// The end of a soak was returned, and not the begin of another.
        is_soak_over: bool,
    },
    All {
        /// The position of the last event.
        position: u64,
        appended: broadcast::Receiver<Appended>,
        order: EventOrder,
    },
    Environment(Box<EnvironmentTail>),
}

/// What a stream sends.
pub(crate) enum ReaderItem {
    /// An event and its cursor.
    Event(Box<view::StreamedEvent>, EventCursor),
    /// An event of an environment, readable or not, and its cursor.
    Environment(Box<view::EnvironmentEvent>, EventCursor),
    /// An event that cannot be read, is missing or cannot follow those before it, and the cursor
    /// behind it.
    Damage(Box<view::StreamedDamage>, EventCursor),
    /// What is known of a soak that is under way. No event: it has no cursor.
    Soak(Box<view::SoakProgress>),
    /// The client's cursor is of another store, or events after it were deleted: the stream
    /// starts over.
    Reset,
    /// All events that existed have been sent. With the cursor of the last.
    Live(EventCursor),
    /// Nothing happened for [`HEARTBEAT_INTERVAL`].
    Heartbeat,
    /// There will be no more events. With the cursor of the last.
    End(EventCursor),
}

/// Why reading stopped before [`ReaderItem::End`]. The client may ask for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderStopped {
    /// The server is shutting down.
    ShuttingDown,
    /// The token has expired.
    TokenExpired,
    /// The store failed.
    StoreFailed,
}

/// When to stop reading, at the latest.
pub(crate) struct StopConditions {
    /// When the token expires.
    pub expires_at: Option<Instant>,
    /// The server is shutting down.
    pub shutdown: CancellationToken,
}

impl Reader {
    /// Reads one deployment after the cursor, or without one from the event with the number
    /// `first_seq`.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment; others if the store fails.
    pub async fn for_deployment(
        deployments: &Deployments,
        id: DeploymentId,
        first_seq: u64,
        cursor: Option<&EventCursor>,
        stop: StopConditions,
    ) -> Result<Self, Error> {
        let epoch = deployments.epoch();
        let head = deployments.head(id).await?;
        // A journal that ends before the cursor has lost the events up to it.
        let valid_cursor =
            cursor.filter(|cursor| cursor.is_of_epoch(&epoch) && cursor.number < head.next_seq);
        let next_seq = valid_cursor.map_or(first_seq, |cursor| cursor.number.saturating_add(1));
        let scope = Scope::Deployment {
            id,
            first_seq,
            next_seq,
            has_ended: head.lifecycle.is_ended() && next_seq >= head.next_seq,
            is_soak_over: false,
        };
        let is_reset = cursor.is_some() && valid_cursor.is_none();
        let soaks = SoakWatch::new(deployments, Some(id));
        Ok(Self::new(deployments, epoch, scope, is_reset, stop).with_soaks(soaks))
    }

    /// Reads all deployments after the cursor, or without one from now on.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn for_all(
        deployments: &Deployments,
        cursor: Option<&EventCursor>,
        stop: StopConditions,
    ) -> Result<Self, Error> {
        let epoch = deployments.epoch();
        let appended = deployments.subscribe();
        let now = deployments.position().await?;
        // Some of the events after the cursor may be gone.
        let complete_from = deployments.deleted_through().await?;
        let valid_cursor = cursor.filter(|cursor| {
            let number = cursor.number;
            cursor.is_of_epoch(&epoch) && (complete_from..=now).contains(&number)
        });
        let position = valid_cursor.map_or(now, |cursor| cursor.number);
        let scope = Scope::All {
            position,
            appended,
            order: EventOrder::default(),
        };
        let is_reset = cursor.is_some() && valid_cursor.is_none();
        let soaks = SoakWatch::new(deployments, None);
        Ok(Self::new(deployments, epoch, scope, is_reset, stop).with_soaks(soaks))
    }

    /// Reads one environment after the cursor, or without one from its last events on, as many as
    /// named.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn for_environment(
        engine: &Engine,
        of: (Environment, usize),
        cursor: Option<&EventCursor>,
        stop: StopConditions,
    ) -> Result<Self, Error> {
        let epoch = engine.deployments.epoch();
        let (tail, is_reset) = EnvironmentTail::begin(engine, of, cursor).await?;
        let scope = Scope::Environment(Box::new(tail));
        Ok(Self::new(&engine.deployments, epoch, scope, is_reset, stop))
    }

    fn new(
        deployments: &Deployments,
        epoch: Arc<str>,
        scope: Scope,
        is_reset: bool,
        stop: StopConditions,
    ) -> Self {
        let events = EventReader {
            deployments: deployments.clone(),
            scope,
            epoch,
            is_live: false,
        };
        Self {
            events,
            soaks: None,
            is_reset,
            stop,
        }
    }

    fn with_soaks(self, soaks: SoakWatch) -> Self {
        Self {
            soaks: Some(Box::new(soaks)),
            ..self
        }
    }

    /// Whether the deployment has ended and all its events were read before.
    pub fn is_at_end(&self) -> bool {
        matches!(
            self.events.scope,
            Scope::Deployment {
                has_ended: true,
                ..
            }
        ) && !self.is_reset
    }

    /// The next items. Waits for at most [`HEARTBEAT_INTERVAL`]. The last item is
    /// [`ReaderItem::End`]. Cancel safe.
    ///
    /// # Errors
    /// Where reading stops before the end.
    pub async fn next(&mut self) -> Result<Vec<ReaderItem>, ReaderStopped> {
        if std::mem::take(&mut self.is_reset) {
            return Ok(vec![ReaderItem::Reset]);
        }
        let (expires_at, shutdown) = (self.stop.expires_at, self.stop.shutdown.clone());
        let expired = async {
            match expires_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (epochs, epoch) = (self.events.deployments.epochs(), &self.events.epoch);
        let new_epoch = new_epoch(epochs, Arc::clone(epoch));
        let shows_soaks = self.events.shows_soaks();
        let soak = async {
            match &mut self.soaks {
                Some(soaks) if shows_soaks => soaks.next().await,
                _ => std::future::pending().await,
            }
        };
        let items = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(ReaderStopped::ShuttingDown),
            () = expired => return Err(ReaderStopped::TokenExpired),
            () = new_epoch => self.events.start_over().await,
            items = self.events.read() => match items {
                // Some of them may be of the new epoch.
                Ok(_) if self.events.is_of_old_epoch() => self.events.start_over().await,
                items => items,
            },
            (id, progress) = soak => {
                let progress = view::SoakProgress::new(id, &progress);
                Ok(vec![ReaderItem::Soak(Box::new(progress))])
            }
        };
        items.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "reading events for a stream failed");
            ReaderStopped::StoreFailed
        })
    }
}

impl EventReader {
    /// Whether soaks may be shown: after the events that began them, and not after those that
    /// ended them.
    fn shows_soaks(&self) -> bool {
        let is_over = matches!(
            self.scope,
            Scope::Deployment {
                is_soak_over: true,
                ..
            }
        );
        self.is_live && !is_over
    }

    fn is_of_old_epoch(&self) -> bool {
        self.deployments.epoch() != self.epoch
    }

    /// The store has lost what it had: what the client has may not be there any more.
    async fn start_over(&mut self) -> Result<Vec<ReaderItem>, Error> {
        let epoch = self.deployments.epoch();
        match &mut self.scope {
            Scope::Deployment {
                first_seq,
                next_seq,
                has_ended,
                is_soak_over,
                ..
            } => {
                *next_seq = *first_seq;
                *has_ended = false;
                *is_soak_over = false;
            }
            Scope::All {
                position, order, ..
            } => {
                *position = self.deployments.position().await?;
                *order = EventOrder::default();
            }
            Scope::Environment(tail) => tail.rewind().await?,
        }
        self.epoch = epoch;
        self.is_live = false;
        Ok(vec![ReaderItem::Reset])
    }

    /// Cancel safe: the scope advances only with what is returned.
    async fn read(&mut self) -> Result<Vec<ReaderItem>, Error> {
        let wait = if self.is_live {
            HEARTBEAT_INTERVAL
        } else {
            Duration::ZERO
        };
        let epoch = Arc::clone(&self.epoch);
        // What follows the damage of a journal takes another read.
        let mut has_more = false;
        let mut items: Vec<_> = match &mut self.scope {
            Scope::Deployment {
                id,
                next_seq,
                has_ended,
                is_soak_over,
                ..
            } => {
                let page = if *has_ended {
                    EventPage::default()
                } else {
                    let page = self.deployments.events(*id, *next_seq, PAGE_SIZE, wait);
                    page.await?
                };
                // It may have ended below what the client asked for: no event will come.
                if page.events.is_empty() && page.damage.is_none() && self.is_live {
                    let head = self.deployments.head(*id).await?;
                    *has_ended |= head.lifecycle.is_ended() && *next_seq >= head.next_seq;
                }
                let items = page.events.into_iter().map(|event| {
                    *next_seq = event.seq + 1;
                    *has_ended |= matches!(event.body, EventBody::Ended { .. });
                    *is_soak_over = is_over_after(&event).unwrap_or(*is_soak_over);
                    let cursor = EventCursor::new(&epoch, event.seq);
                    event_item(*id, event, cursor)
                });
                let mut items: Vec<_> = items.collect();
                if let Some(damage) = page.damage {
                    *next_seq = damage.next_seq;
                    has_more = true;
                    let cursor = EventCursor::new(&epoch, damage.next_seq - 1);
                    items.push(damage_item(*id, damage, cursor));
                }
                items
            }
            Scope::All {
                position,
                appended,
                order,
            } => {
                let mut entries = self.deployments.tail(*position, PAGE_SIZE).await?;
                if entries.is_empty() && self.is_live {
                    let appended = wait_for_append(appended, *position);
                    if tokio::time::timeout(wait, appended).await.is_ok() {
                        entries = self.deployments.tail(*position, PAGE_SIZE).await?;
                    }
                }
                // Looked up after the read: what was deleted before it may be missing in it.
                if self.deployments.deleted_through().await? > *position {
                    *position = self.deployments.position().await?;
                    *order = EventOrder::default();
                    return Ok(vec![ReaderItem::Reset]);
                }
                order.check(&self.deployments, &mut entries).await?;
                let items = entries.into_iter().map(|entry| {
                    *position = entry.position;
                    let cursor = EventCursor::new(&epoch, entry.position);
                    match entry.event {
                        Ok(event) => event_item(entry.deployment, event, cursor),
                        Err(damage) => damage_item(entry.deployment, damage, cursor),
                    }
                });
                items.collect()
            }
            Scope::Environment(tail) => {
                let Some(entries) = tail.next(PAGE_SIZE, wait).await? else {
                    return Ok(vec![ReaderItem::Reset]);
                };
                let items = entries.into_iter().map(|entry| {
                    let cursor = EventCursor::new(&epoch, entry.position);
                    ReaderItem::Environment(Box::new(entry.into()), cursor)
                });
                items.collect()
            }
        };
        if items.len() < PAGE_SIZE && !has_more && !self.is_live {
            self.is_live = true;
            items.push(ReaderItem::Live(self.cursor()));
        }
        if let Scope::Deployment {
            has_ended: true, ..
        } = self.scope
        {
            items.push(ReaderItem::End(self.cursor()));
        }
        if items.is_empty() {
            items.push(ReaderItem::Heartbeat);
        }
        Ok(items)
    }

    fn cursor(&self) -> EventCursor {
        let number = match &self.scope {
            // Every journal has an event 0, which was read before: `next_seq` is at least 1.
            Scope::Deployment { next_seq, .. } => next_seq.saturating_sub(1),
            Scope::All { position, .. } => *position,
            Scope::Environment(tail) => tail.position,
        };
        EventCursor::new(&self.epoch, number)
    }
}

fn event_item(id: DeploymentId, event: Event, cursor: EventCursor) -> ReaderItem {
    ReaderItem::Event(Box::new(view::StreamedEvent::new(id, event)), cursor)
}

fn damage_item(id: DeploymentId, damage: Damage, cursor: EventCursor) -> ReaderItem {
    ReaderItem::Damage(Box::new(view::StreamedDamage::new(id, damage)), cursor)
}

/// Returns once the epoch is another one than this.
async fn new_epoch(mut epochs: watch::Receiver<Arc<str>>, epoch: Arc<str>) {
    if epochs.wait_for(|now| *now != epoch).await.is_err() {
        std::future::pending().await
    }
}

/// Waits until something is appended after this position.
async fn wait_for_append(appended: &mut broadcast::Receiver<Appended>, position: u64) {
    loop {
        match appended.recv().await {
            Ok(append) if append.position <= position => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
