//! The view of a source: its last answer, unless the engine does not believe it yet. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotswap_core::{Health, NodeId};

use super::backend::Snapshot;
use super::instance::Instance;
use super::probe::Liveness;
use super::state::{Condition, Held, LastError, Outcomes, SourceState};

type Instances = BTreeMap<NodeId, Arc<Instance>>;

/// The longest time after which instances that a registry has lost, and that answer, are asked
/// again. Each of them is asked.
const MAX_ASK_AGAIN: Duration = Duration::from_secs(60);

/// The view of one source.
#[derive(Debug, Default)]
pub(super) struct View {
    /// After which time a second answer confirms a doubtful one.
    confirm_after: Duration,
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
    loss: Loss,
    /// What the answer before has lost, if that was held, too, for what this one has lost.
    before: Option<Loss>,
    is_confirmed: bool,
}

/// Instances that a registry has lost, and that are not believed to be gone.
#[derive(Debug, Clone)]
struct Loss {
    lost: BTreeSet<NodeId>,
    /// When an answer with the same loss confirms it, and the lost are asked.
    due: Instant,
    /// How long before that they were asked.
    interval: Duration,
    /// How many of them have answered; `None` before they were asked.
    alive: Option<usize>,
}

/// What became of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    /// The view shows it.
    Shown,
    /// It loses so much that it must be confirmed. Probe these instances, which may have
    /// deregistered, and call [`View::settle`]. If it is still held then, ask again when
    /// [`View::confirm_due`] says.
    Held(Vec<Arc<Instance>>),
    /// A second answer has confirmed it. Probe these instances, and call [`View::settle`].
    Confirmed(Vec<Arc<Instance>>),
}

impl View {
    /// An empty view. A doubtful answer is confirmed by one that comes this much later.
    pub(super) fn new(confirm_after: Duration) -> Self {
        Self {
            confirm_after,
            ..Self::default()
        }
    }

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
        let is_still_missing = |loss: &Loss| !loss.lost.is_disjoint(&lost);
        let before = self.held.take().map(|held| held.loss);
        let before = before.filter(is_still_missing);
        if before.is_none() && !is_most(lost.len(), &self.instances) {
            self.show(found, now);
            return Applied::Shown;
        }
        let same = before.clone().filter(|before| before.lost == lost);
        let is_confirmed = same.as_ref().is_some_and(|same| now >= same.due);
        let is_new = |id: &&NodeId| {
            let before = before.as_ref();
            !before.is_some_and(|before| before.lost.contains(*id))
        };
        let asked = lost.iter().filter(|id| is_confirmed || is_new(id));
        let asked = asked.filter_map(|id| self.instances.get(id)).cloned();
        let asked = asked.collect();
        self.held = Some(HeldAnswer {
            instances: found,
            loss: same.unwrap_or_else(|| Loss {
                lost,
                due: now + self.confirm_after,
                interval: self.confirm_after,
                alive: None,
            }),
            before,
            is_confirmed,
        });
        match is_confirmed {
            true => Applied::Confirmed(asked),
            false => Applied::Held(asked),
        }
    }

    /// Takes what the lost instances have said; one that is not named was not asked.
    ///
    /// Those that stop are gone. So are those that do not answer, once a second answer has confirmed
    /// that. What is left of the loss stays held, unless it is none of most any more. What the
    /// answer has is shown beside it.
    pub(super) fn settle(&mut self, said: &BTreeMap<NodeId, Liveness>, now: Instant) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let is_confirmed = held.is_confirmed;
        held.loss.lost.retain(|id| match said.get(id) {
            Some(Liveness::Stopping) => {
                self.instances.remove(id);
                false
            }
            Some(Liveness::Alive) => true,
            Some(Liveness::Silent) | None => !is_confirmed,
        });
        let lost = &held.loss.lost;
        let is_doubtful = is_confirmed || held.before.is_some();
        if lost.is_empty() || !(is_doubtful || is_most(lost.len(), &self.instances)) {
            self.show(held.instances, now);
            return;
        }
        let mut shown = held.instances.clone();
        for id in lost {
            if let Some(instance) = self.instances.get(id) {
                let mut instance = Arc::clone(instance);
                if is_confirmed {
                    // The registry no longer says anything of it.
                    Arc::make_mut(&mut instance).health = Health::Unknown;
                }
                shown.insert(id.clone(), instance);
            }
        }
        self.instances = shown;
        if is_confirmed {
            let interval = (held.loss.interval * 2).min(MAX_ASK_AGAIN.max(self.confirm_after));
            held.loss.alive = Some(held.loss.lost.len());
            held.loss.interval = interval;
            held.loss.due = now + interval;
        } else if let Some(before) = held.before.take_if(|before| before.lost == held.loss.lost) {
            // What was lost on top of it has deregistered.
            held.loss = before;
        }
        self.held = Some(held);
    }

    /// The registry has failed. The view stays.
    pub(super) fn fail(&mut self, error: LastError) {
        self.has_failed = true;
        *self.outcomes.failed.entry(error.kind).or_default() += 1;
        self.last_error = Some(error);
    }

    /// When to ask the registry again for an answer that is held.
    pub(super) fn confirm_due(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.loss.due)
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
                lost: held.loss.lost.len(),
                alive: held.loss.alive,
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
