//! A soak: the counters of the nodes are read until the window is over, and judged.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{Call, Check, Judge, ModuleName, ModuleVersion, NodeId, NodeReading, Verdict};
use hotswap_fleet::Fleet;

use super::timers::{End, Timers};

/// Nodes that one soak reads at the same time. Reading is cheap, and many soaks read.
const CONCURRENT_READS: usize = 32;
/// Readings of each node in one soak: twice the looks, so that a gauge has enough of them.
const READINGS: u32 = 2 * Judge::MAX_LOOKS;
/// Reading more often than this shows nothing new.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// A soak that is under way.
pub(super) struct Soak {
    module: ModuleName,
    nodes: Vec<NodeId>,
    window: Duration,
    end: End,
    judge: Judge,
    needs_readings: bool,
}

impl Soak {
    /// Continues the soak that `call` began until `end`, from what the journal holds of its
    /// beginning. `None` where `call` is no soak. Moves its arguments, since thousands may soak.
    pub(super) fn resume(
        call: Call,
        module: &ModuleVersion,
        end: End,
        readings: Vec<NodeReading>,
    ) -> Option<Self> {
        let Call::Soak {
            window,
            canary,
            baseline,
            checks,
        } = call
        else {
            return None;
        };
        let window = Duration::from_millis(window);
        let nodes = all_nodes(&canary, &baseline);
        let needs_readings = needs_readings(&checks, window);
        let judge = Judge::new(checks, canary, baseline, module.digest, readings);
        Some(Self {
            module: module.name.clone(),
            nodes,
            window,
            end,
            judge,
            needs_readings,
        })
    }

    /// Reads the nodes until the window is over or a check has certainly failed.
    pub(super) async fn run(&mut self, fleet: &dyn Fleet, timers: &Timers) -> Verdict {
        let interval = (self.window / READINGS).max(MIN_INTERVAL);
        let mut turn = 0_u32;
        loop {
            if timers.has_passed(self.end) {
                return Box::pin(self.finish(fleet)).await;
            }
            let next = if self.needs_readings {
                self.end.min(timers.after(interval))
            } else {
                self.end
            };
            timers.sleep_until(next).await;
            turn += 1;
            // The verdict is the last look: a soak never looks more than LOOKS times.
            if self.needs_readings && !timers.has_passed(self.end) {
                // Boxed, so that what waits does not keep the memory of a reading.
                Box::pin(self.observe(fleet)).await;
                if turn.is_multiple_of(2)
                    && let Some(verdict) = self.judge.interim_look()
                {
                    return verdict;
                }
            }
        }
    }

    /// Reads the nodes once more, and judges what was measured until now.
    pub(super) async fn finish(&mut self, fleet: &dyn Fleet) -> Verdict {
        if self.needs_readings {
            self.observe(fleet).await;
        }
        self.judge.verdict()
    }

    async fn observe(&mut self, fleet: &dyn Fleet) {
        for reading in read(fleet, &self.module, &self.nodes).await {
            self.judge.observe(reading);
        }
    }
}

/// The counters of the nodes at the beginning of a soak. Empty for any other call, and for a
/// soak that judges nothing.
pub(super) async fn initial_readings(
    fleet: &dyn Fleet,
    module: &ModuleName,
    call: &Call,
) -> Vec<NodeReading> {
    match call {
        Call::Soak {
            canary,
            baseline,
            checks,
            window,
        } if needs_readings(checks, Duration::from_millis(*window)) => {
            read(fleet, module, &all_nodes(canary, baseline)).await
        }
        _ => Vec::new(),
    }
}

fn needs_readings(checks: &[Check], window: Duration) -> bool {
    !checks.is_empty() && !window.is_zero()
}

/// The nodes of both sides, sorted, each once.
fn all_nodes(canary: &[NodeId], baseline: &[NodeId]) -> Vec<NodeId> {
    let both: BTreeSet<_> = canary.iter().chain(baseline).collect();
    both.into_iter().cloned().collect()
}

/// Leaves out nodes that do not answer: too few readings make a check inconclusive.
async fn read(fleet: &dyn Fleet, module: &ModuleName, nodes: &[NodeId]) -> Vec<NodeReading> {
    let mut reads = Vec::with_capacity(nodes.len());
    for node in nodes {
        reads.push(fleet.read(node, module));
    }
    let mut answers = stream::iter(reads).buffer_unordered(CONCURRENT_READS);
    let mut readings = Vec::with_capacity(nodes.len());
    while let Some(answer) = answers.next().await {
        readings.extend(answer);
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        Check {
            metric: "error-rate".into(),
            max: Some(0.1),
            max_increase: None,
            min_increase: None,
        }
    }

    #[test]
    fn a_soak_without_checks_or_without_time_needs_no_readings() {
        let minute = Duration::from_secs(60);
        assert!(needs_readings(&[check()], minute));
        assert!(!needs_readings(&[], minute));
        assert!(!needs_readings(&[check()], Duration::ZERO));
    }

    #[test]
    fn a_node_on_both_sides_is_read_once() {
        let ids = |names: &[&str]| -> Vec<NodeId> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let nodes = all_nodes(&ids(&["c", "a"]), &ids(&["b", "a"]));
        assert_eq!(nodes, ids(&["a", "b", "c"]));
    }

    #[test]
    fn only_a_soak_resumes_as_one() {
        let module = super::super::fixture::module("2.0.0");
        assert!(Soak::resume(Call::Now, &module, End::NEVER, Vec::new()).is_none());
    }
}
