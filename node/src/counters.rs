use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hotswap_core::Histogram;
use hotswap_protocol::{Bucket, Version, VersionStatus};

/// A request counts for so much in the average memory of an instance: one in this many.
const MEMORY_WEIGHT: u64 = 16;

/// What one version has done since the node's start.
#[derive(Debug)]
pub(crate) struct Counters {
    version: Version,
    requests: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU64,
    /// Times a module trapped or ran out of time.
    faults: AtomicU64,
    cpu_nanos: AtomicU64,
    memory: AtomicU64,
    latency: Box<[AtomicU64]>,
}

impl Counters {
    /// Of a version that has done nothing yet.
    pub(crate) fn new(version: Version) -> Arc<Self> {
        Arc::new(Self {
            version,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            latency: (0..Histogram::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Of which version.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Counts a fault, and says how many there were.
    pub(crate) fn fault(&self) -> u64 {
        self.faults.fetch_add(1, Relaxed) + 1
    }

    /// Adds CPU time.
    pub(crate) fn cpu(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Relaxed);
    }

    /// Takes what an instance held at its end into the moving average. Two at the same
    /// time may count as one, which an average bears.
    pub(crate) fn memory(&self, bytes: usize) {
        let bytes = bytes as u64;
        let old = self.memory.load(Relaxed);
        if old == bytes {
            return;
        }
        let new = match old {
            0 => bytes,
            // Towards the value, and all the way at last.
            _ if old.abs_diff(bytes) < MEMORY_WEIGHT => bytes,
            _ => old - old / MEMORY_WEIGHT + bytes / MEMORY_WEIGHT,
        };
        self.memory.store(new, Relaxed);
    }

    /// All of them now.
    pub(crate) fn status(&self) -> VersionStatus {
        let counts = self.latency.iter().map(|count| count.load(Relaxed));
        let latency = Histogram::from_counts(counts);
        let bucket = |&(bucket, count): &(u16, u64)| Bucket { bucket, count };
        VersionStatus {
            version: self.version.clone(),
            // Errors first: they never exceed the requests.
            errors: self.errors.load(Relaxed),
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            cpu_micros: self.cpu_nanos.load(Relaxed) / 1000,
            latency: latency.pairs().iter().map(bucket).collect(),
            memory_bytes: self.memory.load(Relaxed),
        }
    }
}

/// A request from its head to the end of its answer, which is when it is counted: as an
/// error, unless [`Ticket::answered`] said better.
#[derive(Debug)]
pub(crate) struct Ticket {
    counters: Arc<Counters>,
    began: Instant,
    failed: bool,
}

impl Ticket {
    /// A request begins now.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        counters.in_flight.fetch_add(1, Relaxed);
        Self {
            counters,
            began: Instant::now(),
            failed: true,
        }
    }

    /// It got an answer with this status.
    pub(crate) fn answered(&mut self, status: http::StatusCode) {
        self.failed = status.is_server_error();
    }

    /// Its answer broke off.
    pub(crate) fn broke(&mut self) {
        self.failed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let counters = &self.counters;
        let bucket = Histogram::bucket(self.began.elapsed());
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

    fn counters() -> Arc<Counters> {
        Counters::new(Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        })
    }

    #[test]
    fn what_gets_no_answer_is_an_error() {
        let counters = counters();
        Ticket::new(counters.clone()).answered(http::StatusCode::NOT_FOUND);
        Ticket::new(counters.clone()).answered(http::StatusCode::BAD_GATEWAY);
        drop(Ticket::new(counters.clone()));
        let mut late = Ticket::new(counters.clone());
        late.answered(http::StatusCode::OK);
        late.broke();
        assert_eq!(counters.status().in_flight, 1);
        drop(late);
        let status = counters.status();
        assert_eq!((status.requests, status.errors), (4, 3));
        assert_eq!(status.latency.iter().map(|b| b.count).sum::<u64>(), 4);
        assert_eq!(status.in_flight, 0);
    }

    #[test]
    fn memory_follows_what_instances_hold() {
        let counters = counters();
        counters.memory(1 << 20);
        assert_eq!(counters.status().memory_bytes, 1 << 20);
        for _ in 0..1000 {
            counters.memory(2 << 20);
        }
        assert_eq!(counters.status().memory_bytes, 2 << 20);
    }
}
