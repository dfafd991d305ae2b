//! What processor time a version's instances take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::counters::Counters;

/// Asking the thread's clock twice takes as long as a small module takes for a request in
/// a fiftieth: the first turn of one request in this many is measured, and counts for all.
const SAMPLE: u32 = 8;

/// Work that adds what it computes to the counters of a version.
///
/// Most requests are done in their first turn on the thread, which is measured for some,
/// taken at random, and counts as often as it was not measured. What goes on after it was
/// interrupted (10 ms of computing, or a wait) is measured in full: the longer a request
/// computes, the more exact its figure. The expectation is exact in any case. Time in which
/// the thread was not on a processor does not count.
pub(crate) struct Metered<F> {
    work: Pin<Box<F>>,
    counters: Arc<Counters>,
    /// How often the next turn counts.
    weight: u32,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(counters: Arc<Counters>, work: F) -> Self {
        let sampled = fastrand::u32(..SAMPLE) == 0;
        Self {
            work: Box::pin(work),
            counters,
            weight: if sampled { SAMPLE } else { 0 },
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let weight = std::mem::replace(&mut self.weight, 1);
        if weight == 0 {
            return self.work.as_mut().poll(context);
        }
        let before = thread_time();
        let polled = self.work.as_mut().poll(context);
        let took = thread_time().saturating_sub(before);
        self.counters.cpu(took * weight);
        polled
    }
}

/// What this thread has computed since its start.
fn thread_time() -> Duration {
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

    fn counters() -> Arc<Counters> {
        Counters::new(Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        })
    }

    /// Computes for so long by the thread's own clock, which is what is reported.
    fn compute(time: Duration) {
        let until = thread_time() + time;
        while thread_time() < until {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn many_short_requests_come_to_what_they_took() {
        let counters = counters();
        let before = thread_time();
        for _ in 0..4000 {
            Metered::new(counters.clone(), async {
                compute(Duration::from_micros(50))
            })
            .await;
        }
        let took = (thread_time() - before).as_micros() as f64;
        let told = counters.status().cpu_micros as f64;
        // Of 4000, 500 are measured, give or take 21: this is six of those deviations.
        assert!((told / took - 1.0).abs() < 0.25, "{told} of {took} µs");
    }

    #[tokio::test]
    async fn all_that_follows_an_interruption_counts_and_waiting_does_not() {
        let counters = counters();
        Metered::new(counters.clone(), async {
            tokio::task::yield_now().await;
            compute(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
            compute(Duration::from_millis(10));
        })
        .await;
        let told = counters.status().cpu_micros;
        assert!((30_000..40_000).contains(&told), "{told} µs");
    }
}
