//! Reads journals, also those that cannot be read to their end.

use hotswap_core::{Damage, Deployment, DeploymentId, Event, IllegalTransition};
use hotswap_store::ReadError;

use super::{Error, Projections};

/// Events of a deployment that are read at once to fold it.
const PAGE: usize = 4096;

/// Events of one deployment, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventPage {
    /// The events. Those before the damage, where there is one.
    pub events: Vec<Event>,
    /// Why the page ends before the event that comes next: it cannot be read, is missing, or
    /// cannot follow those before it.
    pub damage: Option<Damage>,
}

/// The fold of a journal, as far as it can be read.
pub(crate) enum Fold {
    Whole(Box<Deployment>),
    Damaged {
        /// The state before the damage. `None` if the first event cannot be read.
        before: Option<Box<Deployment>>,
        damage: Damage,
    },
}

impl Projections {
    /// Folds the events below number `next_seq`.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment; [`Error::IllegalTransition`] for
    /// number 0.
    pub(crate) async fn fold(&self, id: DeploymentId, next_seq: u64) -> Result<Fold, Error> {
        let mut state: Option<Box<Deployment>> = None;
        loop {
            let from = state.as_ref().map_or(0, |state| state.next_seq);
            let missing = usize::try_from(next_seq.saturating_sub(from));
            let limit = missing.map_or(PAGE, |missing| missing.min(PAGE));
            let EventPage { events, damage } = self.page(id, from, limit).await?;
            for event in &events {
                if let Err(why) = apply(&mut state, event) {
                    let damage = Damage::illegal(event, &why);
                    let before = state;
                    return Ok(Fold::Damaged { before, damage });
                }
            }
            if let Some(damage) = damage {
                let before = state;
                return Ok(Fold::Damaged { before, damage });
            }
            if events.len() < PAGE {
                let empty: [&Event; 0] = [];
                // Only for number 0: the store reports a journal without an event 0.
                let state = state.map_or_else(|| Deployment::fold(empty).map(Box::new), Ok)?;
                return Ok(Fold::Whole(state));
            }
        }
    }

    /// The state of a deployment with a damaged journal: `before` the damage, then what later
    /// events below number `next_seq` tell of its end.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub(crate) async fn state_with_damage(
        &self,
        id: DeploymentId,
        before: Option<Box<Deployment>>,
        damage: Damage,
        next_seq: u64,
    ) -> Result<Deployment, Error> {
        let readable_from = damage.next_seq;
        let record = self.journal().record(id).await?;
        let mut state = match before {
            Some(mut state) => {
                state.mark_damaged(damage);
                *state
            }
            None => {
                let (module, environment) = (record.module, record.environment);
                Deployment::without_request(id, module, environment, record.created_at, damage)
            }
        };
        let later = self.journal().readable_events(id, readable_from).await?;
        let later = later.iter().take_while(|event| event.seq < next_seq);
        later.for_each(|event| state.apply_past_damage(event));
        if record.head.next_seq <= next_seq {
            // The store knows the lifecycle without the events that cannot be read.
            state.lifecycle = record.head.lifecycle;
            state.next_seq = record.head.next_seq;
        }
        if state.lifecycle.is_ended() {
            state.ended_at.get_or_insert(state.updated_at);
        }
        Ok(state)
    }

    /// At most `limit` events from number `from` on, as far as they can be read and can follow
    /// those before them.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub(crate) async fn legal_page(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let mut page = self.page(id, from, limit).await?;
        if page.events.is_empty() {
            return Ok(page);
        }
        // Only the state tells, which is in memory, and is folded anew only where it is damaged.
        if let Some(damage) = &self.get(id).await?.damage
            && let Some(place) = page.events.iter().position(|event| event.seq == damage.seq)
        {
            page.events.truncate(place);
            page.damage = Some(damage.clone());
        }
        Ok(page)
    }

    /// At most `limit` events from number `from` on, as far as they can be read.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such deployment.
    pub(crate) async fn page(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let damage = match self.journal().events(id, from, limit).await {
            Err(ReadError::Damaged(damage)) => damage,
            events => {
                let (events, damage) = (events?, None);
                return Ok(EventPage { events, damage });
            }
        };
        let readable = usize::try_from(damage.seq.saturating_sub(from)).unwrap_or(limit);
        let events = match readable {
            0 => Vec::new(),
            readable => self.journal().events(id, from, readable).await?,
        };
        let damage = Some(damage);
        Ok(EventPage { events, damage })
    }
}

fn apply(state: &mut Option<Box<Deployment>>, event: &Event) -> Result<(), IllegalTransition> {
    match state {
        Some(state) => state.apply(event),
        none => {
            *none = Some(Box::new(Deployment::begin(event)?));
            Ok(())
        }
    }
}
