//! Finds the soaks of a rollout that cannot decide anything, before they begin.

use std::sync::Arc;

use hotswap_core::{Call, Clock, DeploymentId, EventBody, Header, Node};
use hotswap_fleet::Fleet;
use hotswap_store::{Journal, ReadError};

use super::{rehearsal, weak_soaks};
use crate::soak_warnings::SoakWarnings;
use crate::strategies::Strategies;
use crate::{soak_options, soak_probes};

/// Steps of the rollout that are looked at.
const MAX_STEPS: usize = 1000;

/// Events of a journal that are read at once to find the plan, which is one of the first.
const PAGE: usize = 64;

/// SoakForecaster the soaks of deployments under way.
pub(crate) struct SoakForecaster {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) strategies: Strategies,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) warnings: Arc<SoakWarnings>,
}

impl SoakForecaster {
    /// Rehearses a planned rollout, and counts the requests of its nodes for a moment. Logs and
    /// records a warning for each soak that cannot decide at this traffic, unless the deployment
    /// ends before. None where the rehearsal is not possible. Cancel safe.
    pub(crate) async fn forecast(&self, deployment: DeploymentId) {
        if !self.warnings.is_awaited(deployment) {
            return;
        }
        let (header, nodes) = match self.plan(deployment).await {
            Ok(Some(plan)) => plan,
            Ok(None) => return,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(%deployment, error, "cannot read the plan, no soak is forecast");
                return;
            }
        };
        // The driver reports why the strategy cannot be loaded.
        let Ok(strategy) = self.strategies.load(header.strategy.digest).await else {
            return;
        };
        let plan = rehearsal::plan(&header, nodes);
        let rehearsed = rehearsal::run(&strategy, &plan, self.clock.now(), MAX_STEPS).await;
        let calls: Vec<_> = rehearsed.steps.iter().map(|step| &step.call).collect();
        let warnings = warn(self.fleet.as_ref(), self.clock.as_ref(), &header, &calls).await;
        if !self.warnings.record(deployment, warnings.clone()) {
            return;
        }
        for reason in &warnings {
            tracing::warn!(%deployment, reason, "a soak cannot decide at the present traffic");
        }
    }

    /// What a deployment began with, and the nodes of its plan as they were then. `None` if it has
    /// no plan.
    async fn plan(
        &self,
        deployment: DeploymentId,
    ) -> Result<Option<(Header, Vec<Node>)>, ReadError> {
        let mut header = None;
        let mut next = 0;
        loop {
            let events = self.journal.events(deployment, next, PAGE).await?;
            let Some(last) = events.last() else {
                return Ok(None);
            };
            next = last.seq + 1;
            for event in events {
                match event.body {
                    EventBody::Requested(requested) => header = Some(*requested),
                    EventBody::Planned { nodes, .. } => {
                        return Ok(header.map(|header| (header, nodes)));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Counts the requests of the nodes for a moment. Returns a sentence for each soak among `calls`
/// that has too few.
pub(super) async fn warn(
    fleet: &dyn Fleet,
    clock: &dyn Clock,
    header: &Header,
    calls: &[&Call],
) -> Vec<String> {
    let nodes = weak_soaks::soaked_nodes(calls);
    if nodes.is_empty() {
        return Vec::new();
    }
    let of = (&header.environment, &header.module.name);
    let before = weak_soaks::read(fleet, of, &nodes).await;
    let start = clock.instant();
    clock.sleep_until(start + weak_soaks::COUNTED).await;
    let after = weak_soaks::read(fleet, of, &nodes).await;
    let elapsed = clock.instant().saturating_duration_since(start);
    let rates = weak_soaks::rates(&before, &after, elapsed);
    let options = soak_options::of_config(&header.config);
    let probes = soak_probes::of_config(&header.config);
    let present = weak_soaks::PresentTraffic {
        readings: &after,
        rates: &rates,
    };
    weak_soaks::warnings(calls, &header.module, present, options, probes.as_ref())
}
