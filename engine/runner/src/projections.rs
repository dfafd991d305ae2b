//! The states of deployments, without reading whole journals.

mod damaged;
mod damaged_states;
mod error;
mod state_cache;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{Deployment, DeploymentId, DeploymentSummary, Event};
use hotswap_store::{Journal, NewSnapshot, Snapshot};
use serde::de::DeserializeOwned;

use damaged::Fold;
use damaged_states::DamagedStates;
use state_cache::StateCache;

pub use damaged::EventPage;
pub(crate) use error::Error;

/// Events of a deployment that are read at once to fold it.
const PAGE: usize = 4096;

/// The states of deployments: each from memory or from its snapshot, and then from the events
/// after it alone. Cheap to clone.
///
/// # Guarantees
/// What it returns is the fold of the journal. A snapshot that is missing, has another format,
/// cannot be read or does not fit the journal only costs time: the journal is then read from its
/// start.
#[derive(Clone)]
pub(crate) struct Projections(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    cache: Mutex<StateCache>,
    damaged: Mutex<DamagedStates>,
}

impl Projections {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self(Arc::new(Inner {
            journal,
            cache: Mutex::default(),
            damaged: Mutex::default(),
        }))
    }

    /// The current state of a deployment.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::IllegalTransition`], [`Error::Store`].
    pub(crate) async fn get(&self, id: DeploymentId) -> Result<Arc<Deployment>, Error> {
        if let Some(state) = self.known_damaged(id).await {
            return Ok(state);
        }
        let state = self.at(id, u64::MAX).await?;
        if state.damage.is_none() {
            self.cache().insert(Arc::clone(&state));
        } else {
            self.damaged().insert(Arc::clone(&state));
        }
        Ok(state)
    }

    /// The state of a deployment whose journal could not be read not long ago, unless that has grown
    /// since.
    async fn known_damaged(&self, id: DeploymentId) -> Option<Arc<Deployment>> {
        let state = self.damaged().get(id)?;
        let head = self.journal().head(id).await;
        if head.is_ok_and(|head| DamagedStates::is_current(&state, &head)) {
            return Some(state);
        }
        self.damaged().remove(id);
        None
    }

    /// The state of a deployment after the events below number `next_seq`. The current state
    /// where its journal is shorter.
    ///
    /// # Errors
    /// As [`Self::get`]; [`Error::IllegalTransition`] also for number 0.
    pub(crate) async fn at(
        &self,
        id: DeploymentId,
        next_seq: u64,
    ) -> Result<Arc<Deployment>, Error> {
        if let Some(base) = self.base(id, next_seq).await? {
            match self.fold_after(id, base, next_seq).await {
                Ok(Some(state)) => return Ok(state),
                Ok(None) => {
                    tracing::warn!(%id, "a snapshot does not fit its journal, folding anew");
                    self.cache().remove(id);
                }
                Err(Error::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match self.fold(id, next_seq).await? {
            Fold::Whole(state) => Ok(state.into()),
            Fold::Damaged { before, damage } => {
                let state = self.state_with_damage(id, before, damage, next_seq).await?;
                Ok(Arc::new(state))
            }
        }
    }

    /// The summaries of deployments, in the same order. Those that have ended take one query
    /// together.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn summaries(
        &self,
        ids: &[DeploymentId],
    ) -> Result<Vec<DeploymentSummary>, Error> {
        let stored = self.0.journal.summaries(ids).await?;
        let mut summaries = Vec::with_capacity(ids.len());
        for (id, stored) in ids.iter().zip(stored) {
            let stored = stored.and_then(|snapshot| parse::<DeploymentSummary>(*id, &snapshot));
            summaries.push(match stored {
                Some(summary) if summary.lifecycle.is_ended() => summary,
                // It may have grown since.
                _ => self.get(*id).await?.summary(),
            });
        }
        Ok(summaries)
    }

    /// Stores a snapshot of a deployment's current state, unless its journal is damaged.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn save(&self, id: DeploymentId) -> Result<(), Error> {
        let state = self.get(id).await?;
        if state.damage.is_some() {
            return Ok(());
        }
        let snapshot = NewSnapshot {
            deployment: id,
            format: Deployment::FORMAT,
            next_seq: state.next_seq,
            ended: state.status().is_final(),
            summary: to_json(&state.summary())?,
            state: to_json(state.as_ref())?,
        };
        Ok(self.0.journal.put_snapshot(snapshot).await?)
    }

    /// Forgets a deployment that was deleted.
    pub(crate) fn forget(&self, id: DeploymentId) {
        self.cache().remove(id);
        self.damaged().remove(id);
    }

    /// The newest state at hand that is not beyond `next_seq`.
    async fn base(
        &self,
        id: DeploymentId,
        next_seq: u64,
    ) -> Result<Option<Arc<Deployment>>, Error> {
        let cached = self.cache().get(id);
        if let Some(state) = cached.filter(|state| state.next_seq <= next_seq) {
            return Ok(Some(state));
        }
        let snapshot = self.0.journal.snapshot(id).await?;
        let snapshot = snapshot.filter(|snapshot| snapshot.next_seq <= next_seq);
        let state = snapshot.and_then(|snapshot| {
            let state: Deployment = parse(id, &snapshot)?;
            (state.header.id == id && state.next_seq == snapshot.next_seq).then_some(state)
        });
        Ok(state.map(Arc::new))
    }

    /// Applies the events after `state` and below number `next_seq`. `None` where `state` is not
    /// of this journal.
    async fn fold_after(
        &self,
        id: DeploymentId,
        mut state: Arc<Deployment>,
        next_seq: u64,
    ) -> Result<Option<Arc<Deployment>>, Error> {
        // Beginning with the last one that is in the state: a store that has lost events must
        // not show their state.
        let last = state.next_seq.saturating_sub(1);
        let limit = page_size(last, next_seq);
        let mut events = self.0.journal.events(id, last, limit).await?;
        let mut is_full = events.len() == PAGE;
        // After a loss another event may have its number.
        let is_same = |event: &Event| event.seq == last && event.at == state.updated_at;
        if !events.first().is_some_and(is_same) {
            return Ok(None);
        }
        events.remove(0);
        loop {
            for event in &events {
                if Arc::make_mut(&mut state).apply(event).is_err() {
                    return Ok(None);
                }
            }
            if !is_full {
                return Ok(Some(state));
            }
            let limit = page_size(state.next_seq, next_seq);
            events = self.0.journal.events(id, state.next_seq, limit).await?;
            is_full = events.len() == PAGE;
        }
    }

    pub(crate) fn journal(&self) -> &dyn Journal {
        self.0.journal.as_ref()
    }

    fn damaged(&self) -> MutexGuard<'_, DamagedStates> {
        self.0
            .damaged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, StateCache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many events to read from number `from` on, at most up to number `next_seq`.
fn page_size(from: u64, next_seq: u64) -> usize {
    let missing = usize::try_from(next_seq.saturating_sub(from));
    missing.map_or(PAGE, |missing| missing.min(PAGE))
}

/// `None` if the snapshot is of another format, or cannot be read.
fn parse<T: DeserializeOwned>(id: DeploymentId, snapshot: &Snapshot) -> Option<T> {
    if snapshot.format != Deployment::FORMAT {
        return None;
    }
    match serde_json::from_slice(&snapshot.body) {
        Ok(value) => Some(value),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%id, error, "a snapshot cannot be read, folding the journal anew");
            None
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Store(Box::new(error)))
}

#[cfg(test)]
pub(crate) mod tests;
