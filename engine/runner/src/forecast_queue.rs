//! The deployments whose soaks are still to be forecast.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_common::trace::TraceContext;
use hotswap_core::DeploymentId;

/// Forecasts at the same time. Each needs a processor, and thousands of deployments may begin at
/// once.
const FORECASTERS: usize = 4;

/// The deployments whose soaks are still to be forecast, the oldest first. A forecast takes seconds,
/// so thousands may wait here: it keeps no more of each than what finds it in the journal.
#[derive(Debug, Default)]
pub(crate) struct ForecastQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    forecasters: usize,
}

/// A deployment whose soaks are to be forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) deployment: DeploymentId,
    /// The trace that the forecast belongs to.
    pub(crate) trace: Option<TraceContext>,
}

impl ForecastQueue {
    /// Adds a deployment. Returns a new forecaster for the queue where it has too few: run it.
    #[must_use]
    pub(crate) fn push(self: &Arc<Self>, waiting: Waiting) -> Option<Forecaster> {
        let mut state = self.lock();
        state.waiting.push_back(waiting);
        if state.forecasters >= FORECASTERS {
            return None;
        }
        state.forecasters += 1;
        Some(Forecaster {
            queue: Arc::clone(self),
            is_at_work: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who take deployments from the queue. When it is dropped, also by a panic, it makes
/// room for another.
#[derive(Debug)]
pub(crate) struct Forecaster {
    queue: Arc<ForecastQueue>,
    is_at_work: bool,
}

impl Forecaster {
    /// Takes the oldest deployment. Where there is none, the work of this forecaster is done.
    pub(crate) fn next(&mut self) -> Option<Waiting> {
        let mut state = self.queue.lock();
        let next = state.waiting.pop_front();
        // Under the same lock: who adds one now must see that nobody would take it.
        if next.is_none() && std::mem::take(&mut self.is_at_work) {
            state.forecasters -= 1;
        }
        next
    }
}

impl Drop for Forecaster {
    fn drop(&mut self) {
        if self.is_at_work {
            self.queue.lock().forecasters -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        Waiting {
            deployment: DeploymentId::generate(),
            trace: None,
        }
    }

    #[test]
    fn a_few_forecasters_take_all_in_order() {
        let queue = Arc::<ForecastQueue>::default();
        let all: Vec<_> = (0..10).map(|_| waiting()).collect();
        let mut forecasters: Vec<_> = all.iter().filter_map(|one| queue.push(*one)).collect();
        assert_eq!(forecasters.len(), FORECASTERS);
        for one in &all {
            assert_eq!(forecasters[0].next(), Some(*one));
        }
        for forecaster in &mut forecasters {
            assert_eq!(forecaster.next(), None);
        }
        drop(forecasters);
        assert!(queue.push(waiting()).is_some(), "nobody is left");
    }

    #[test]
    fn a_forecaster_that_panics_makes_room() {
        let queue = Arc::<ForecastQueue>::default();
        let forecasters: Vec<_> = (0..FORECASTERS)
            .filter_map(|_| queue.push(waiting()))
            .collect();
        assert!(queue.push(waiting()).is_none());
        drop(forecasters);
        assert!(queue.push(waiting()).is_some());
    }
}
