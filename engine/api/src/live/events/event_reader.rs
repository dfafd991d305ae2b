//! Reads the events of one deployment, of all, or of an environment.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Damage, DeploymentId, Event, EventBody};
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, EventPage};
use hotswap_store::Appended;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::environment_tail::EnvironmentTail;
use super::event_cursor::EventCursor;
use super::event_order::EventOrder;
use super::reader::{HEARTBEAT_INTERVAL, ReaderItem};
use super::soak_watch::is_over_after;
use crate::view;

/// The maximum number of events per read.
const PAGE_SIZE: usize = 200;

/// Reads events, and nothing of soaks.
pub(super) struct EventReader {
    pub(super) deployments: Deployments,
    pub(super) scope: Scope,
    /// The epoch of all that was read.
    pub(super) epoch: Arc<str>,
    /// Whether all events that existed at the start have been returned.
    pub(super) is_live: bool,
}

/// Whose events are read, and how far.
pub(super) enum Scope {
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

impl EventReader {
    /// Whether soaks may be shown: after the events that began them, and not after those that
    /// ended them.
    pub(super) fn shows_soaks(&self) -> bool {
        let is_over = matches!(
            self.scope,
            Scope::Deployment {
                is_soak_over: true,
                ..
            }
        );
        self.is_live && !is_over
    }

    pub(super) fn is_of_old_epoch(&self) -> bool {
        self.deployments.epoch() != self.epoch
    }

    /// The store has lost writes: events that the client has may no longer be there.
    pub(super) async fn start_over(&mut self) -> Result<Vec<ReaderItem>, Error> {
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
    pub(super) async fn read(&mut self) -> Result<Vec<ReaderItem>, Error> {
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
