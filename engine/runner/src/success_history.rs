//! The successful deployments of a module in an environment. Imported by rollbacks, and by what
//! keeps the versions that they need.

use std::collections::{HashMap, HashSet};

use hotswap_core::{DeploymentId, DeploymentSummary, ModuleVersion};
use hotswap_store::Journal;

use crate::projections::{Error, Projections};

/// Successful deployments that are looked at. A rollback seldom needs more than two.
const MAX_LOOKED_AT: usize = 50;

/// The last successful deployment of another version of the module in the environment, from
/// before this deployment, that was for all nodes or for those with the same selector.
///
/// # Errors
/// If the store fails.
pub(crate) async fn last_success_before(
    journal: &dyn Journal,
    projections: &Projections,
    deployment: &DeploymentSummary,
) -> Result<Option<DeploymentSummary>, Error> {
    let newest_first = newest_successes(journal, deployment).await?;
    find_before(projections, deployment, &newest_first).await
}

/// The newest successful deployments of a deployment's module in its environment, newest first.
///
/// # Errors
/// If the store fails.
pub(crate) async fn newest_successes(
    journal: &dyn Journal,
    deployment: &DeploymentSummary,
) -> Result<Vec<DeploymentId>, Error> {
    let (module, environment) = (&deployment.module.name, &deployment.environment);
    let newest_first = journal.succeeded_deployments(module, environment, MAX_LOOKED_AT);
    Ok(newest_first.await?)
}

/// As [`last_success_before`], among these [`newest_successes`].
///
/// # Errors
/// If the store fails.
pub(crate) async fn find_before(
    projections: &Projections,
    deployment: &DeploymentSummary,
    newest_first: &[DeploymentId],
) -> Result<Option<DeploymentSummary>, Error> {
    let position = newest_first.iter().position(|id| *id == deployment.id);
    let earlier: Vec<_> = match position {
        Some(position) => newest_first[position + 1..].to_vec(),
        // Ids rise with time.
        None => {
            let earlier = newest_first.iter().filter(|id| **id < deployment.id);
            earlier.copied().collect()
        }
    };
    let mut earlier = projections.summaries(&earlier).await?.into_iter();
    Ok(earlier.find(|success| {
        let has_its_nodes = success.selector.is_none() || success.selector == deployment.selector;
        has_its_nodes && success.module != deployment.module
    }))
}

/// What the last success before each deployment rolled out, as far as it was looked up. Stays true
/// as long as the newest successes up to that one are the same.
#[derive(Debug, Default)]
pub(crate) struct EarlierSuccesses(HashMap<DeploymentId, EarlierSuccess>);

#[derive(Debug)]
struct EarlierSuccess {
    /// The newest successes, up to the one that was found. All if none was.
    looked_at: Vec<DeploymentId>,
    /// Which was found, and what it rolled out.
    module: Option<ModuleVersion>,
}

impl EarlierSuccesses {
    /// What the last success before a deployment rolled out. `None` if that is not known while
    /// these are the newest successes; `Some(None)` if there is none.
    pub(crate) fn get(
        &self,
        deployment: DeploymentId,
        newest_first: &[DeploymentId],
    ) -> Option<Option<ModuleVersion>> {
        let known = self.0.get(&deployment)?;
        let is_valid = match known.module {
            Some(_) => newest_first.starts_with(&known.looked_at),
            None => *newest_first == known.looked_at,
        };
        is_valid.then(|| known.module.clone())
    }

    /// Remembers what [`find_before`] has found among these newest successes.
    pub(crate) fn put(
        &mut self,
        deployment: DeploymentId,
        newest_first: &[DeploymentId],
        found: Option<&DeploymentSummary>,
    ) {
        let place = found.and_then(|found| newest_first.iter().position(|id| *id == found.id));
        let count = place.map_or(newest_first.len(), |place| place + 1);
        let known = EarlierSuccess {
            looked_at: newest_first[..count].to_vec(),
            module: found.map(|found| found.module.clone()),
        };
        self.0.insert(deployment, known);
    }

    /// Forgets all but these deployments.
    pub(crate) fn retain(&mut self, deployments: &HashSet<DeploymentId>) {
        self.0.retain(|id, _| deployments.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Deployment, Event, EventBody, Timestamp};

    use super::*;
    use crate::projections::tests::header;

    fn summary() -> DeploymentSummary {
        let requested = Event {
            seq: 0,
            position: 1,
            at: Timestamp::from_millis(1),
            body: EventBody::Requested(Box::new(header())),
        };
        Deployment::fold(&[requested]).unwrap().summary()
    }

    #[test]
    fn an_earlier_success_is_known_until_the_newest_successes_up_to_it_change() {
        let (oldest, found, skipped, own) = (summary(), summary(), summary(), summary());
        let newest_first = [own.id, skipped.id, found.id, oldest.id];
        let mut known = EarlierSuccesses::default();
        assert_eq!(known.get(own.id, &newest_first), None);
        known.put(own.id, &newest_first, Some(&found));
        let module = Some(Some(found.module.clone()));
        assert_eq!(known.get(own.id, &newest_first), module);
        // What came before it does not matter.
        assert_eq!(known.get(own.id, &newest_first[..3]), module);
        // It was deleted, or one that is newer.
        assert_eq!(known.get(own.id, &[own.id, skipped.id, oldest.id]), None);
        assert_eq!(known.get(own.id, &[own.id, found.id, oldest.id]), None);
        // A newer one has come.
        let newer = summary().id;
        assert_eq!(
            known.get(own.id, &[newer, own.id, skipped.id, found.id]),
            None
        );
        known.retain(&[newer].into());
        assert_eq!(known.get(own.id, &newest_first), None);
    }

    #[test]
    fn that_there_is_no_earlier_success_is_known_until_any_success_comes_or_goes() {
        let (own, same) = (summary().id, summary().id);
        let mut known = EarlierSuccesses::default();
        known.put(own, &[own, same], None);
        assert_eq!(known.get(own, &[own, same]), Some(None));
        assert_eq!(known.get(own, &[own]), None);
        assert_eq!(known.get(own, &[own, same, summary().id]), None);
    }
}
