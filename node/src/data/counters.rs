use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hotswap_core::Histogram;
use hotswap_protocol::{Bucket, Version, VersionStatus};

/// Divisor of the moving average of instance memory: each request has a weight of one in
/// this many.
const MEMORY_AVERAGE_DIVISOR: u64 = 16;

/// Counters of one version since the node started.
#[derive(Debug)]
pub(crate) struct VersionCounters {
    version: Version,
    requests: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU64,
    /// Requests that the module did not answer: overload, time-outs, traps and the like.
    failures: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    latency: Box<[AtomicU64]>,
}

impl VersionCounters {
    /// Counters of `version`, all zero.
    pub(crate) fn new(version: Version) -> Arc<Self> {
        Arc::new(Self {
            version,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            latency: (0..Histogram::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// The version that is counted.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Counts a failure of the module, and returns the number of failures so far.
    pub(crate) fn count_failure(&self) -> u64 {
        self.failures.fetch_add(1, Relaxed) + 1
    }

    /// Adds CPU time.
    pub(crate) fn add_cpu_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Relaxed);
    }

    /// Adds the memory of an instance at the end of its request to the moving average.
    /// Concurrent calls may count as one, which does not matter for an average.
    pub(crate) fn record_instance_memory(&self, bytes: usize) {
        let bytes = bytes as u64;
        let old = self.memory_bytes.load(Relaxed);
        if old == bytes {
            return;
        }
        let new = match old {
            0 => bytes,
            // Close enough: integer division would keep it from ever reaching the value.
            _ if old.abs_diff(bytes) < MEMORY_AVERAGE_DIVISOR => bytes,
            _ => old - old / MEMORY_AVERAGE_DIVISOR + bytes / MEMORY_AVERAGE_DIVISOR,
        };
        self.memory_bytes.store(new, Relaxed);
    }

    /// Requests in progress.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// The current values.
    pub(crate) fn status(&self) -> VersionStatus {
        let counts = self.latency.iter().map(|count| count.load(Relaxed));
        let latency = Histogram::from_counts(counts);
        let bucket = |&(bucket, count): &(u16, u64)| Bucket { bucket, count };
        VersionStatus {
            version: self.version.clone(),
            // Read before the requests, so that they never exceed them.
            errors: self.errors.load(Relaxed),
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            cpu_micros: self.cpu_nanos.load(Relaxed) / 1000,
            latency: latency.pairs().iter().map(bucket).collect(),
            latency_precision: Histogram::PRECISION_BITS,
            memory_bytes: self.memory_bytes.load(Relaxed),
        }
    }
}

/// Tracks a request from its head to the end of the response, and counts it when dropped.
/// The request counts as an error unless [`RequestTracker::set_status`] reported a status
/// below 500.
#[derive(Debug)]
pub(crate) struct RequestTracker {
    counters: Arc<VersionCounters>,
    started: Instant,
    failed: bool,
}

impl RequestTracker {
    /// Begins to track a request, which starts now.
    pub(crate) fn new(counters: Arc<VersionCounters>) -> Self {
        counters.in_flight.fetch_add(1, Relaxed);
        Self {
            counters,
            started: Instant::now(),
            failed: true,
        }
    }

    /// Records the status of the response.
    pub(crate) fn set_status(&mut self, status: http::StatusCode) {
        self.failed = status.is_server_error();
    }

    /// Records that the response broke off.
    pub(crate) fn set_failed(&mut self) {
        self.failed = true;
    }
}

impl Drop for RequestTracker {
    fn drop(&mut self) {
        let counters = &self.counters;
        let bucket = Histogram::bucket(self.started.elapsed());
        counters.latency[bucket].fetch_add(1, Relaxed);
        counters.requests.fetch_add(1, Relaxed);
        if self.failed {
            counters.errors.fetch_add(1, Relaxed);
        }
        counters.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Arc<VersionCounters> {
        VersionCounters::new(Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        })
    }

    #[test]
    fn a_request_without_a_complete_response_is_an_error() {
        let counters = counters();
        RequestTracker::new(counters.clone()).set_status(http::StatusCode::NOT_FOUND);
        RequestTracker::new(counters.clone()).set_status(http::StatusCode::BAD_GATEWAY);
        drop(RequestTracker::new(counters.clone()));
        let mut truncated = RequestTracker::new(counters.clone());
        truncated.set_status(http::StatusCode::OK);
        truncated.set_failed();
        assert_eq!(counters.status().in_flight, 1);
        drop(truncated);
        let status = counters.status();
        assert_eq!((status.requests, status.errors), (4, 3));
        assert_eq!(status.latency.iter().map(|b| b.count).sum::<u64>(), 4);
        assert_eq!(status.in_flight, 0);
    }

    #[test]
    fn the_memory_average_reaches_a_constant_value() {
        let counters = counters();
        counters.record_instance_memory(1 << 20);
        assert_eq!(counters.status().memory_bytes, 1 << 20);
        for _ in 0..1000 {
            counters.record_instance_memory(2 << 20);
        }
        assert_eq!(counters.status().memory_bytes, 2 << 20);
    }
}
