//! The successful deployments of a module in an environment. Imported by rollbacks, and by what
//! keeps the versions that they need.

use hotswap_core::DeploymentSummary;
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
    let (module, environment) = (&deployment.module.name, &deployment.environment);
    let newest_first = journal.succeeded_deployments(module, environment, MAX_LOOKED_AT);
    let newest_first = projections.summaries(&newest_first.await?).await?;
    let position = newest_first
        .iter()
        .position(|success| success.id == deployment.id);
    let is_earlier = |(index, success): &(usize, DeploymentSummary)| match position {
        Some(position) => *index > position,
        // Ids rise with time.
        None => success.id < deployment.id,
    };
    let mut earlier = newest_first.into_iter().enumerate().filter(is_earlier);
    let other = earlier.find(|(_, success)| {
        let has_its_nodes = success.selector.is_none() || success.selector == deployment.selector;
        has_its_nodes && success.module != deployment.module
    });
    Ok(other.map(|(_, success)| success))
}
