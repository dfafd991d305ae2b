//! What a strategy may use in one deployment.

use std::io::{self, Write};

use hotswap_core::{Answer, Call, Cause, CauseKind, NodeReading, StrategyLimits};
use serde::Serialize;

/// What the journal keeps of a call beside the call, its answer and its readings: the names of
/// the events, their numbers and their times.
const CALL_BYTES: u64 = 128;

/// Counts the calls of a strategy, and what the journal keeps of them, against the limits of one
/// deployment. Replayed calls count again, and alike, so that a replay ends where the first run
/// did.
pub(super) struct CallBudget {
    max_calls: u32,
    max_bytes: u64,
    calls: u32,
    bytes: u64,
}

impl CallBudget {
    /// The budget of a deployment that pinned these limits, with this many nodes in its plan.
    pub(super) fn new(limits: &StrategyLimits, nodes: usize) -> Self {
        Self {
            max_calls: limits.calls,
            max_bytes: limits.journal_bytes(nodes),
            calls: 0,
            bytes: 0,
        }
    }

    /// Counts one more call. Returns how many bytes the journal keeps of it.
    pub(super) fn spend_call(&mut self, request: &Call) -> u64 {
        self.calls = self.calls.saturating_add(1);
        self.spend(CALL_BYTES + json_bytes(request))
    }

    /// Counts the answer to the last call. Returns how many bytes the journal keeps of it.
    pub(super) fn spend_answer(&mut self, answer: &Answer) -> u64 {
        self.spend(json_bytes(answer))
    }

    /// Counts the readings with which a soak starts.
    pub(super) fn spend_readings(&mut self, readings: &[NodeReading]) {
        if !readings.is_empty() {
            self.spend(json_bytes(readings));
        }
    }

    /// Checks what was counted so far. Only before something new is journaled: a call in the
    /// journal was within the budget when it was made.
    ///
    /// # Errors
    /// [`CauseKind::Limit`] if it exceeds the budget.
    pub(super) fn check(&self) -> Result<(), Cause> {
        let exceeded = if self.calls > self.max_calls {
            format!("the strategy made more than {} calls", self.max_calls)
        } else if self.bytes > self.max_bytes {
            format!(
                "the calls of the strategy and their answers take more than {} bytes of the \
                 journal",
                self.max_bytes
            )
        } else {
            return Ok(());
        };
        let message = format!("{exceeded}, the limit for one deployment");
        Err(Cause::new(CauseKind::Limit, message))
    }

    fn spend(&mut self, bytes: u64) -> u64 {
        self.bytes = self.bytes.saturating_add(bytes);
        bytes
    }
}

/// How many bytes a value takes in the journal.
fn json_bytes(value: &(impl Serialize + ?Sized)) -> u64 {
    let mut counted = ByteCounter(0);
    // Nothing that a journal holds fails to be JSON, and the store would report it.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

/// Counts what is written to it.
struct ByteCounter(u64);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hotswap_core::{
        Digest, Health, Histogram, Level, Lifetime, ModuleTraffic, Node, NodeError, NodeFailure,
        NodeId, NodeStarts, ReadSlot, Timestamp, VersionReading,
    };

    use super::*;

    /// A budget of a plan with one node.
    fn budget(calls: u32, bytes: u64) -> CallBudget {
        let limits = StrategyLimits {
            calls,
            bytes: bytes - 1,
            bytes_per_node: 1,
            ..StrategyLimits::default()
        };
        CallBudget::new(&limits, 1)
    }

    /// Makes a new call.
    fn spend(budget: &mut CallBudget, call: &Call) -> Result<(), Cause> {
        budget.spend_call(call);
        budget.check()
    }

    fn log(length: usize) -> Call {
        Call::Log {
            level: Level::Info,
            message: "x".repeat(length),
        }
    }

    #[test]
    fn the_call_after_the_last_one_exceeds_the_budget() {
        let mut budget = budget(2, u64::MAX);
        assert_eq!(spend(&mut budget, &Call::Now), Ok(()));
        assert_eq!(spend(&mut budget, &Call::Now), Ok(()));
        let cause = spend(&mut budget, &Call::Now).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Limit);
        assert_eq!(
            cause.message,
            "the strategy made more than 2 calls, the limit for one deployment"
        );
    }

    #[test]
    fn the_bytes_of_all_calls_add_up() {
        let one = CALL_BYTES + serde_json::to_vec(&log(100)).unwrap().len() as u64;
        let mut budget = budget(u32::MAX, 2 * one);
        assert_eq!(spend(&mut budget, &log(100)), Ok(()));
        assert_eq!(spend(&mut budget, &log(100)), Ok(()));
        let cause = spend(&mut budget, &log(0)).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Limit);
        assert_eq!(
            cause.message,
            format!(
                "the calls of the strategy and their answers take more than {} bytes of the \
                 journal, the limit for one deployment",
                2 * one
            )
        );
    }

    #[test]
    fn answers_and_readings_count_as_the_journal_holds_them() {
        let failure = |reason: &str| NodeFailure {
            node: "a".parse().unwrap(),
            error: NodeError::Unhealthy(reason.to_owned()),
        };
        let answer = Answer::Nodewise(vec![failure("x".repeat(500).as_str()); 3]);
        let reading = NodeReading {
            node: "a".parse().unwrap(),
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 7,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        };
        let readings = vec![reading; 2];
        let stored = |value: Vec<u8>| value.len() as u64;
        let mut budget = budget(u32::MAX, u64::MAX);
        budget.spend_readings(&[]);
        assert_eq!(budget.bytes, 0);
        let expected = stored(serde_json::to_vec(&answer).unwrap());
        assert_eq!(budget.spend_answer(&answer), expected);
        assert!(expected > 1500);
        budget.spend_readings(&readings);
        let readings = stored(serde_json::to_vec(&readings).unwrap());
        assert_eq!(budget.bytes, expected + readings);
    }

    /// A canary with ten stages on a thousand nodes, on which each reading is larger than usual.
    #[test]
    fn a_thorough_rollout_to_many_nodes_fits() {
        const NODES: usize = 1000;
        let ids: Vec<NodeId> = (0..NODES)
            .map(|number| format!("node-{number:04}.rack-7.example").parse().unwrap())
            .collect();
        let version = |digest: &[u8]| VersionReading {
            digest: Digest::of(digest),
            version: Some("12.34.56-rc.1".to_owned()),
            lifetime: Some(Lifetime {
                millis: 1_000_000_000,
                crashes: 10,
            }),
            generation: 1000,
            slot: Some(ReadSlot::Previous),
            requests: 1_000_000,
            errors: 1000,
            in_flight: 1000,
            client_faults: 1000,
            cpu_micros: 1_000_000_000,
            latency: Histogram::from_counts((0..100).map(|bucket| bucket * 1000)),
            memory: 64 << 20,
            memory_sum: 64_000_000 << 20,
            instances: 1_000_000,
            refused: 0,
            queued: 0,
            synthetic: 0,
            module_metrics: Vec::new(),
        };
        let reading = |node: &NodeId| NodeReading {
            node: node.clone(),
            boot: "0193c8a4-6f0e-7b8c-9d3a-5e2f1a4b7c6d".to_owned(),
            at: Timestamp::from_millis(1_700_000_000_000),
            cpu_millis: 1_000_000,
            starts: Some(NodeStarts {
                starts: 1000,
                crashes: 10,
            }),
            traffic: Some(ModuleTraffic {
                received: 1_000_000,
                finished: 1_000_000,
            }),
            versions: vec![version(b"old"), version(b"new")],
        };
        let readings: Vec<_> = ids.iter().map(reading).collect();
        let labels = (0..4).map(|number| (format!("label-{number}"), "a value".to_owned()));
        let labels: BTreeMap<_, _> = labels.collect();
        let node = |id: &NodeId| Node {
            id: id.clone(),
            zone: Some("eu-west-1a".to_owned()),
            labels: labels.clone(),
            health: Health::Passing,
            active: Some(super::super::fixture::module("1.0.0")),
            fault: None,
        };
        let nodes = Answer::Nodes(ids.iter().map(node).collect());

        let mut budget = CallBudget::new(&StrategyLimits::default(), NODES);
        budget.spend_call(&Call::Stage { nodes: ids.clone() });
        for stage in 0..10 {
            let percent = 10 * stage;
            let nodes_of_stage = ids.clone();
            budget.spend_call(&Call::Shift {
                nodes: nodes_of_stage,
                percent,
            });
            budget.spend_call(&Call::Soak {
                window: 60_000,
                canary: ids.clone(),
                baseline: ids.clone(),
                checks: Vec::new(),
            });
            budget.spend_readings(&readings);
            budget.spend_call(&Call::Nodes);
            budget.spend_answer(&nodes);
            assert_eq!(budget.check(), Ok(()), "stage {stage}");
        }
        budget.spend_call(&Call::Promote { nodes: ids });
        assert_eq!(budget.check(), Ok(()));
        let share = budget.bytes / (NODES as u64);
        assert!(share > 16 << 10, "the default is too large: {share} bytes");
    }
}
