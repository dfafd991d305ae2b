//! [`EnvironmentJournal`] for [`Memory`].

use async_trait::async_trait;
use hotswap_core::{
    Environment, EnvironmentEvent, EnvironmentEventBody, Fence, ModuleName, NodeId, Timestamp,
};
use tokio::sync::broadcast;

use super::Memory;
use super::state::State;
use crate::{
    AppendToEnvironmentError, Decision, EnvironmentAppend, EnvironmentAppended, EnvironmentEntry,
    EnvironmentJournal, LeaseError, PastDecision, PastPlace, ReadError,
};

impl State {
    fn append_to_environment(
        &mut self,
        append: EnvironmentAppend,
    ) -> Result<EnvironmentAppended, AppendToEnvironmentError> {
        let environment = append.environment;
        let current = self.environment_fences.get(&environment);
        let current = current.copied().unwrap_or(Fence(0));
        if append.fence.is_some_and(|fence| fence != current) {
            return Err(AppendToEnvironmentError::Fenced(current));
        }
        let newest = self.newest_cordon(&environment);
        if append.newest_cordon.is_some_and(|cordon| cordon != newest) {
            return Err(AppendToEnvironmentError::CordonsChanged(newest));
        }
        for body in &append.bodies {
            match body {
                EnvironmentEventBody::Retired { module, .. } => {
                    if let Some(open) = self.open(module, &environment, false) {
                        return Err(AppendToEnvironmentError::Busy(open));
                    }
                }
                EnvironmentEventBody::PolicyChanged { replaces, .. } => {
                    let current = self.policies.get(&environment).copied();
                    if *replaces != current {
                        return Err(AppendToEnvironmentError::PolicyReplaced(current));
                    }
                }
                _ => {}
            }
        }
        let decides = append.bodies.iter().any(EnvironmentEventBody::decides);
        for body in append.bodies {
            self.position += 1;
            self.remember(&environment, &body, append.at);
            let (position, at) = (self.position, append.at);
            let event = EnvironmentEvent { position, at, body };
            let entry = (environment.clone(), event);
            self.environment_events.insert(position, entry);
        }
        Ok(EnvironmentAppended {
            environment,
            position: self.position,
            decides,
        })
    }

    /// The position of the newest event that cordons a node of an environment; 0 if none does.
    fn newest_cordon(&self, environment: &Environment) -> u64 {
        let cordons = self.cordons.iter();
        let here = cordons.filter(|((place, _), _)| place == environment);
        here.map(|(_, position)| *position).max().unwrap_or(0)
    }

    /// Remembers what the event at the last position decides.
    fn remember(&mut self, environment: &Environment, body: &EnvironmentEventBody, at: Timestamp) {
        use EnvironmentEventBody as Body;
        let at_node = |node: &hotswap_core::NodeId| (environment.clone(), node.clone());
        match body {
            Body::Retired { module, .. } => {
                let place = (environment.clone(), module.clone());
                let last = self.deployments.keys().next_back().copied();
                self.retired.insert(place, (last.unwrap_or(0), at));
            }
            Body::Cordoned { node, .. } | Body::Drained { node, .. } => {
                self.cordons.insert(at_node(node), self.position);
            }
            Body::Uncordoned { node, .. } => {
                self.cordons.remove(&at_node(node));
            }
            Body::Expired { node, .. } => {
                self.nodes.remove(node);
            }
            Body::Forgotten { node, .. } => {
                self.cordons.remove(&at_node(node));
                self.arrivals.remove(node);
                self.nodes.remove(node);
            }
            Body::Moved { node, .. } => {
                self.arrivals.insert(node.clone(), self.position);
            }
            Body::PolicyChanged { policy, .. } => match policy {
                Some(_) => drop(self.policies.insert(environment.clone(), self.position)),
                None => drop(self.policies.remove(environment)),
            },
            Body::Repairing(_) | Body::Repaired(_) | Body::RepairFailed { .. } => {}
        }
    }

    /// Whether the event at a position still decides something.
    fn decides(&self, position: u64, body: &EnvironmentEventBody) -> bool {
        matches!(body, EnvironmentEventBody::Retired { .. })
            || self.cordons.values().any(|other| *other == position)
            || self.arrivals.values().any(|other| *other == position)
            || self.policies.values().any(|other| *other == position)
    }

    fn entry(&self, position: u64) -> Option<EnvironmentEntry> {
        let (environment, event) = self.environment_events.get(&position)?;
        Some(EnvironmentEntry {
            environment: environment.clone(),
            position,
            at: event.at,
            event: Ok(event.clone()),
        })
    }

    fn entries<'a>(&self, positions: impl Iterator<Item = &'a u64>) -> Vec<EnvironmentEntry> {
        let mut positions: Vec<_> = positions.copied().collect();
        positions.sort_unstable();
        let entries = positions.into_iter();
        entries.filter_map(|one| self.entry(one)).collect()
    }
}

#[async_trait]
impl EnvironmentJournal for Memory {
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError> {
        let mut state = self.state();
        let fence = state.next_fence();
        state.environment_fences.insert(environment.clone(), fence);
        Ok(fence)
    }

    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError> {
        let mut state = self.state();
        let only_compares = append.bodies.is_empty();
        let appended = state.append_to_environment(append)?;
        let position = appended.position;
        if !only_compares {
            // Fails where nobody has subscribed.
            let _ = self.inner.environment_subscribers.send(appended);
        }
        Ok(position)
    }

    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let state = self.state();
        let after = state.environment_events.range(position.saturating_add(1)..);
        let after = after.filter(|(_, (place, _))| environment.is_none_or(|one| one == place));
        let after = after.filter_map(|(position, _)| state.entry(*position));
        Ok(after.take(limit).collect())
    }

    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let state = self.state();
        let before = state.environment_events.range(..position).rev();
        let before = before.filter(|(_, (place, _))| place == environment);
        let before = before.filter_map(|(position, _)| state.entry(*position));
        Ok(before.take(limit).collect())
    }

    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
        Ok(self.state().environments().into_iter().collect())
    }

    async fn decisions(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
        Ok(self.state().decisions(environment))
    }

    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
        let state = self.state();
        let cordons = state.cordons.iter();
        let entry = |position: &u64| state.entry(*position);
        let cordons = cordons.filter_map(|((_, node), at)| Some((node.clone(), entry(at)?)));
        let mut cordons: Vec<_> = cordons.collect();
        cordons.sort_unstable_by_key(|(_, entry)| entry.position);
        Ok(cordons)
    }

    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let state = self.state();
        Ok(state.entries(state.arrivals.values()))
    }

    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let state = self.state();
        Ok(state.entries(state.policies.values()))
    }

    async fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<Vec<PastDecision>, ReadError> {
        let before = before.unwrap_or(PastPlace::NEWEST);
        Ok(self
            .state()
            .past_decisions(module, environment, before, limit))
    }

    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError> {
        let mut state = self.state();
        let events = state.environment_events.iter();
        let old = events.filter(|(position, (_, event))| {
            event.at < before && !state.decides(**position, &event.body)
        });
        let old: Vec<_> = old.map(|(position, _)| *position).collect();
        for position in &old {
            state.environment_events.remove(position);
            state.deleted = state.deleted.max(*position);
        }
        Ok(old.len())
    }

    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
        self.inner.environment_subscribers.subscribe()
    }
}
