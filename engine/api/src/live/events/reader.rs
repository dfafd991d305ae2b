//! The bare events, for whoever has no client for hubs: read from the journal at the
//! reader's own pace, so that none can be missed and none waits in memory.

use std::time::Duration;

use hotswap_core::{DeploymentId, Event, EventBody};
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use hotswap_store::Appended;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::place::Place;
use crate::view;

/// Events that are read at once.
const PAGE: usize = 200;
/// Something is sent at least this often: proxies cut what is silent, and clients should
/// know that the engine is still there.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Reads on from one place.
pub(crate) struct Reader {
    deployments: Deployments,
    scope: Scope,
    /// Whether all that was there has been told.
    live: bool,
    /// The place that was given means nothing here.
    reset: bool,
    expires: Option<Instant>,
    closing: CancellationToken,
}

enum Scope {
    One {
        id: DeploymentId,
        next: u64,
        ended: bool,
    },
    All {
        position: u64,
        appended: broadcast::Receiver<Appended>,
    },
}

/// What a reader is told.
pub(crate) enum News {
    /// An event, and the place after it.
    Event(Box<view::StreamedEvent>, Place),
    /// The place that was given is of another store: what follows begins anew.
    Reset,
    /// All that had happened has been told; the place after it.
    Live(Place),
    /// Nothing happened for a while.
    Silence,
    /// Nothing will ever follow.
    End(Place),
}

/// Why nothing follows although there may be more: to be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server shuts down.
    Closing,
    /// The token has expired.
    Expired,
    /// The store failed.
    Failed,
}

/// Until when to read, at the longest.
pub(crate) struct Bounds {
    pub expires: Option<Instant>,
    pub closing: CancellationToken,
}

impl Reader {
    /// Reads one deployment from event number `next` on, or from where `after` says.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is no such deployment.
    pub async fn of(
        deployments: &Deployments,
        id: DeploymentId,
        next: u64,
        after: Option<&Place>,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let state = deployments.get(id).await?;
        let known = after.filter(|after| after.is_of(deployments.epoch()));
        let next = known.map_or(next, |place| place.number.saturating_add(1));
        let ended = state.status().is_final() && next >= state.next_seq;
        let scope = Scope::One { id, next, ended };
        let reset = after.is_some() && known.is_none();
        Ok(Self::new(deployments, scope, reset, bounds))
    }

    /// Reads all deployments from now on, or from where `after` says.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn of_all(
        deployments: &Deployments,
        after: Option<&Place>,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let appended = deployments.subscribe();
        let now = deployments.position().await?;
        let known = after.filter(|after| after.is_of(deployments.epoch()) && after.number <= now);
        let position = known.map_or(now, |place| place.number);
        let scope = Scope::All { position, appended };
        let reset = after.is_some() && known.is_none();
        Ok(Self::new(deployments, scope, reset, bounds))
    }

    fn new(deployments: &Deployments, scope: Scope, reset: bool, bounds: Bounds) -> Self {
        let Bounds { expires, closing } = bounds;
        Self {
            deployments: deployments.clone(),
            scope,
            live: false,
            reset,
            expires,
            closing,
        }
    }

    /// Whether there is nothing to tell and never will be.
    pub fn is_over(&self) -> bool {
        matches!(self.scope, Scope::One { ended: true, .. }) && !self.reset
    }

    /// What comes next, at least each [`HEARTBEAT`]; the last is [`News::End`].
    ///
    /// # Errors
    /// [`Cut`] where it ends before that.
    pub async fn next(&mut self) -> Result<Vec<News>, Cut> {
        if std::mem::take(&mut self.reset) {
            return Ok(vec![News::Reset]);
        }
        let (expires, closing) = (self.expires, self.closing.clone());
        let expired = async {
            match expires {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            biased;
            () = closing.cancelled() => return Err(Cut::Closing),
            () = expired => return Err(Cut::Expired),
            news = self.read() => news,
        };
        news.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "events could not be read");
            Cut::Failed
        })
    }

    /// Safe to cancel: the place moves only with what is returned.
    async fn read(&mut self) -> Result<Vec<News>, Error> {
        let wait = if self.live { HEARTBEAT } else { Duration::ZERO };
        let epoch = self.deployments.epoch();
        let mut news = match &mut self.scope {
            Scope::One { id, next, ended } => {
                let events = if *ended {
                    Vec::new()
                } else {
                    let read = self.deployments.events(*id, *next, PAGE, wait);
                    read.await?
                };
                let told = events.into_iter().map(|event| {
                    *next = event.seq + 1;
                    *ended |= matches!(event.body, EventBody::Ended { .. });
                    let place = Place::new(epoch, event.seq);
                    event_news(*id, event, place)
                });
                told.collect::<Vec<_>>()
            }
            Scope::All { position, appended } => {
                let mut entries = self.deployments.tail(*position, PAGE).await?;
                if entries.is_empty() && self.live {
                    let heard = tokio::time::timeout(wait, heard(appended, *position));
                    if heard.await.is_ok() {
                        entries = self.deployments.tail(*position, PAGE).await?;
                    }
                }
                let told = entries.into_iter().map(|entry| {
                    *position = entry.event.position;
                    let place = Place::new(epoch, entry.event.position);
                    event_news(entry.deployment, entry.event, place)
                });
                told.collect()
            }
        };
        if news.len() < PAGE && !self.live {
            self.live = true;
            news.push(News::Live(self.place()));
        }
        if matches!(self.scope, Scope::One { ended: true, .. }) {
            news.push(News::End(self.place()));
        }
        if news.is_empty() {
            news.push(News::Silence);
        }
        Ok(news)
    }

    fn place(&self) -> Place {
        let number = match &self.scope {
            // Before the first event there is no place; 0 would skip it.
            Scope::One { next, .. } => next.saturating_sub(1),
            Scope::All { position, .. } => *position,
        };
        Place::new(self.deployments.epoch(), number)
    }
}

fn event_news(id: DeploymentId, event: Event, place: Place) -> News {
    News::Event(Box::new(view::StreamedEvent::new(id, event)), place)
}

/// Waits until something was appended after this position.
async fn heard(appended: &mut broadcast::Receiver<Appended>, position: u64) {
    loop {
        match appended.recv().await {
            Ok(told) if told.position <= position => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
