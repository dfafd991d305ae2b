//! What the engine shows of the deployments that it drives and of the nodes that it repairs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hotswap_common::metrics::{Counter, Durations, Family, Gauge};
use hotswap_core::CauseKind;

/// How long the steps of deployments took, without waits.
pub static STEPS: Family<Durations, 5> = Family::new([
    ("plan", Durations::new()),
    ("call", Durations::new()),
    ("verify", Durations::new()),
    ("settle", Durations::new()),
    ("revert", Durations::new()),
]);

/// Deployments that began to revert, by the kind of the cause.
pub static REVERTS: Family<Counter, 10> = Family::new([
    ("strategy", Counter::new()),
    ("trap", Counter::new()),
    ("mismatch", Counter::new()),
    ("violation", Counter::new()),
    ("limit", Counter::new()),
    ("policy", Counter::new()),
    ("deadline", Counter::new()),
    ("abort", Counter::new()),
    ("rejected", Counter::new()),
    ("unavailable", Counter::new()),
]);

/// How long a driver waited until its events were durable.
pub static APPENDS: Durations = Durations::new();

/// Modules on nodes that should run something else and that no deployment is changing.
pub static DIFFERING: Gauge = Gauge::new();

/// Age of the oldest of these differences, in seconds.
pub static RECONCILER_LAG: Gauge = Gauge::new();

/// Leases of this engine: the deployments that it drives, and the environments in which it works.
pub static LEASES: Family<Gauge, 2> =
    Family::new([(DEPLOYMENT, Gauge::new()), (ENVIRONMENT, Gauge::new())]);

/// Deployments that this engine began to drive and that had been driven before: by another engine,
/// or by this one before it was started again or cut off.
pub static TAKE_OVERS: Counter = Counter::new();

const DEPLOYMENT: &str = "deployment";
const ENVIRONMENT: &str = "environment";

/// Counts the lease of a deployment from [`Self::acquired`] until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct HeldLease(AtomicBool);

impl HeldLease {
    /// The lease was acquired, perhaps again. `was_driven`: there was one before.
    pub(crate) fn acquired(&self, was_driven: bool) {
        if self.0.swap(true, Relaxed) {
            return;
        }
        add_leases(DEPLOYMENT, 1.0);
        if was_driven {
            TAKE_OVERS.count();
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if self.0.load(Relaxed) {
            add_leases(DEPLOYMENT, -1.0);
        }
    }
}

/// The number of environments in which this engine works has changed.
pub(crate) fn add_environment_leases(change: f64) {
    add_leases(ENVIRONMENT, change);
}

fn add_leases(kind: &str, change: f64) {
    if let Some(leases) = LEASES.get(kind) {
        leases.add(change);
    }
}

pub(crate) fn count_revert(kind: CauseKind) {
    let label = match kind {
        CauseKind::Strategy => "strategy",
        CauseKind::Trap => "trap",
        CauseKind::Mismatch => "mismatch",
        CauseKind::Violation => "violation",
        CauseKind::Limit => "limit",
        CauseKind::Policy => "policy",
        CauseKind::Deadline => "deadline",
        CauseKind::Abort => "abort",
        CauseKind::Rejected => "rejected",
        CauseKind::Unavailable => "unavailable",
    };
    if let Some(count) = REVERTS.get(label) {
        count.count();
    }
}
