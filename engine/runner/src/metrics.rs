//! What the engine shows of the deployments that it drives and of the nodes that it repairs.

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

/// For how long the one that has waited longest has differed, in seconds.
pub static RECONCILER_LAG: Gauge = Gauge::new();

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
