//! What a source shows: the last answer, unless that one is not believed yet. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use hotswap_core::{Health, NodeId};

use super::backend::Snapshot;
use super::instance::Instance;
use super::probe::Liveness;
use super::state::{Condition, Held, LastError, Outcomes, SourceState};

type Instances = BTreeMap<NodeId, Arc<Instance>>;

/// The view of one source.
#[derive(Debug, Default)]
pub(super) struct View {
    instances: Instances,
    /// When the registry last said what the view shows.
    confirmed_at: Option<Instant>,
    has_failed: bool,
    last_error: Option<LastError>,
    invalid: usize,
    invalid_example: Option<String>,
    held: Option<HeldAnswer>,
    outcomes: Outcomes,
}

#[derive(Debug)]
struct HeldAnswer {
    instances: Instances,
    lost: BTreeSet<NodeId>,
    /// Whether an earlier answer was held, too, for what this one has lost.
    is_further: bool,
    is_confirmed: bool,
    alive: Option<usize>,
}

/// What became of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    /// The view shows it.
    Shown,
    /// It loses so much that it must be confirmed. Probe these instances, which may have
    /// deregistered, and call [`View::settle`]. If it is still held then, ask again.
    Held(Vec<Arc<Instance>>),
    /// A second answer has confirmed it. Probe these instances, and call [`View::settle`].
    Confirmed(Vec<Arc<Instance>>),
}

impl View {
    /// Takes an answer of the registry. The first one is always shown: there is nothing that it
    /// could lose.
    pub(super) fn apply(&mut self, snapshot: Snapshot, now: Instant) -> Applied {
        self.has_failed = false;
        self.outcomes.answered += 1;
        self.invalid = snapshot.invalid.len();
        self.invalid_example = snapshot.invalid.first().map(ToString::to_string);
        let found = snapshot.instances.into_iter();
        let found: Instances = found
            .map(|instance| (instance.id.clone(), Arc::new(instance)))
            .collect();
        let lost: BTreeSet<NodeId> = self
            .instances
            .keys()
            .filter(|id| !found.contains_key(*id))
            .cloned()
            .collect();
        // Registrations that were lost come back one by one: what is still missing of them is as
        // doubtful as it was.
        let is_still_missing = |held: &HeldAnswer| !held.lost.is_disjoint(&lost);
        let is_further = self.held.as_ref().is_some_and(is_still_missing);
        if !is_further && !is_most(lost.len(), &self.instances) {
            self.held = None;
            self.show(found, now);
            return Applied::Shown;
        }
        let is_second = self.held.as_ref().is_some_and(|held| held.lost == lost);
        let alive = self.held.take().filter(|_| is_second);
        let alive = alive.and_then(|held| held.alive);
        let asked = lost.iter().filter_map(|id| self.instances.get(id)).cloned();
        let asked = asked.collect();
        self.held = Some(HeldAnswer {
            instances: found,
            lost,
            is_further,
            is_confirmed: is_second,
            alive,
        });
        match is_second {
            true => Applied::Confirmed(asked),
            false => Applied::Held(asked),
        }
    }

    /// Takes what the lost instances have said; one that is not named was not asked.
    ///
    /// Those that stop are gone. So are those that do not answer, once a second answer has confirmed
    /// that. What is left of the loss stays held, unless it is none of most any more.
    pub(super) fn settle(&mut self, said: &BTreeMap<NodeId, Liveness>, now: Instant) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let is_confirmed = held.is_confirmed;
        held.lost.retain(|id| match said.get(id) {
            Some(Liveness::Stopping) => {
                self.instances.remove(id);
                false
            }
            Some(Liveness::Alive) => true,
            Some(Liveness::Silent) | None => !is_confirmed,
        });
        let is_doubtful = is_confirmed || held.is_further;
        if held.lost.is_empty() || !(is_doubtful || is_most(held.lost.len(), &self.instances)) {
            self.show(held.instances, now);
            return;
        }
        if !is_confirmed {
            self.held = Some(held);
            return;
        }
        let mut shown = held.instances.clone();
        for id in &held.lost {
            if let Some(instance) = self.instances.get(id) {
                // The registry no longer says anything of it.
                let mut instance = Instance::clone(instance);
                instance.health = Health::Unknown;
                shown.insert(id.clone(), Arc::new(instance));
            }
        }
        self.instances = shown;
        held.alive = Some(held.lost.len());
        self.held = Some(held);
    }

    /// The registry has failed. The view stays.
    pub(super) fn fail(&mut self, error: LastError) {
        self.has_failed = true;
        *self.outcomes.failed.entry(error.kind).or_default() += 1;
        self.last_error = Some(error);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn instances(&self) -> Vec<Arc<Instance>> {
        self.instances.values().cloned().collect()
    }

    pub(super) fn instance(&self, id: &NodeId) -> Option<Arc<Instance>> {
        self.instances.get(id).cloned()
    }

    pub(super) fn state(&self, now: Instant) -> SourceState {
        let passing = |instance: &&Arc<Instance>| instance.health == Health::Passing;
        SourceState {
            condition: self.condition(),
            age: self
                .confirmed_at
                .map(|at| now.saturating_duration_since(at)),
            last_error: self.last_error.clone(),
            instances: self.instances.len(),
            passing: self.instances.values().filter(passing).count(),
            invalid: self.invalid,
            invalid_example: self.invalid_example.clone(),
            held: self.held.as_ref().map(|held| Held {
                instances: held.instances.len(),
                lost: held.lost.len(),
                alive: held.alive,
            }),
            outcomes: self.outcomes.clone(),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match (self.confirmed_at, self.has_failed, &self.held) {
            (None, _, _) => Condition::Starting,
            (Some(_), true, _) => Condition::Stale,
            (Some(_), false, Some(_)) => Condition::Held,
            (Some(_), false, None) => Condition::Healthy,
        }
    }

    fn show(&mut self, instances: Instances, now: Instant) {
        self.instances = instances;
        self.confirmed_at = Some(now);
    }
}

/// Whether a loss of so many instances is not believed at once.
fn is_most(lost: usize, of: &Instances) -> bool {
    lost * 2 > of.len()
}
