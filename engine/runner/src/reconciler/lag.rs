//! For how long nodes have differed from what they should run.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotswap_core::Environment;

use super::repairs::Place;
use crate::metrics::{DIFFERING, RECONCILER_LAG};

/// Since when which module on which node differs, as the comparisons saw it.
#[derive(Debug, Default)]
pub(super) struct Lag(Mutex<HashMap<Place, Instant>>);

impl Lag {
    /// Records what differs in an environment, and shows it.
    pub(super) fn update(
        &self,
        environment: &Environment,
        differing: &HashSet<Place>,
        now: Instant,
    ) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|place, _| place.environment != *environment || differing.contains(place));
        for place in differing {
            since.entry(place.clone()).or_insert(now);
        }
        show(&since, now);
    }

    /// Forgets a difference: the node itself was asked, and runs what it should.
    pub(super) fn forget(&self, place: &Place, now: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.remove(place);
        show(&since, now);
    }

    /// Forgets what differed in environments that have no nodes any more.
    pub(super) fn keep(&self, environments: &[Environment], now: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|place, _| environments.contains(&place.environment));
        show(&since, now);
    }
}

fn show(since: &HashMap<Place, Instant>, now: Instant) {
    DIFFERING.set(since.len() as f64);
    RECONCILER_LAG.set(longest(since, now).as_secs_f64());
}

fn longest(since: &HashMap<Place, Instant>, now: Instant) -> Duration {
    let spans = since
        .values()
        .map(|since| now.saturating_duration_since(*since));
    spans.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(environment: &str, node: &str) -> Place {
        Place {
            environment: environment.parse().unwrap(),
            module: "hello".parse().unwrap(),
            node: node.parse().unwrap(),
        }
    }

    #[test]
    fn the_lag_counts_from_the_first_comparison_that_saw_a_difference() {
        let (lag, start) = (Lag::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (qa, production) = ("qa".parse().unwrap(), "production".parse().unwrap());
        let both = HashSet::from([place("qa", "a"), place("qa", "b")]);
        lag.update(&qa, &both, at(0));
        lag.update(
            &production,
            &HashSet::from([place("production", "c")]),
            at(3),
        );
        lag.update(&qa, &HashSet::from([place("qa", "b")]), at(5));
        let longest_at = |seconds| longest(&lag.0.lock().unwrap(), at(seconds)).as_secs();
        assert_eq!(longest_at(7), 7);
        lag.update(&qa, &HashSet::new(), at(8));
        assert_eq!(longest_at(9), 6, "the one of production is left");
        lag.update(&qa, &both, at(9));
        lag.forget(&place("qa", "a"), at(9));
        assert_eq!(lag.0.lock().unwrap().len(), 2);
        lag.forget(&place("qa", "b"), at(9));
        lag.keep(&[qa], at(10));
        assert_eq!(longest_at(11), 0, "production has no nodes any more");
    }
}
