//! The deployments whose soaks are still to be forecast.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_common::trace::TraceContext;
use hotswap_core::DeploymentId;

/// Forecasts at the same time. Each needs a processor, and thousands of deployments may begin at
/// once.
const WORKERS: usize = 4;

/// The deployments whose soaks are still to be forecast, the oldest first. A forecast takes seconds,
/// so thousands may wait here: it keeps no more of each than what finds it in the journal.
#[derive(Debug, Default)]
pub(crate) struct ForecastQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<QueuedForecast>,
    workers: usize,
}

/// A deployment whose soaks are to be forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct QueuedForecast {
    pub(crate) deployment: DeploymentId,
    /// The trace that the forecast belongs to.
    pub(crate) trace: Option<TraceContext>,
}

impl ForecastQueue {
    /// Adds a deployment. Returns a new worker for the queue if it has too few: run it.
    #[must_use]
    pub(crate) fn push(self: &Arc<Self>, queued: QueuedForecast) -> Option<ForecastWorker> {
        let mut state = self.lock();
        state.queued.push_back(queued);
        if state.workers >= WORKERS {
            return None;
        }
        state.workers += 1;
        Some(ForecastWorker {
            queue: Arc::clone(self),
            is_at_work: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes deployments from the queue. When it is dropped, also by a panic, it makes room for another.
#[derive(Debug)]
pub(crate) struct ForecastWorker {
    queue: Arc<ForecastQueue>,
    is_at_work: bool,
}

impl ForecastWorker {
    /// Takes the oldest deployment. If there is none, this worker is done.
    pub(crate) fn next(&mut self) -> Option<QueuedForecast> {
        let mut state = self.queue.lock();
        let next = state.queued.pop_front();
        // Under the same lock, so that the next `push` returns a worker.
        if next.is_none() && std::mem::take(&mut self.is_at_work) {
            state.workers -= 1;
        }
        next
    }
}

impl Drop for ForecastWorker {
    fn drop(&mut self) {
        if self.is_at_work {
            self.queue.lock().workers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued() -> QueuedForecast {
        QueuedForecast {
            deployment: DeploymentId::generate(),
            trace: None,
        }
    }

    #[test]
    fn a_few_workers_take_all_in_order() {
        let queue = Arc::<ForecastQueue>::default();
        let all: Vec<_> = (0..10).map(|_| queued()).collect();
        let mut workers: Vec<_> = all.iter().filter_map(|one| queue.push(*one)).collect();
        assert_eq!(workers.len(), WORKERS);
        for one in &all {
            assert_eq!(workers[0].next(), Some(*one));
        }
        for worker in &mut workers {
            assert_eq!(worker.next(), None);
        }
        drop(workers);
        assert!(queue.push(queued()).is_some(), "the workers are done");
    }

    #[test]
    fn a_worker_that_panics_makes_room() {
        let queue = Arc::<ForecastQueue>::default();
        let workers: Vec<_> = (0..WORKERS).filter_map(|_| queue.push(queued())).collect();
        assert!(queue.push(queued()).is_none());
        drop(workers);
        assert!(queue.push(queued()).is_some());
    }
}
