//! What was decided for a module in an environment so far.

use std::sync::Arc;

use hotswap_core::{DeploymentSummary, Environment, ModuleName, Timestamp};
use hotswap_store::{Decided, EnvironmentJournal, PastPlace};

use crate::deployments::Error;
use crate::projections::{self, Projections};

/// Reads what was decided for modules. Cheap to clone.
#[derive(Clone)]
pub struct History {
    journal: Arc<dyn EnvironmentJournal>,
    projections: Projections,
}

/// Something that was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// The place behind it, from which a list can continue.
    pub place: PastPlace,
    /// Whether this is the last decision, so that its version should run.
    pub is_current: bool,
    /// What was decided.
    pub decision: HistoryDecision,
}

/// What was decided for a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryDecision {
    /// A deployment succeeded.
    Succeeded(Box<DeploymentSummary>),
    /// The module was retired.
    Retired {
        /// When.
        at: Timestamp,
        /// Who retired it. `None` if the event cannot be read.
        by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
}

impl History {
    pub(crate) fn new(journal: Arc<dyn EnvironmentJournal>, projections: Projections) -> Self {
        Self {
            journal,
            projections,
        }
    }

    /// What was decided for a module in an environment, newest first: at most `limit`, from
    /// before `before` on; and whether there is more. Cancel safe.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<(Vec<HistoryEntry>, bool), Error> {
        loop {
            match self.read(module, environment, before, limit).await {
                // It was deleted between the two reads.
                Err(Error::Unknown(_)) => {}
                page => return page,
            }
        }
    }

    async fn read(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<(Vec<HistoryEntry>, bool), Error> {
        // One more tells whether there are more.
        let past = self
            .journal
            .past_decisions(module, environment, before, limit + 1);
        let mut past = past.await?;
        let has_more = past.len() > limit;
        past.truncate(limit);
        let ids = past.iter().filter_map(|one| match one.decided {
            Decided::Succeeded(id) => Some(id),
            Decided::Retired { .. } => None,
        });
        let ids: Vec<_> = ids.collect();
        let summaries = self.projections.summaries(&ids).await;
        let mut summaries = summaries.map_err(|error: projections::Error| Error::from(error))?;
        summaries.reverse();
        let mut entries = Vec::with_capacity(past.len());
        for (index, one) in past.into_iter().enumerate() {
            let decision = match one.decided {
                Decided::Succeeded(_) => match summaries.pop() {
                    Some(summary) => HistoryDecision::Succeeded(Box::new(summary)),
                    None => continue,
                },
                Decided::Retired { at, by, reason } => HistoryDecision::Retired { at, by, reason },
            };
            entries.push(HistoryEntry {
                place: one.place,
                is_current: before.is_none() && index == 0,
                decision,
            });
        }
        Ok((entries, has_more))
    }
}
