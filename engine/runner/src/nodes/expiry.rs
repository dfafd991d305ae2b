//! Nodes that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hotswap_core::{Environment, EnvironmentEventBody, Fence, NodeId};
use hotswap_fleet::Silence;
use hotswap_store::LeaseError;

use super::{Basis, Error, Nodes};
use crate::limits::ExpiryLimits;

/// How often nodes that are gone are looked for.
const INTERVAL: Duration = Duration::from_secs(5);

impl ExpiryLimits {
    fn is_over(self, silence: Silence) -> bool {
        let span = if silence.stopped {
            self.stopped
        } else {
            self.silent
        };
        silence.lasted >= span
    }
}

impl Nodes {
    /// Removes nodes that are gone, until it is dropped. Cancel safe.
    pub(crate) async fn expire(self) {
        loop {
            let next = self.0.clock.instant() + INTERVAL;
            self.0.clock.sleep_until(next).await;
            if let Err(error) = self.expire_once().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot remove nodes that are gone, retrying");
            }
        }
    }

    /// Removes the nodes that are gone, and returns how many: those that were silent for longer
    /// than the limits say, by the time that this engine has listened. A node in the plan of an
    /// open deployment stays. Where several engines share the store, the one that works in the
    /// environment removes them.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn expire_once(&self) -> Result<usize, Error> {
        let inner = &self.0;
        let silent = inner.registry.silent_members().into_iter();
        let gone: Vec<_> = silent
            .filter(|(_, silence)| inner.expiry.is_over(*silence))
            .map(|(member, _)| member)
            .collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let _turn = self.take_turn().await;
        let environments = gone.iter().map(|member| &member.record.environment);
        let leases = self.leases(environments.collect()).await?;
        // Read after the leases: an engine that has planned with one of these nodes since has
        // acquired the lease, so the store refuses this engine's fence.
        let planned = inner.planned().await?;
        let mut removed = 0;
        for member in &gone {
            let (id, environment) = (&member.record.id, &member.record.environment);
            let is_planned = |plan: &Planned| {
                plan.environment == *environment
                    && plan.nodes.as_ref().is_none_or(|it| it.contains(id))
            };
            if planned.iter().any(is_planned) {
                continue;
            }
            let Some(fence) = leases.get(environment) else {
                continue;
            };
            let basis = Basis::Lease(*fence);
            let record = async |silence: Silence| {
                let expired = EnvironmentEventBody::Expired {
                    node: id.clone(),
                    stopped: silence.stopped,
                    silent_millis: u64::try_from(silence.lasted.as_millis()).unwrap_or(u64::MAX),
                };
                inner.append(environment.clone(), expired, basis).await
            };
            let is_over = |silence| inner.expiry.is_over(silence);
            match inner.registry.expire(id, is_over, record).await {
                Ok(is_removed) => removed += usize::from(is_removed),
                // The next look tells whether they are still this engine's to remove.
                Err(Error::Contended(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// The fences of the environments in which this engine works.
    async fn leases<'a>(
        &self,
        environments: BTreeSet<&'a Environment>,
    ) -> Result<BTreeMap<&'a Environment, Fence>, Error> {
        let mut leases = BTreeMap::new();
        for environment in environments {
            match self.0.leases.fence(environment).await {
                Ok(fence) => drop(leases.insert(environment, fence)),
                Err(LeaseError::Held(_)) => {}
                Err(error) => return Err(Error::Store(Box::new(error))),
            }
        }
        Ok(leases)
    }
}

/// The nodes that an open deployment needs.
struct Planned {
    environment: Environment,
    /// `None` where its journal cannot be read: it may be any.
    nodes: Option<BTreeSet<NodeId>>,
}

impl super::Inner {
    async fn planned(&self) -> Result<Vec<Planned>, Error> {
        let mut planned = Vec::new();
        self.visit_open_deployments(|state| {
            let nodes = state.nodes.keys().cloned().collect();
            planned.push(Planned {
                environment: state.header.environment.clone(),
                nodes: state.damage.is_none().then_some(nodes),
            });
        })
        .await?;
        Ok(planned)
    }
}
