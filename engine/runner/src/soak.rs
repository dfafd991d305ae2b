use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Call, Check, Clock, Judge, ModuleName, ModuleVersion, NodeId, NodeReading, Timestamp, Verdict,
};
use hotswap_fleet::Fleet;

/// Nodes that are read side by side for one soak: reading is cheap, and many soaks read.
const READERS: usize = 32;
/// Readings of each node in one soak: twice the looks, so that a gauge has enough of them.
const READINGS: u32 = 2 * Judge::MAX_LOOKS;
/// Looking more often than this tells nothing new.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// A soak that is under way.
pub(crate) struct Soak {
    module: ModuleName,
    nodes: Vec<NodeId>,
    began: Timestamp,
    due: Timestamp,
    watch: Judge,
    judged: bool,
}

impl Soak {
    /// Takes up the soak that `call` asked for, from what the journal holds of its beginning.
    /// Keeps nothing twice: thousands may soak.
    pub(crate) fn resume(
        call: Call,
        module: &ModuleVersion,
        (began, due): (Timestamp, Timestamp),
        readings: Vec<NodeReading>,
    ) -> Option<Self> {
        let Call::Soak {
            canary,
            baseline,
            checks,
            ..
        } = call
        else {
            return None;
        };
        let nodes = watched(&canary, &baseline);
        let judged = needs_readings(&checks, began, due);
        let watch = Judge::new(checks, canary, baseline, module.digest, readings);
        Some(Self {
            module: module.name.clone(),
            nodes,
            began,
            due,
            watch,
            judged,
        })
    }

    /// Watches until the window is over or a check has certainly failed.
    pub(crate) async fn run(&mut self, fleet: &dyn Fleet, clock: &dyn Clock) -> Verdict {
        let pause = (self.due.since(self.began) / READINGS).max(LEAST_PAUSE);
        let mut turn = 0_u32;
        loop {
            let now = clock.now();
            let rest = self.due.since(now);
            if rest.is_zero() {
                if self.judged {
                    self.observe(fleet).await;
                }
                return self.watch.verdict();
            }
            tokio::time::sleep(if self.judged { rest.min(pause) } else { rest }).await;
            turn += 1;
            // The last look is the verdict itself: the looks of a soak are never more than MAX_LOOKS.
            if self.judged && clock.now() < self.due {
                self.observe(fleet).await;
                if turn.is_multiple_of(2)
                    && let Some(verdict) = self.watch.interim_look()
                {
                    return verdict;
                }
            }
        }
    }

    async fn observe(&mut self, fleet: &dyn Fleet) {
        for reading in read(fleet, &self.module, &self.nodes).await {
            self.watch.observe(reading);
        }
    }
}

/// What the counters say at the beginning of a soak; nothing where nothing is judged.
pub(crate) async fn begin(fleet: &dyn Fleet, module: &ModuleName, call: &Call) -> Vec<NodeReading> {
    match call {
        Call::Soak {
            canary,
            baseline,
            checks,
            window,
        } if *window > 0 && !checks.is_empty() => {
            read(fleet, module, &watched(canary, baseline)).await
        }
        _ => Vec::new(),
    }
}

fn needs_readings(checks: &[Check], began: Timestamp, due: Timestamp) -> bool {
    !checks.is_empty() && due > began
}

fn watched(canary: &[NodeId], baseline: &[NodeId]) -> Vec<NodeId> {
    let both: BTreeSet<_> = canary.iter().chain(baseline).collect();
    both.into_iter().cloned().collect()
}

/// Nodes that do not answer are left out: too few readings make a check inconclusive.
async fn read(fleet: &dyn Fleet, module: &ModuleName, nodes: &[NodeId]) -> Vec<NodeReading> {
    let mut asked = Vec::with_capacity(nodes.len());
    for node in nodes {
        asked.push(fleet.read(node, module));
    }
    let mut answers = stream::iter(asked).buffer_unordered(READERS);
    let mut readings = Vec::with_capacity(nodes.len());
    while let Some(answer) = answers.next().await {
        readings.extend(answer);
    }
    readings
}
