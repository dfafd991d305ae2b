//! What was decided, read from all that is stored.

use std::collections::{BTreeSet, HashSet};

use hotswap_core::{DeploymentId, Environment, EnvironmentEventBody, Header, ModuleName};

use super::journal::is_success;
use super::state::{Deployment, State};
use crate::{Decided, Decision, PastDecision, PastPlace};

impl State {
    /// The environments in which something was deployed or retired, sorted.
    pub(super) fn environments(&self) -> BTreeSet<Environment> {
        let deployed = self.deployments.values().map(|one| &one.environment);
        let retired = self.retired.keys().map(|(environment, _)| environment);
        deployed.chain(retired).cloned().collect()
    }

    /// The modules that were deployed or retired in an environment, sorted.
    fn modules(&self, environment: &Environment) -> BTreeSet<ModuleName> {
        let deployed = self.deployments.values();
        let deployed = deployed.map(|one| (&one.environment, &one.module));
        let retired = self.retired.keys().map(|(place, module)| (place, module));
        deployed
            .chain(retired)
            .filter(|(place, _)| *place == environment)
            .map(|(_, module)| module.clone())
            .collect()
    }

    /// Of the deployments that are wanted the newest one of each selector, newest first, back to the
    /// newest one without. And whether there is that one.
    fn deciding(
        &self,
        module: &ModuleName,
        environment: &Environment,
        is_wanted: impl Fn(u64, &Deployment) -> bool,
    ) -> (Vec<DeploymentId>, bool) {
        let (mut found, mut selectors) = (Vec::new(), HashSet::new());
        for (number, one) in self.deployments.iter().rev() {
            if !one.is_in(module, environment) || !is_wanted(*number, one) {
                continue;
            }
            match &one.selector {
                None => {
                    found.push(one.id);
                    return (found, true);
                }
                Some(selector) if selectors.insert(selector) => found.push(one.id),
                Some(_) => {}
            }
        }
        (found, false)
    }

    fn deciding_successes(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> (Vec<DeploymentId>, bool) {
        let place = (environment.clone(), module.clone());
        let retired = self.retired.get(&place).map_or(0, |(number, _)| *number);
        self.deciding(module, environment, |number, one| {
            number > retired && is_success(one.lifecycle.status())
        })
    }

    /// Whether `undone` is still the newest success of the module in the environment, and the module
    /// is not retired, unless the deployment of `header` brings it back.
    pub(super) fn should_still_run(&self, header: &Header, undone: DeploymentId) -> bool {
        let (module, environment) = (&header.module.name, &header.environment);
        let place = (environment.clone(), module.clone());
        let retired = self.retired.get(&place).map_or(0, |(number, _)| *number);
        let newest =
            self.deployments.iter().rev().find(|(_, one)| {
                one.is_in(module, environment) && is_success(one.lifecycle.status())
            });
        newest.is_some_and(|(number, one)| {
            one.id == undone && (*number > retired || header.brings_back())
        })
    }

    pub(super) fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Vec<DeploymentId> {
        let environments = match environment {
            Some(environment) => [environment.clone()].into(),
            None => self.environments(),
        };
        let mut found = Vec::new();
        for environment in &environments {
            for module in self.modules(environment) {
                found.extend(self.deciding_successes(&module, environment).0);
            }
        }
        found
    }

    pub(super) fn decisions(&self, environment: &Environment) -> Vec<(ModuleName, Decision)> {
        let mut decisions = Vec::new();
        for module in self.modules(environment) {
            let (successes, for_all) = self.deciding_successes(&module, environment);
            let mut found: Vec<_> = successes.into_iter().map(Decision::Succeeded).collect();
            let retired = self.retired.get(&(environment.clone(), module.clone()));
            match retired {
                _ if for_all => {}
                Some((_, at)) => found.push(Decision::Retired(*at)),
                // One that ended while it waited has not begun, and decides nothing.
                None => {
                    let (others, _) = self.deciding(&module, environment, |_, one| {
                        !one.is_open() && !one.waits && !is_success(one.lifecycle.status())
                    });
                    found.extend(others.into_iter().map(Decision::Unsuccessful));
                }
            }
            decisions.extend(found.into_iter().map(|one| (module.clone(), one)));
        }
        decisions
    }

    pub(super) fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: PastPlace,
        limit: usize,
    ) -> Vec<PastDecision> {
        let mut found = Vec::new();
        for (number, one) in self.deployments.range(..before.number) {
            if one.is_in(module, environment) && is_success(one.lifecycle.status()) {
                // No retirement can come between its first event and its end.
                let position = one.events.first().map_or(0, |event| event.position);
                found.push((position, Some(*number), Decided::Succeeded(one.id)));
            }
        }
        for (position, (place, event)) in self.environment_events.range(..before.position) {
            if let EnvironmentEventBody::Retired {
                module: retired,
                by,
                reason,
            } = &event.body
                && (place, retired) == (environment, module)
            {
                let decided = Decided::Retired {
                    at: event.at,
                    by: Some(by.clone()),
                    reason: reason.clone(),
                };
                found.push((*position, None, decided));
            }
        }
        found.sort_by_key(|(position, ..)| std::cmp::Reverse(*position));
        let mut place = before;
        let past = found.into_iter().take(limit);
        past.map(|(position, number, decided)| {
            match number {
                Some(number) => place.number = number,
                None => place.position = position,
            }
            PastDecision { place, decided }
        })
        .collect()
    }
}
