//! Which nodes are being repaired, and which repairs have failed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotswap_common::Backoff;
use hotswap_core::{Clock, Environment, ModuleName, ModuleVersion, NodeError, NodeId, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const MIN_DELAY: Duration = Duration::from_secs(1);
/// A node that fails again and again is reported, not hammered.
const MAX_DELAY: Duration = Duration::from_secs(150);

/// A module on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) environment: Environment,
    pub(crate) module: ModuleName,
    pub(crate) node: NodeId,
}

impl Place {
    pub(crate) fn new(environment: &Environment, module: &ModuleName, node: &NodeId) -> Self {
        Self {
            environment: environment.clone(),
            module: module.clone(),
            node: node.clone(),
        }
    }
}

/// Keeps the reconciler and the deployments apart, and counts failures.
///
/// # Guarantees
/// While a [`PlanGuard`] of a module in an environment lives, no node is repaired for it: what
/// a plan says of the nodes stays true until it is journaled.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    inner: Mutex<Inner>,
    /// A repair has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    under_way: BTreeMap<Place, UnderWay>,
    /// How many plans are being made of each module in an environment.
    plans: HashMap<(Environment, ModuleName), usize>,
    failed: HashMap<Place, Failed>,
}

#[derive(Debug)]
struct UnderWay {
    yields: CancellationToken,
    /// Whether the node serves another version until it is repaired.
    is_serving: bool,
}

#[derive(Debug)]
struct Failed {
    to: Option<ModuleVersion>,
    failure: Failure,
    backoff: Backoff,
    next_attempt: Instant,
}

/// Attempts to repair a node that have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why the last one failed.
    pub error: NodeError,
    /// How many have failed since the last success.
    pub attempts: u32,
    /// When the next one begins.
    pub retry_at: Timestamp,
}

/// The repair of one node. Dropping it ends the repair.
#[derive(Debug)]
pub(super) struct RepairGuard {
    repairs: Arc<Repairs>,
    place: Place,
    yields: CancellationToken,
}

/// Dropping it allows repairs again.
#[derive(Debug)]
pub(crate) struct PlanGuard<'a> {
    repairs: &'a Repairs,
    key: (Environment, ModuleName),
}

impl Repairs {
    /// Begins a repair. `None` where one is under way at this place, or a plan is being made.
    pub(super) fn begin(self: &Arc<Self>, place: Place, is_serving: bool) -> Option<RepairGuard> {
        let mut inner = self.lock();
        let key = (place.environment.clone(), place.module.clone());
        if inner.plans.contains_key(&key) || inner.under_way.contains_key(&place) {
            return None;
        }
        let yields = CancellationToken::new();
        let under_way = UnderWay {
            yields: yields.clone(),
            is_serving,
        };
        inner.under_way.insert(place.clone(), under_way);
        Some(RepairGuard {
            repairs: Arc::clone(self),
            place,
            yields,
        })
    }

    /// Asks the repairs of a module in an environment to yield, and waits until they have.
    /// Each does so before it changes what its node serves, or when it has.
    ///
    /// Cancel safe.
    pub(crate) async fn hold(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> PlanGuard<'_> {
        let key = (environment.clone(), module.clone());
        *self.lock().plans.entry(key.clone()).or_default() += 1;
        let guard = PlanGuard { repairs: self, key };
        loop {
            let ended = self.ended.notified();
            let mut is_idle = true;
            for (place, repair) in &self.lock().under_way {
                if place.environment == *environment && place.module == *module {
                    repair.yields.cancel();
                    is_idle = false;
                }
            }
            if is_idle {
                return guard;
            }
            ended.await;
        }
    }

    /// How many nodes of a module in an environment are being repaired: those that serve
    /// another version meanwhile, and those that serve none.
    pub(super) fn count(&self, environment: &Environment, module: &ModuleName) -> (usize, usize) {
        let inner = self.lock();
        let meant = inner
            .under_way
            .iter()
            .filter(|(place, _)| place.environment == *environment && place.module == *module);
        let (serving, idle): (Vec<_>, Vec<_>) = meant.partition(|(_, repair)| repair.is_serving);
        (serving.len(), idle.len())
    }

    /// The environments in which a node is being repaired or a plan is being made.
    pub(crate) fn environments(&self) -> HashSet<Environment> {
        let inner = self.lock();
        let repaired = inner.under_way.keys().map(|place| &place.environment);
        let planned = inner.plans.keys().map(|(environment, _)| environment);
        repaired.chain(planned).cloned().collect()
    }

    /// Whether a node is being repaired.
    pub(super) fn is_under_way(&self, place: &Place) -> bool {
        self.lock().under_way.contains_key(place)
    }

    /// The failure of a repair that waits for its next attempt at `now`.
    pub(crate) fn waiting(
        &self,
        place: &Place,
        to: Option<&ModuleVersion>,
        now: Instant,
    ) -> Option<Failure> {
        let inner = self.lock();
        let failed = inner.failed.get(place)?;
        let is_waiting = failed.to.as_ref() == to && now < failed.next_attempt;
        is_waiting.then(|| failed.failure.clone())
    }

    /// When the next attempt of any failed repair begins.
    pub(super) fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let inner = self.lock();
        let attempts = inner.failed.values().map(|failed| failed.next_attempt);
        attempts.filter(|at| *at > now).min()
    }

    /// Counts an attempt that failed, and returns how many have.
    pub(crate) fn record_failure(
        &self,
        place: &Place,
        to: Option<&ModuleVersion>,
        error: NodeError,
        clock: &dyn Clock,
    ) -> u32 {
        let mut inner = self.lock();
        let (now, date) = (clock.instant(), clock.now());
        let failed = inner.failed.entry(place.clone()).or_insert_with(|| Failed {
            to: to.cloned(),
            failure: Failure {
                error: error.clone(),
                attempts: 0,
                retry_at: date,
            },
            backoff: Backoff::new(MIN_DELAY, MAX_DELAY),
            next_attempt: now,
        });
        if failed.to.as_ref() != to {
            failed.to = to.cloned();
            failed.failure.attempts = 0;
            failed.backoff.reset();
        }
        let delay = failed.backoff.next_delay();
        failed.next_attempt = now + delay;
        failed.failure.error = error;
        failed.failure.retry_at = date + delay;
        failed.failure.attempts = failed.failure.attempts.saturating_add(1);
        failed.failure.attempts
    }

    /// Forgets the failures of a node's module: it runs what it should.
    pub(crate) fn record_success(&self, place: &Place) {
        self.lock().failed.remove(place);
    }

    /// Forgets the failures of a node: it has come back.
    pub(super) fn forgive(&self, node: &NodeId) {
        self.lock().failed.retain(|place, _| place.node != *node);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RepairGuard {
    /// Returns once the repair should make room for a deployment.
    pub(super) async fn yields(&self) {
        self.yields.cancelled().await;
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for RepairGuard {
    fn drop(&mut self) {
        self.repairs.lock().under_way.remove(&self.place);
        self.repairs.ended.notify_waiters();
    }
}

impl Drop for PlanGuard<'_> {
    fn drop(&mut self) {
        let mut inner = self.repairs.lock();
        if let Some(plans) = inner.plans.get_mut(&self.key) {
            *plans -= 1;
            if *plans == 0 {
                inner.plans.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use hotswap_core::SystemClock;

    use super::*;

    fn place(node: &str) -> Place {
        Place {
            environment: "production".parse().unwrap(),
            module: "hello".parse().unwrap(),
            node: node.parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_plan_waits_for_repairs_and_keeps_new_ones_out() {
        let repairs = Arc::new(Repairs::default());
        let (a, b) = (place("a"), place("b"));
        let repair = repairs.begin(a.clone(), true).unwrap();
        assert!(repairs.begin(a.clone(), true).is_none(), "one at a time");
        {
            let mut hold = Box::pin(repairs.hold(&a.environment, &a.module));
            assert!(poll!(&mut hold).is_pending());
            assert!(repair.yields.is_cancelled());
            assert!(repairs.begin(b.clone(), false).is_none());
            drop(repair);
            let _guard = hold.await;
            assert!(repairs.begin(b.clone(), false).is_none());
            let elsewhere = Place {
                module: "other".parse().unwrap(),
                ..b.clone()
            };
            assert!(repairs.begin(elsewhere, false).is_some());
        }
        assert!(repairs.begin(b, false).is_some());
    }

    #[tokio::test]
    async fn a_cancelled_plan_keeps_nothing_out() {
        let repairs = Arc::new(Repairs::default());
        let a = place("a");
        let repair = repairs.begin(a.clone(), true).unwrap();
        {
            let mut hold = Box::pin(repairs.hold(&a.environment, &a.module));
            assert!(poll!(&mut hold).is_pending());
        }
        drop(repair);
        assert!(repairs.begin(a, true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_until_the_node_comes_back_or_should_run_something_else() {
        let (repairs, a) = (Repairs::default(), place("a"));
        let error = NodeError::Unreachable("no answer".into());
        for attempts in 1..=30 {
            let counted = repairs.record_failure(&a, None, error.clone(), &SystemClock);
            assert_eq!(counted, attempts);
        }
        let now = SystemClock.instant();
        assert_eq!(repairs.waiting(&a, None, now).unwrap().attempts, 30);
        let next = repairs.next_attempt(now).unwrap();
        assert!(next <= now + 2 * MAX_DELAY, "capped");
        assert_eq!(repairs.waiting(&a, None, next), None);
        let other = ModuleVersion {
            name: "hello".parse().unwrap(),
            version: "2.0.0".parse().unwrap(),
            digest: hotswap_core::Digest::of(b"x"),
        };
        assert_eq!(repairs.waiting(&a, Some(&other), now), None);
        assert_eq!(
            repairs.record_failure(&a, Some(&other), error, &SystemClock),
            1
        );
        repairs.forgive(&a.node);
        assert_eq!(repairs.waiting(&a, Some(&other), now), None);
    }
}
