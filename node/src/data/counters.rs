use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::Duration;

use hotswap_core::Histogram;
use hotswap_protocol::{Bucket, ClientFaults, Version, VersionStatus};

use super::module_metrics::{Measurements, MetricCounters};

/// Divisor of the moving average of instance memory: each request has a weight of one in
/// this many.
const MEMORY_AVERAGE_DIVISOR: u64 = 16;

/// Counters of one version since it was loaded into the node.
#[derive(Debug)]
pub(crate) struct VersionCounters {
    version: Version,
    /// Tells these counters from others of the same version, which began at zero, too.
    generation: u64,
    loads: AtomicU64,
    traffic: Arc<ModuleTraffic>,
    received: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU64,
    streams: AtomicU64,
    left: AtomicU64,
    slow_uploads: AtomicU64,
    slow_readers: AtomicU64,
    refused: AtomicU64,
    queued: AtomicU64,
    /// Requests that the module did not answer: overload, time-outs, traps and the like.
    failures: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    memory_sum: AtomicU64,
    instances: AtomicU64,
    latency: Box<[AtomicU64]>,
    metrics: MetricCounters,
    synthetic: AtomicU64,
}

/// The requests of a module, whatever version they are for. All counters of the module's versions
/// share it, so that what they count can be checked against what was received.
#[derive(Debug, Default)]
pub(crate) struct ModuleTraffic {
    received: AtomicU64,
    finished: AtomicU64,
}

/// What a client does that is not the version's fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClientFault {
    /// It left before it had the whole answer, or before its own request was complete.
    Left,
    /// It sent its request too slowly for the module's time limit.
    SlowUpload,
    /// It read the answer too slowly for the module's time limit.
    SlowReader,
}

/// The number of the next counters. Unique in this process, so also in each start of a node.
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

impl ModuleTraffic {
    /// Requests that were routed to a version of the module. Read it after the versions' counters:
    /// then they do not count more.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Acquire)
    }

    /// Requests that have ended, and are counted. Read it before the versions' counters: then they
    /// do not count less.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Acquire)
    }
}

impl VersionCounters {
    /// Counters of `version`, all zero. Its requests also count in `traffic`.
    pub(crate) fn new(version: Version, traffic: Arc<ModuleTraffic>) -> Arc<Self> {
        Arc::new(Self {
            version,
            generation: NEXT_GENERATION.fetch_add(1, Relaxed),
            loads: AtomicU64::new(0),
            traffic,
            received: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            left: AtomicU64::new(0),
            slow_uploads: AtomicU64::new(0),
            slow_readers: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            memory_sum: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            latency: (0..Histogram::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            metrics: MetricCounters::default(),
            synthetic: AtomicU64::new(0),
        })
    }

    /// The version that is counted.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Counts that the version was loaded.
    pub(crate) fn count_load(&self) {
        self.loads.fetch_add(1, Relaxed);
    }

    /// Counts a request that begins.
    pub(super) fn count_received(&self) {
        self.traffic.received.fetch_add(1, AcqRel);
        self.received.fetch_add(1, AcqRel);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts the end of a request, after everything else was counted.
    pub(super) fn count_finished(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.traffic.finished.fetch_add(1, AcqRel);
    }

    /// Counts a request that the version answered or failed to.
    pub(super) fn count_request(&self, latency: Duration) {
        self.count_latency(latency);
        self.requests.fetch_add(1, AcqRel);
    }

    /// Counts a latency only.
    pub(super) fn count_latency(&self, latency: Duration) {
        self.latency[Histogram::bucket(latency)].fetch_add(1, Relaxed);
    }

    /// Counts what the response of a request of [`Self::count_request`] says of the module's own
    /// metrics.
    pub(super) fn count_metrics(&self, measurements: &Measurements) {
        self.metrics.count(measurements);
    }

    /// Counts a request of [`Self::count_request`] as failed.
    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, AcqRel);
    }

    /// Counts a request of [`Self::count_request`] as a long stream.
    pub(super) fn count_stream(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// Counts a request that failed because of its client.
    pub(super) fn count_client_fault(&self, fault: ClientFault) {
        let counter = match fault {
            ClientFault::Left => &self.left,
            ClientFault::SlowUpload => &self.slow_uploads,
            ClientFault::SlowReader => &self.slow_readers,
        };
        counter.fetch_add(1, AcqRel);
    }

    /// Counts a request that the node sends itself.
    pub(crate) fn count_synthetic(&self) {
        self.synthetic.fetch_add(1, Relaxed);
    }

    /// Counts a request that was refused, because too many ran.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a request that waited for others to end before it ran.
    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Relaxed);
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

    /// Adds the memory of an instance at the end of its request to the sum, and to the moving
    /// average. Concurrent calls may count as one in the average, which does not matter there.
    pub(crate) fn record_instance_memory(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.memory_sum.fetch_add(bytes, Relaxed);
        self.instances.fetch_add(1, Relaxed);
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

    /// Linear memory of one instance, in bytes: a moving average. 0 before one has ended.
    pub(super) fn instance_memory(&self) -> usize {
        usize::try_from(self.memory_bytes.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Requests in progress.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Requests that failed because of their clients.
    pub(crate) fn client_faults(&self) -> ClientFaults {
        ClientFaults {
            left: self.left.load(Acquire),
            slow_uploads: self.slow_uploads.load(Acquire),
            slow_readers: self.slow_readers.load(Acquire),
        }
    }

    /// The current values.
    pub(crate) fn status(&self) -> VersionStatus {
        let counts = self.latency.iter().map(|count| count.load(Relaxed));
        let latency = Histogram::from_counts(counts);
        let bucket = |&(bucket, count): &(u16, u64)| Bucket { bucket, count };
        VersionStatus {
            version: self.version.clone(),
            generation: self.generation,
            loads: self.loads.load(Relaxed),
            lifetime: None,
            // Read before the requests, so that they never exceed them.
            metrics: self.metrics.status(),
            ignored_metrics: self.metrics.ignored(),
            synthetic: self.synthetic.load(Relaxed),
            errors: self.errors.load(Acquire),
            requests: self.requests.load(Acquire),
            in_flight: self.in_flight.load(Relaxed),
            streams: self.streams.load(Relaxed),
            client: self.client_faults(),
            // Read after both, so that they never exceed it.
            received: self.received.load(Acquire),
            refused: self.refused.load(Relaxed),
            queued: self.queued.load(Relaxed),
            cpu_micros: self.cpu_nanos.load(Relaxed) / 1000,
            latency: latency.pairs().iter().map(bucket).collect(),
            latency_precision: Histogram::PRECISION_BITS,
            memory_bytes: self.memory_bytes.load(Relaxed),
            // Read before their number, so that the average is not too large.
            memory_sum_bytes: self.memory_sum.load(Relaxed),
            instances: self.instances.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_average_reaches_a_constant_value() {
        let version = Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        };
        let counters = VersionCounters::new(version, Arc::default());
        counters.record_instance_memory(1 << 20);
        assert_eq!(counters.status().memory_bytes, 1 << 20);
        for _ in 0..1000 {
            counters.record_instance_memory(2 << 20);
        }
        let status = counters.status();
        assert_eq!(status.memory_bytes, 2 << 20);
        assert_eq!(
            (status.memory_sum_bytes, status.instances),
            (2001 << 20, 1001)
        );
    }
}
