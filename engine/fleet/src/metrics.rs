//! Metrics of the answers of nodes.

use hotswap_common::metrics::{Counter, Durations, Family};

/// How long orders and probes took, from the first request to the last answer.
pub static NODE_OPERATIONS: Family<Durations, 7> = Family::new([
    ("stage", Durations::new()),
    ("shift", Durations::new()),
    ("promote", Durations::new()),
    ("revert", Durations::new()),
    ("settle", Durations::new()),
    ("restart", Durations::new()),
    ("probe", Durations::new()),
]);

/// Orders and probes that failed.
pub static NODE_FAILURES: Family<Counter, 7> = Family::new([
    ("stage", Counter::new()),
    ("shift", Counter::new()),
    ("promote", Counter::new()),
    ("revert", Counter::new()),
    ("settle", Counter::new()),
    ("restart", Counter::new()),
    ("probe", Counter::new()),
]);
