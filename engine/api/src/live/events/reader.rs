//! Reads events from the journal at the client's own pace: none can be missed, and none
//! waits in memory.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{DeploymentId, Environment};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Engine};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::environment_tail::EnvironmentTail;
use super::event_cursor::EventCursor;
use super::event_order::EventOrder;
use super::event_reader::{EventReader, Scope};
use super::soak_watch::SoakWatch;
use crate::view;

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

/// What a stream sends.
pub(crate) enum ReaderItem {
    /// An event and its cursor.
    Event(Box<view::StreamedEvent>, EventCursor),
    /// An event of an environment, readable or not, and its cursor.
    Environment(Box<view::EnvironmentEvent>, EventCursor),
    /// An event that cannot be read, is missing or cannot follow those before it, and the cursor
    /// behind it.
    Damage(Box<view::StreamedDamage>, EventCursor),
    /// The progress of a running soak. It is not an event, so it has no cursor.
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

/// Returns once the epoch is another one than this.
async fn new_epoch(mut epochs: watch::Receiver<Arc<str>>, epoch: Arc<str>) {
    if epochs.wait_for(|now| *now != epoch).await.is_err() {
        std::future::pending().await
    }
}
