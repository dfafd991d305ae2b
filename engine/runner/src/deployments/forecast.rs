//! Finds the soaks of a rollout that cannot decide anything, before they begin.

use hotswap_core::{Call, Clock, Header, Node};
use hotswap_fleet::Fleet;

use super::{rehearsal, weak_soaks};
use crate::strategies::Strategies;
use crate::{soak_options, soak_probes};

/// Steps of the rollout that are looked at.
const MAX_STEPS: usize = 1000;

/// Rehearses the rollout to these nodes and counts their requests for a moment. Returns a sentence
/// for each soak that cannot decide at this traffic, and none if the rehearsal is not possible.
///
/// Cancel safe.
pub(crate) async fn forecast_soaks(
    strategies: &Strategies,
    fleet: &dyn Fleet,
    clock: &dyn Clock,
    header: &Header,
    nodes: Vec<Node>,
) -> Vec<String> {
    // The driver reports why the strategy cannot be loaded.
    let Ok(strategy) = strategies.load(header.strategy.digest).await else {
        return Vec::new();
    };
    let plan = rehearsal::plan(header, nodes);
    let rehearsed = rehearsal::run(&strategy, &plan, clock.now(), MAX_STEPS).await;
    let calls: Vec<_> = rehearsed.steps.iter().map(|step| &step.call).collect();
    warn(fleet, clock, header, &calls).await
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
    let name = &header.module.name;
    let before = weak_soaks::read(fleet, name, &nodes).await;
    let start = clock.instant();
    clock.sleep_until(start + weak_soaks::COUNTED).await;
    let after = weak_soaks::read(fleet, name, &nodes).await;
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
