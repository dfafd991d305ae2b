//! Measures the CPU time of a version's instances.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::counters::VersionCounters;

/// Reading the thread's clock twice takes a fiftieth of the time of a small module's
/// request. So only one first poll in this many is measured, with this weight.
const SAMPLE_INTERVAL: u32 = 8;

/// Adds the CPU time of a future to the counters of a version.
///
/// Most requests complete in their first poll. That poll is measured for a random sample
/// of requests, and weighted for the others. All later polls, after an interruption (10 ms
/// of computing, or a wait), are measured in full: the longer a request computes, the more
/// exact its value. The expected value is exact in any case. Time in which the thread is
/// not on a CPU does not count.
pub(crate) struct CpuMetered<F> {
    inner: Pin<Box<F>>,
    counters: Arc<VersionCounters>,
    /// Weight of the next poll; 0 if it is not measured.
    weight: u32,
}

impl<F: Future> CpuMetered<F> {
    pub(crate) fn new(counters: Arc<VersionCounters>, inner: F) -> Self {
        let sampled = fastrand::u32(..SAMPLE_INTERVAL) == 0;
        Self {
            inner: Box::pin(inner),
            counters,
            weight: if sampled { SAMPLE_INTERVAL } else { 0 },
        }
    }
}

impl<F: Future> Future for CpuMetered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let weight = std::mem::replace(&mut self.weight, 1);
        if weight == 0 {
            return self.inner.as_mut().poll(context);
        }
        let before = thread_cpu_time();
        let polled = self.inner.as_mut().poll(context);
        let elapsed = thread_cpu_time().saturating_sub(before);
        self.counters.add_cpu_time(elapsed * weight);
        polled
    }
}

/// CPU time of this thread since its start.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use hotswap_protocol::Version;

    use super::*;

    fn counters() -> Arc<VersionCounters> {
        let version = Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        };
        VersionCounters::new(version, Arc::default())
    }

    /// Computes for `time`, by the thread's own clock, which is the one measured.
    fn compute(time: Duration) {
        let end = thread_cpu_time() + time;
        while thread_cpu_time() < end {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn sampled_requests_add_up_to_their_cpu_time() {
        let counters = counters();
        let before = thread_cpu_time();
        for _ in 0..4000 {
            CpuMetered::new(counters.clone(), async {
                compute(Duration::from_micros(50))
            })
            .await;
        }
        let actual = (thread_cpu_time() - before).as_micros() as f64;
        let measured = counters.status().cpu_micros as f64;
        // Of 4000, 500 are measured, with a standard deviation of 21: this allows six.
        assert!(
            (measured / actual - 1.0).abs() < 0.25,
            "{measured} of {actual} µs"
        );
    }

    #[tokio::test]
    async fn computing_after_an_interruption_counts_and_waiting_does_not() {
        let counters = counters();
        CpuMetered::new(counters.clone(), async {
            tokio::task::yield_now().await;
            compute(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
            compute(Duration::from_millis(10));
        })
        .await;
        let measured = counters.status().cpu_micros;
        assert!((30_000..40_000).contains(&measured), "{measured} µs");
    }
}
