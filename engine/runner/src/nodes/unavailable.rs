//! How many nodes of an environment are unavailable.

use std::collections::BTreeSet;

use hotswap_core::{Environment, Health, NodeId};

use super::{Error, Inner};

impl Inner {
    /// Checks that the policy allows this node to become unavailable too. A node that does not
    /// serve anyway may always.
    ///
    /// # Errors
    /// [`Error::TooManyUnavailable`]; others if the store fails.
    pub(super) async fn check_available(
        &self,
        environment: &Environment,
        node: &NodeId,
    ) -> Result<(), Error> {
        let cordons = self.cordoned.of(environment);
        let members = self.registry.members_of(environment);
        let is_drained = |id| cordons.get(id).is_some_and(|cordon| cordon.drained);
        let silent: BTreeSet<_> = members
            .iter()
            .filter(|member| match member.health {
                Health::Critical | Health::Unknown => true,
                Health::Passing | Health::Warning => is_drained(&member.record.id),
            })
            .map(|member| member.record.id.clone())
            .collect();
        if silent.contains(node) {
            return Ok(());
        }
        let total = members.len();
        let policy = self.environments.policy(environment);
        let allowed = policy.max_unavailable.of(total).max(1);
        let changing = self.changing(environment, &silent, allowed).await?;
        let unavailable = silent.len() + changing;
        if unavailable < allowed {
            return Ok(());
        }
        Err(Error::TooManyUnavailable {
            environment: environment.clone(),
            unavailable,
            total,
            allowed,
            nodes: silent.into_iter().collect(),
        })
    }

    /// How many more nodes deployments are changing now.
    async fn changing(
        &self,
        environment: &Environment,
        silent: &BTreeSet<NodeId>,
        allowed: usize,
    ) -> Result<usize, Error> {
        let mut changing = BTreeSet::new();
        self.visit_open_deployments(|state| {
            if state.header.environment == *environment {
                changing.extend(state.changing().iter().cloned());
            }
        })
        .await?;
        // A call may name all nodes, and changes only so many at the same time.
        Ok(changing.difference(silent).count().min(allowed))
    }
}
