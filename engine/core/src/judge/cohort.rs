use crate::{Check, Histogram, VersionReading};

use super::metric::Metric;
use super::reservoir::Reservoir;

/// What one of the two compared groups of nodes has done since the soak began.
#[derive(Debug, Default)]
pub(super) struct Cohort {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) latency: Histogram,
    pub(super) cpu: Reservoir,
    pub(super) memory: Reservoir,
}

/// Both cohorts, and which metrics the checks need. Other metrics are not stored.
#[derive(Debug)]
pub(super) struct Cohorts {
    pub(super) canary: Cohort,
    pub(super) baseline: Cohort,
    pub(super) needs_latency: bool,
    pub(super) needs_cpu: bool,
    pub(super) needs_memory: bool,
}

impl Cohort {
    /// Adds what a version did since `earlier`, or everything it did where that is `None`.
    pub(super) fn add(&mut self, now: &VersionReading, earlier: Option<&VersionReading>) {
        let (requests, errors) =
            earlier.map_or((0, 0), |earlier| (earlier.requests, earlier.errors));
        let rise = |now: u64, earlier: u64| now.saturating_sub(earlier);
        self.requests = self.requests.saturating_add(rise(now.requests, requests));
        self.errors = self.errors.saturating_add(rise(now.errors, errors));
        match earlier {
            Some(earlier) => self.latency.add(&now.latency.since(&earlier.latency)),
            None => self.latency.add(&now.latency),
        }
    }
}

impl Cohorts {
    pub(super) fn new(checks: &[Check]) -> Self {
        let needs = |matches: fn(Metric) -> bool| {
            let mut metrics = checks
                .iter()
                .filter_map(|check| Metric::parse(&check.metric).ok());
            metrics.any(matches)
        };
        Self {
            canary: Cohort::default(),
            baseline: Cohort::default(),
            needs_latency: needs(|metric| matches!(metric, Metric::Latency { .. })),
            needs_cpu: needs(|metric| metric == Metric::Cpu),
            needs_memory: needs(|metric| metric == Metric::Memory),
        }
    }

    /// The cohort that a version belongs to.
    pub(super) fn of_version(&mut self, is_new: bool) -> &mut Cohort {
        if is_new {
            &mut self.canary
        } else {
            &mut self.baseline
        }
    }
}
